"""One training step of the Distiller, written once a backend. The only place that differs by backend."""

import importlib

import keras

from keras_vitser.errors import BackendError

_BACKENDS = ("tensorflow", "jax", "torch")

if keras.backend.backend() not in _BACKENDS:
    raise BackendError(
        f"the Distiller trains on the backends {', '.join(_BACKENDS)}. Received: {keras.backend.backend()!r}; "
        "set KERAS_BACKEND before Keras is imported"
    )

train_step = importlib.import_module(f"{__name__}.{keras.backend.backend()}").train_step

__all__ = ["train_step"]
