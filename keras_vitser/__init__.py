"""Speech emotion recognition with vision transformers on vertical patches, and feature map matching.

The public names are loaded when they are first used, so that importing the package
imports neither Keras nor a backend.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

_MODULES = (
    "audio",
    "corpora",
    "distillation",
    "errors",
    "evaluation",
    "experiments",
    "layers",
    "models",
    "prediction",
    "serving",
)
_NAMES = {
    "Distiller": "keras_vitser.distillation",
    "Recognizer": "keras_vitser.recognizer",
    "load_model": "keras_vitser.models",
}

__all__ = ["Distiller", "Recognizer", "load_model", *_MODULES]

if TYPE_CHECKING:
    from keras_vitser.distillation import Distiller
    from keras_vitser.models import load_model
    from keras_vitser.recognizer import Recognizer


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"keras_vitser.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'keras_vitser' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
