"""Fixtures that every room's tests share, and which tests run on the backend of this process."""

import gc
import importlib.util
import os
import tempfile
from pathlib import Path

import pytest

from tests.backends import BACKENDS, backends_of, backends_of_file, backends_of_more
from tests.requirements import MODULES, lacking, required

RECORDINGS_VARIABLE = "KERAS_VITSER_RECORDINGS"
DEFAULT_RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data"
BACKEND = os.environ.setdefault("KERAS_BACKEND", BACKENDS[0])

# The demo corpus and images go to a folder of the session's own, not to the user's cache.
_CACHE = tempfile.TemporaryDirectory(prefix="keras-vitser-tests-")
os.environ["KERAS_VITSER_CACHE"] = _CACHE.name
# Tests train many models of one shape, also in processes of their own: JAX compiles each program once.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(_CACHE.name) / "jax")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def pytest_configure(config):
    required()  # a name that is none of ours ends the run before its first test


def pytest_ignore_collect(collection_path, config):
    """A file of tests that never names this backend is not imported: that alone takes seconds."""
    if collection_path.suffix == ".py" and collection_path.name.startswith("test_"):
        return BACKEND not in backends_of_file(collection_path.read_text(encoding="utf-8")) or None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leaves the tests of this backend, and marks `more` what `make test` leaves to `make test-more` here."""
    chosen, others = [], []
    for item in items:
        if BACKEND in backends_of_more(item):
            item.add_marker("more")
        (chosen if BACKEND in backends_of(item) else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = chosen


def pytest_runtest_setup(item):
    """What runs in an environment of its own is skipped in others."""
    for name in ("kserve", "tfio"):
        if item.get_closest_marker(name) and not importlib.util.find_spec(*MODULES[name]):
            lacking(name, f"{name} is not installed; `make test-{name}` makes an environment for it")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    _leave_alone_what_is_there()


@pytest.fixture(scope="module", autouse=True)
def earlier_modules_are_left_alone():
    yield
    _leave_alone_what_is_there()


def _leave_alone_what_is_there():
    """From now on the collector passes over what has outlived this module: a look at all of it takes half a minute."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings (savee, ravdess, emodb, ...), or a skip that says where it was looked for."""
    folder = Path(os.environ.get(RECORDINGS_VARIABLE, DEFAULT_RECORDINGS))
    if not (folder / "savee").is_dir():
        lacking("recordings", f"no real recordings in {folder}; set {RECORDINGS_VARIABLE}")
    return folder
