"""Tokens to one feature map a clip: the class token, or the mean, the published network's other option."""

import keras
from keras import ops


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

    def __init__(self, pooling="class_token", **kwargs):
        super().__init__(**kwargs)
        if pooling not in ("class_token", "mean"):
            raise ValueError(f"`pooling` must be 'class_token' or 'mean'. Received: pooling={pooling!r}")
        self.pooling = pooling

    def call(self, tokens):
        return tokens[:, 0] if self.pooling == "class_token" else ops.mean(tokens, axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "pooling": self.pooling}
