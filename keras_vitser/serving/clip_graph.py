"""From clips of the network's own length to probabilities, in TensorFlow: what all exports have in common."""

import keras

from keras_vitser.layers import LogMelImage


def probabilities_of(network: keras.Model, front_end: LogMelImage, clips):
    """float32 tensor `(batch, classes)` of a float32 tensor `(batch, clip_samples)`."""
    import tensorflow as tf

    return tf.nn.softmax(tf.cast(network(front_end(clips), training=False), tf.float32))


def clip_function(network: keras.Model, front_end: LogMelImage):
    """A `tf.function` with the input `waveform` and the output `probabilities`, and its input's `tf.TensorSpec`."""
    import tensorflow as tf

    specification = tf.TensorSpec((None, front_end.clip_samples), tf.float32, name="waveform")

    def call(waveform):
        return {"probabilities": probabilities_of(network, front_end, waveform)}

    return tf.function(call, [specification]), specification
