"""`heard_share` in TensorFlow's own ops, of a whole batch of windows."""

from typing import TYPE_CHECKING

from keras_vitser.audio.hearing import FLOOR_SQUARE, frame_samples

if TYPE_CHECKING:
    import tensorflow as tf


def heard_shares(windows: "tf.Tensor", samples: int, sampling_rate: float) -> "tf.Tensor":
    """The share of each window in which something is heard.

    Args:
        windows: float32 tensor `(batch, samples)`, full scale at -1 and 1, zeros behind what is shorter.
        samples: Positive int, their length, which the tensor itself need not know.
        sampling_rate: Hz.

    Returns:
        float32 tensor `(batch,)`.
    """
    import tensorflow as tf

    frame = frame_samples(sampling_rate)
    padded = tf.pad(tf.cast(windows, tf.float64), [[0, 0], [0, -samples % frame]])
    frames = tf.reshape(padded, (-1, -(-samples // frame), frame))  # (batch, frames, samples of a frame)
    is_heard = tf.math.reduce_variance(frames, axis=2) > FLOOR_SQUARE
    return tf.reduce_mean(tf.cast(is_heard, tf.float32), axis=1)
