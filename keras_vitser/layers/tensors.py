"""The types of what a layer is called with."""

from typing import Any

Tensor = Any  # the backend's, whichever that is; a NumPy array; or, while a model is put together, `keras.KerasTensor`
Shape = tuple[Any, ...]  # ints; `None` where an axis is open, which a layer allows of some
