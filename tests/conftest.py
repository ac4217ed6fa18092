"""Fixtures that every room's tests share."""

import os
import tempfile
from pathlib import Path

import pytest

RECORDINGS_VARIABLE = "KERAS_VITSER_RECORDINGS"
DEFAULT_RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data"

# The demo corpus and images go to a folder of the session's own, not to the user's cache.
_CACHE = tempfile.TemporaryDirectory(prefix="keras-vitser-tests-")
os.environ["KERAS_VITSER_CACHE"] = _CACHE.name
# Tests train many models of one shape, also in processes of their own: JAX compiles each program once.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(_CACHE.name) / "jax")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings (savee, ravdess, emodb, ...), or a skip that says where it was looked for."""
    folder = Path(os.environ.get(RECORDINGS_VARIABLE, DEFAULT_RECORDINGS))
    if not (folder / "savee").is_dir():
        pytest.skip(f"no real recordings in {folder}; set {RECORDINGS_VARIABLE}")
    return folder
