"""A trained model for others to use: exports, TensorFlow Serving's REST API on a laptop, a client for either server.

Server and client need the extra `serve`, exports TensorFlow and the extra `export`.
"""

import importlib
from typing import TYPE_CHECKING, Any

# Not on first use: the file of the same name would stand in the way of the function.
from keras_vitser.serving.export import Exported, export

_NAMES = {
    "AsyncClient": "client",
    "Bounds": "bounds",
    "Client": "client",
    "Prediction": "client",
    "create_app": "server",
    "serve": "server",
}

__all__ = ["AsyncClient", "Bounds", "Client", "Exported", "Prediction", "create_app", "export", "serve"]

if TYPE_CHECKING:
    from keras_vitser.serving.bounds import Bounds
    from keras_vitser.serving.client import AsyncClient, Client, Prediction
    from keras_vitser.serving.server import create_app, serve


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"keras_vitser.serving.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'keras_vitser.serving' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
