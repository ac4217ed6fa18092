"""Image to tokens (paper 1): with patches of one column, a token is one moment of sound."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_vitser.layers.tensors import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_vitser")
class VerticalPatches(keras.layers.Layer):
    """Cuts an image into patches and projects each to a token.

    Patches run row by row over the image; in a patch, numbers are ordered by row,
    column and channel. Each is normalised (LayerNorm), projected, normalised again.

    Args:
        patch_size: Tuple of two positive ints `(bands, frames)`. Must divide the
            image. Defaults to `(128, 1)`, whole columns.
        hidden_dim: Positive int, width of a token. Defaults to 256.

    Input shape:
        `(batch, bands, frames, channels)`.

    Output shape:
        `(batch, patches, hidden_dim)`.

    Raises:
        ValueError: The patches do not fill the image.

    Example:
        >>> import numpy as np
        >>> VerticalPatches((128, 2))(np.zeros((1, 128, 128, 3), "float32")).shape == (1, 64, 256)
        True
    """

    def __init__(self, patch_size: Sequence[int] = (128, 1), hidden_dim: int = 256, **kwargs: Any):
        super().__init__(**kwargs)
        self.patch_size = tuple(patch_size)
        if len(self.patch_size) != 2 or min(self.patch_size) < 1:
            raise ValueError(
                f"`patch_size` must be two positive ints (bands, frames). Received: patch_size={patch_size}"
            )
        self.hidden_dim = hidden_dim
        norm = {"epsilon": 1e-5, "dtype": self.dtype_policy}
        self.patch_norm = keras.layers.LayerNormalization(**norm, name="patch_norm")
        self.projection = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy, name="projection")
        self.token_norm = keras.layers.LayerNormalization(**norm, name="token_norm")

    def build(self, input_shape: Shape) -> None:
        _, bands, frames, channels = input_shape
        height, width = self.patch_size
        if bands is None or frames is None or bands % height or frames % width:
            raise ValueError(
                f"`patch_size` (bands, frames) must divide the image. Received: image of {bands} bands and "
                f"{frames} frames, patch_size={self.patch_size}. Choose divisors, or another image size"
            )
        self.patch_norm.build((None, None, height * width * channels))
        self.projection.build((None, None, height * width * channels))
        self.token_norm.build((None, None, self.hidden_dim))
        self.built = True

    def call(self, images: Tensor) -> Tensor:
        _, bands, frames, channels = images.shape
        height, width = self.patch_size
        rows, columns = bands // height, frames // width
        patches = ops.reshape(images, (-1, rows, height, columns, width, channels))
        patches = ops.transpose(patches, (0, 1, 3, 2, 4, 5))  # (batch, rows, columns, height, width, channels)
        patches = ops.reshape(patches, (-1, rows * columns, height * width * channels))  # (batch, patches, numbers)
        return self.token_norm(self.projection(self.patch_norm(patches)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, bands, frames, _ = input_shape
        height, width = self.patch_size
        return (batch, (bands // height) * (frames // width), self.hidden_dim)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "patch_size": self.patch_size, "hidden_dim": self.hidden_dim}
