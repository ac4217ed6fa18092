"""Which Keras backend a command uses; decided before Keras is imported."""

import importlib.util
import json
import os
from pathlib import Path

from keras_vitser.errors import BackendError

# The fastest on a CPU first, as in the README's table.
TRAINING = ("tensorflow", "torch", "jax")
PREDICTION = ("jax", "tensorflow", "torch")
BACKENDS = ("tensorflow", "jax", "torch")


def choose_backend(option: str | None, order: tuple[str, ...] = TRAINING) -> str:
    """Sets `KERAS_BACKEND` for this process and returns it.

    In this order: the option; the environment's `KERAS_BACKEND`; a `keras.json` whose backend
    is installed and is not the `tensorflow` that Keras writes there by itself; the first
    of `order` that is installed.

    Raises:
        BackendError: None is installed, or the one asked for is unknown or not installed.
    """
    asked = option or os.environ.get("KERAS_BACKEND")
    if asked:
        if asked not in BACKENDS:
            raise BackendError(f"unknown backend {asked!r}; choose one of {', '.join(BACKENDS)}")
        if not _is_installed(asked):
            raise BackendError(f"backend {asked!r} is not installed: {_install_line(asked)}")
        backend = asked
    else:
        configured = _configured()
        candidates = (configured, *order) if configured in ("jax", "torch") else order
        installed = next((name for name in candidates if _is_installed(name)), None)
        if installed is None:
            raise BackendError(f"no Keras backend is installed: {_install_line('tensorflow-cpu')} (or jax, torch)")
        backend = installed
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return backend


def backend_of(folder: Path) -> str | None:
    """The backend that a run or search began on; what it leaves behind depends on it."""
    try:
        return json.loads((folder / "environment.json").read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # going on with it says what is wrong


def _is_installed(backend: str) -> bool:
    return importlib.util.find_spec(backend) is not None


def _install_line(backend: str) -> str:
    return f"pip install 'keras-vitser[{backend}]'"


def _configured() -> str | None:
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        return json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
