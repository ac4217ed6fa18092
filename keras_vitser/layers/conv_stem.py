"""The teacher's convolutional stem (paper 1; channels as in the authors' published network)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
from keras import ops

from keras_vitser.layers.device import computes_on_cpu
from keras_vitser.layers.tensors import Shape, Tensor

_CHANNELS = (16, 32, 64, 32, 16, 1)
_NUMBERS_AT_A_TIME = 4 * 128 * 128 * 64  # of the widest convolution's output, or somewhat more: 17 MB in float32
_MOST_PARTS = 16  # of a batch, as each is compiled


@keras.saving.register_keras_serializable(package="keras_vitser")
class ConvStem(keras.layers.Layer):
    """Six 3x3 convolutions that keep the size, each followed by instance normalisation and exact GELU.

    The normalisation has no scale and shift and takes the biased variance over the
    image, the same in training and inference. The paper's figure draws five
    convolutions, the published network has six. On a CPU a batch of known size is
    trained on a few images at a time, so that what is kept for the gradient fits the
    caches; the numbers are the same.

    Args:
        channels: Tuple of positive ints, output channels of each convolution.
            Defaults to `(16, 32, 64, 32, 16, 1)`.
        epsilon: Positive float added to the variance. Defaults to 1e-5.

    Input shape:
        `(batch, bands, frames, channels)`.

    Output shape:
        `(batch, bands, frames, channels[-1])`.

    Example:
        >>> import numpy as np
        >>> ConvStem()(np.zeros((1, 8, 8, 1), "float32")).shape == (1, 8, 8, 1)
        True
    """

    def __init__(self, channels: Sequence[int] = _CHANNELS, epsilon: float = 1e-5, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = tuple(channels)
        self.epsilon = epsilon
        self.convolutions = [
            keras.layers.Conv2D(
                count,
                3,
                padding="same",
                data_format="channels_last",
                dtype=self.dtype_policy,
                name=f"conv_{i}",
            )
            for i, count in enumerate(self.channels)
        ]

    def build(self, input_shape: Shape) -> None:
        shape = tuple(input_shape)
        for convolution in self.convolutions:
            convolution.build(shape)
            shape = (*shape[:-1], convolution.filters)
        self.built = True

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        count = images.shape[0]
        if not training or None in images.shape or not computes_on_cpu():
            return self._stem(images)
        numbers = count * math.prod(images.shape[1:-1]) * max(self.channels)
        parts = max(min(numbers // _NUMBERS_AT_A_TIME, _MOST_PARTS, count), 1)
        bounds = [count * part // parts for part in range(parts + 1)]
        return ops.concatenate([self._stem(images[first:end]) for first, end in pairwise(bounds)])

    def _stem(self, images: Tensor) -> Tensor:
        for convolution in self.convolutions:
            images = convolution(images)
            exact = ops.cast(images, "float32")  # float16 cannot hold the sum over an image
            centred = exact - _mean_over_image(exact)
            scale = ops.rsqrt(_mean_over_image(ops.square(centred)) + self.epsilon)
            images = ops.gelu(ops.cast(centred * scale, images.dtype), approximate=False)
        return images

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.channels[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels, "epsilon": self.epsilon}


def _mean_over_image(images: Tensor) -> Tensor:
    """A row at a time: TensorFlow's own sum over an image adds pixel after pixel, and drifts."""
    return ops.mean(ops.mean(images, axis=2, keepdims=True), axis=1, keepdims=True)
