"""A trained model for others to use: exports, TensorFlow Serving's REST API on a laptop, a client for either server.

Server and client need the extra `serve`, exports TensorFlow and the extra `export`.
"""

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "AsyncClient": "client",
    "Bounds": "server.bounds",
    "Client": "client",
    "Exported": "exports.export",
    "Prediction": "client",
    "create_app": "server.http_server",
    "export": "exports.export",
    "serve": "server.http_server",
}

__all__ = ["AsyncClient", "Bounds", "Client", "Exported", "Prediction", "create_app", "export", "serve"]

if TYPE_CHECKING:
    from keras_vitser.serving.client import AsyncClient, Client, Prediction
    from keras_vitser.serving.exports.export import Exported, export
    from keras_vitser.serving.server.bounds import Bounds
    from keras_vitser.serving.server.http_server import create_app, serve


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"keras_vitser.serving.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'keras_vitser.serving' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
