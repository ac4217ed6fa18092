"""What tests need beside the package and a backend; KERAS_VITSER_REQUIRE names what must be there.

A test that lacks something is skipped, so that a part of the suite runs on a machine with less. Where
KERAS_VITSER_REQUIRE, a list with commas or spaces, names what is lacking, the test fails: a skip is not a pass.
"""

import importlib
import os

import pytest

VARIABLE = "KERAS_VITSER_REQUIRE"
MODULES = {
    "app": ("gradio",),
    "av": ("av",),
    "browser": ("playwright",),
    "export": ("ai_edge_litert.interpreter", "ai_edge_quantizer", "onnxruntime", "tf2onnx"),
    "hub": ("huggingface_hub", "kagglehub"),
    "jax": ("jax",),
    "kserve": ("kserve",),
    "ray": ("ray",),
    "scikit-learn": ("sklearn.linear_model",),
    "serve": ("httpx", "prometheus_client"),
    "tensorflow": ("tensorflow",),
    "tfio": ("tensorflow_io",),
    "torch": ("torch",),
    "track": ("mlflow",),
    "tune": ("keras_tuner",),
}
NAMES = {*MODULES, "disk", "labels", "other-tensorflow", "proc", "recordings"}


def required() -> set[str]:
    """The names in KERAS_VITSER_REQUIRE; a name that is none of ours is an error."""
    names = set(os.environ.get(VARIABLE, "").replace(",", " ").split())
    if unknown := names - NAMES:
        raise pytest.UsageError(f"{VARIABLE}: {', '.join(sorted(unknown))}; there are {', '.join(sorted(NAMES))}")
    return names


def lacking(name: str, reason: str):
    """Skips the test or module that asks, or fails it where `name` is required."""
    assert name in NAMES, name
    if name in required():
        pytest.fail(f"{VARIABLE} has {name}: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def require(name: str, *modules: str):
    """Imports what `name` stands for, or those modules of it; the first of them is returned.

    >>> keras_tuner = require("tune")
    """
    try:
        first, *_ = [importlib.import_module(module) for module in modules or MODULES[name]]
    except ImportError as error:
        lacking(name, f"{name} is not installed ({error})")
    return first
