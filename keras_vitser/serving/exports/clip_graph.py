"""From clips of the network's own length to probabilities, in TensorFlow: what all exports have in common."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras

from keras_vitser.layers import FrontEnd
from keras_vitser.layers.probability import probabilities

if TYPE_CHECKING:
    import tensorflow as tf


def probabilities_of(network: keras.Model, front_end: FrontEnd, clips: "tf.Tensor") -> "tf.Tensor":
    """float32 tensor `(batch, classes)` of a float32 tensor `(batch, clip_samples)`."""
    return probabilities(network(front_end(clips), training=False))


def clip_function(network: keras.Model, front_end: FrontEnd) -> "tuple[Callable, tf.TensorSpec]":
    """A `tf.function` with the input `waveform` and the output `probabilities`, and its input's `tf.TensorSpec`."""
    import tensorflow as tf

    specification = tf.TensorSpec((None, front_end.clip_samples), tf.float32, name="waveform")

    def call(waveform):
        return {"probabilities": probabilities_of(network, front_end, waveform)}

    return tf.function(call, [specification]), specification
