"""Image coordinates as channels (paper 1; order as in the authors' published network)."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_vitser")
class CoordinateConcat(keras.layers.Layer):
    """Puts two channels behind an image: vertical, then horizontal position, each from -1 to 1.

    Row 0 and column 0 are -1, the last row and column 1. An axis of one pixel is 0.

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

    def build(self, input_shape):
        _, bands, frames, _ = input_shape
        if bands is None or frames is None:
            raise ValueError(
                "CoordinateConcat needs images of a fixed size. "
                f"Received: input_shape={tuple(input_shape)}; give `shape=(bands, frames, channels)` to the Input"
            )
        grid = np.meshgrid(_coordinates(bands), _coordinates(frames), indexing="ij")
        self._grid = np.stack(grid, axis=-1)[None].astype(np.float32)
        self.built = True

    def call(self, images):
        grid = ops.convert_to_tensor(self._grid, dtype=images.dtype)
        return ops.concatenate([images, ops.broadcast_to(grid, (ops.shape(images)[0], *grid.shape[1:]))], -1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 2)


def _coordinates(count):
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
