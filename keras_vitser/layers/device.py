"""What the layers ask about the device that they run on."""

import keras
from keras import ops


def names_devices() -> bool:
    """Whether the backend tells Keras its devices; PyTorch's does not."""
    try:
        return bool(keras.distribution.list_devices())
    except AttributeError:
        return False


def computes_on_cpu() -> bool:
    """Whether computing is done on a CPU, whose caches are small beside a batch.

    Example:
        >>> computes_on_cpu() in (True, False)
        True
    """
    if names_devices():
        return keras.distribution.list_devices()[0].startswith("cpu")
    return str(ops.convert_to_tensor(0.0).device) == "cpu"
