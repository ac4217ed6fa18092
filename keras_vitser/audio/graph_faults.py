"""What is wrong with a recording, found in a graph: words, and an op that raises them."""

NOT_FINITE = "holds samples that are NaN or infinite"
CUT_SHORT = "ends before the sound that its header promises; copy or record it again"


def refuse(faults, name=""):
    """An op that raises the first fault that holds, if any.

    Args:
        faults: Pairs of a bool tensor `()` and the words for where it holds.
        name: String tensor, what is at fault; stands before the words.
    """
    import tensorflow as tf

    words = first_fault(faults)
    return tf.debugging.Assert(words == "", [tf.strings.join([name, words])])


def first_fault(faults):
    """String tensor `()`: the words of the first fault that holds, or nothing."""
    import tensorflow as tf

    words = tf.constant("")
    for holds, fault in reversed(faults):
        words = tf.where(holds, fault, words)
    return words
