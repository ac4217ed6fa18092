"""Tokens to one feature map a clip: the class token, or the mean, the published network's other option."""

from typing import Any

import keras
from keras import ops

from keras_vitser.layers.tensors import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_vitser")
class TokenPooling(keras.layers.Layer):
    """The class token, or the mean of all tokens.

    Args:
        pooling: `"class_token"` (default) or `"mean"`.

    Input shape:
        `(batch, tokens, hidden_dim)`, class token first.

    Output shape:
        `(batch, hidden_dim)`.

    Raises:
        ValueError: `pooling` is neither.

    Example:
        >>> import numpy as np
        >>> TokenPooling()(np.zeros((2, 129, 256), "float32")).shape == (2, 256)
        True
    """

    def __init__(self, pooling: str = "class_token", **kwargs: Any):
        super().__init__(**kwargs)
        if pooling not in ("class_token", "mean"):
            raise ValueError(f"`pooling` must be 'class_token' or 'mean'. Received: pooling={pooling!r}")
        self.pooling = pooling

    def call(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0] if self.pooling == "class_token" else ops.mean(tokens, axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pooling": self.pooling}
