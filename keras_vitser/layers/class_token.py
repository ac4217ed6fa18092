"""The learned token that gathers the clip (paper 1; as in the authors' published network)."""

import keras
from keras import ops

from keras_vitser.layers.tensors import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_vitser")
class ClassToken(keras.layers.Layer):
    """Puts one learned token, drawn from a standard normal, before the others.

    Input shape:
        `(batch, tokens, hidden_dim)`.

    Output shape:
        `(batch, 1 + tokens, hidden_dim)`.

    Example:
        >>> import numpy as np
        >>> ClassToken()(np.zeros((2, 128, 256), "float32")).shape == (2, 129, 256)
        True
    """

    def build(self, input_shape: Shape) -> None:
        self.token = self.add_weight(
            shape=(1, 1, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="token",
        )
        self.built = True

    def call(self, tokens: Tensor) -> Tensor:
        first = ops.cast(self.token, tokens.dtype)
        first = ops.broadcast_to(first, (ops.shape(tokens)[0], 1, tokens.shape[-1]))  # (batch, 1, hidden_dim)
        return ops.concatenate([first, tokens], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, tokens, width = input_shape
        return (batch, None if tokens is None else tokens + 1, width)
