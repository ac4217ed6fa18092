"""Image coordinates as channels (paper 1; order as in the authors' published network)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vitser.layers.tensors import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_vitser")
class CoordinateConcat(keras.layers.Layer):
    """Puts two channels behind an image: vertical, then horizontal position, each from -1 to 1.

    Row 0 and column 0 are -1, the last row and column 1. An axis of one pixel is 0.

    Args:
        published_scale: Bool. Whether to divide the index of a row by the number of frames
            less one and the index of a column by the number of bands less one, as the
            authors' published code does: an accident that their 128 x 1001 weights were
            trained with. Rows there run from -1 to -0.746, columns from -1 to 14.75; on
            square images nothing changes. Defaults to `False`.

    Input shape:
        `(batch, bands, frames, channels)`, bands and frames known.

    Output shape:
        `(batch, bands, frames, channels + 2)`.

    Example:
        >>> import numpy as np
        >>> image = CoordinateConcat()(np.zeros((1, 3, 5, 1), "float32"))
        >>> [float(value) for value in image[0, :, 0, 1]]
        [-1.0, 0.0, 1.0]
    """

    def __init__(self, published_scale: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.published_scale = published_scale

    def build(self, input_shape: Shape) -> None:
        _, bands, frames, _ = input_shape
        if bands is None or frames is None:
            raise ValueError(
                "CoordinateConcat needs images of a fixed size. "
                f"Received: input_shape={tuple(input_shape)}; give `shape=(bands, frames, channels)` to the Input"
            )
        lengths = (frames, bands) if self.published_scale else (bands, frames)
        grid = np.meshgrid(_coordinates(bands, lengths[0]), _coordinates(frames, lengths[1]), indexing="ij")
        self._grid = np.stack(grid, axis=-1)[None].astype(np.float32)  # (1, bands, frames, 2)
        self.built = True

    def call(self, images: Tensor) -> Tensor:
        grid = ops.convert_to_tensor(self._grid, dtype=images.dtype)
        return ops.concatenate([images, ops.broadcast_to(grid, (ops.shape(images)[0], *grid.shape[1:]))], -1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], input_shape[-1] + 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "published_scale": self.published_scale}


def _coordinates(count: int, length: float) -> np.ndarray:
    """Positions of `count` pixels, where an axis of `length` pixels runs from -1 to 1."""
    return np.linspace(-1, 2 * (count - 1) / (length - 1) - 1, count) if length > 1 else np.zeros(count)
