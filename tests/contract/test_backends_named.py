"""A backend is named in few files, and there inside functions only (design: "The backends")."""

import ast
from pathlib import Path

import pytest

import keras_vitser

pytestmark = pytest.mark.backends("tensorflow")

PACKAGE = Path(keras_vitser.__file__).parent
BACKENDS = {"tensorflow", "jax", "torch"}
ALLOWED = {
    "audio/graph/faults.py",
    "audio/graph/hearing.py",
    "audio/graph/resampling.py",
    "audio/graph/tfio_decoding.py",
    "audio/tfio_reading.py",
    "audio/graph/wav.py",
    "labels.py",
    "serving/exports/clip_graph.py",
    "serving/exports/litert.py",
    "serving/server/loaded_model.py",
    "serving/exports/onnx.py",
    "serving/exports/saved_model.py",
    "serving/exports/warmup.py",
    "models/vit_ser/author_writing.py",
    "distillation/taught.py",
    *(f"distillation/train_step/{backend}.py" for backend in BACKENDS),
}
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def backends_imported(source):
    """Pairs (backend, whether inside a function, or for type hints alone) of every import in a source text."""
    found = []

    def visit(node, inside):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module",
            "__import__",
        ):
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        found.extend((name.split(".")[0], inside) for name in names if name.split(".")[0] in BACKENDS)
        is_for_types = isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        inside = inside or is_for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source), False)
    return found


@pytest.mark.parametrize("file", FILES)
def test_backends_are_named_where_they_may_be(file):
    found = backends_imported((PACKAGE / file).read_text())
    if file not in ALLOWED:
        assert not found, "a backend is named here; use keras.ops, or put a step into distillation/train_step"
    assert all(inside for _, inside in found), "import the backend inside the function that needs it"


def test_the_files_are_found():
    assert {"layers/conv_stem.py", "distillation/train_step/jax.py"} <= set(FILES)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch.nn as nn", [("torch", False)]),
        ("from jax import numpy", [("jax", False)]),
        ("def f():\n    import tensorflow as tf", [("tensorflow", True)]),
        ("import importlib\nimportlib.import_module('torch')", [("torch", False)]),
        ("if True:\n    try:\n        import jax\n    except ImportError:\n        pass", [("jax", False)]),
        ("if TYPE_CHECKING:\n    import tensorflow as tf", [("tensorflow", True)]),
        ("from keras_vitser.distillation.train_step import torch", []),
        ("from .train_step import jax", []),
    ],
)
def test_the_search_finds_each_form(source, found):
    assert backends_imported(source) == found
