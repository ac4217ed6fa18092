"""What is wrong with a recording, found in a graph: words, and an op that raises them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from keras_vitser.audio.full_scale import EXPECTED, MOST

if TYPE_CHECKING:
    import tensorflow as tf

Fault: TypeAlias = "tuple[tf.Tensor, tf.Tensor | str]"  # a bool tensor (), and the words for where it holds

NOT_FINITE = "holds samples that are NaN or infinite"


def refuse(faults: Sequence[Fault], name: "tf.Tensor | str" = "") -> "tf.Operation | None":
    """An op that raises the first fault that holds, if any.

    Args:
        faults: Pairs of a bool tensor `()` and the words for where it holds.
        name: String tensor, what is at fault; stands before the words.
    """
    import tensorflow as tf

    words = first_fault(faults)
    return tf.debugging.Assert(words == "", [tf.strings.join([name, words])])


def first_fault(faults: Sequence[Fault]) -> "tf.Tensor":
    """String tensor `()`: the words of the first fault that holds, or nothing."""
    import tensorflow as tf

    words = tf.constant("")
    for holds, fault in reversed(faults):
        words = tf.where(holds, fault, words)
    return words


def is_beyond_full_scale(waveforms: "tf.Tensor") -> "tf.Tensor":
    """Bool tensor `(batch,)`: `full_scale.is_beyond_full_scale` for each row of a finite float32 `(batch, samples)`."""
    import tensorflow as tf

    largest = tf.reduce_max(tf.abs(waveforms), axis=1)
    is_whole = tf.reduce_all(tf.equal(waveforms, tf.round(waveforms)), axis=1)
    return (largest > MOST) | ((largest > 1) & is_whole)


def scale_fault(waveforms: "tf.Tensor", rate: int) -> Fault:
    """A fault for `refuse`: a row is on another scale than that of -1 to 1, as `is_beyond_full_scale` says.

    Args:
        waveforms: Finite float32 tensor `(batch, samples)`.
        rate: Hz, that its samples should have.

    Returns:
        A bool tensor `()`, whether a row is on another scale, and a string tensor `()`, which row and why.
    """
    import tensorflow as tf

    largest, is_beyond = tf.reduce_max(tf.abs(waveforms), axis=1), is_beyond_full_scale(waveforms)
    row = tf.argmax(tf.pad(tf.cast(is_beyond, tf.int32), [[0, 1]]))
    words = f"waveform[{{}}] holds samples up to {{}}; expected {EXPECTED.format(rate=rate)}"
    return tf.reduce_any(is_beyond), tf.strings.format(words, (row, tf.pad(largest, [[0, 1]])[row]))
