"""From logits to probabilities: said here alone, for answers, exports and measurements (ours)."""

from keras import ops

from keras_vitser.layers.tensors import Tensor


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Softmax, in float32 whatever the network computes in.

    Args:
        logits: Tensor or array `(batch, classes)`.
        temperature: Positive float that the logits are divided by. Defaults to 1.

    Returns:
        float32 tensor `(batch, classes)`, rows sum to 1.

    Example:
        >>> [round(float(p), 3) for p in probabilities([[0.0, 1.0]])[0]]
        [0.269, 0.731]
    """
    return ops.softmax(ops.cast(logits, "float32") / temperature, axis=-1)
