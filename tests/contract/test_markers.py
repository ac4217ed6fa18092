"""Each test of a room that touches Keras says beside it on which backends it runs."""

import ast
import re
from pathlib import Path

import pytest

from tests.backends import BACKENDS, backends_of_file

pytestmark = pytest.mark.backends("tensorflow")

TESTS = Path(__file__).parents[1]
# Of these a backend can change what comes out; sound, files, corpora and figures are NumPy's.
ROOMS = (
    "benchmarks",
    "cli",
    "contract",
    "distillation",
    "experiments",
    "layers",
    "models",
    "notebooks",
    "prediction",
    "serving",
    "training",
)
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py"))
WITH_KERAS = [
    file
    for file in FILES
    if file.split("/")[0] in (*ROOMS, "test_labels.py", "test_recognizer.py", "test_notebooks.py")
]


def is_marked(node):
    """Whether a marker, or one in a list of them, is `backends` with names spelt out."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute)]
    return any(
        call.func.attr == "backends" and all(isinstance(name, ast.Constant) for name in call.args) for call in calls
    )


def is_decorated(node):
    return any(map(is_marked, node.decorator_list))


def is_test(node):
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")


def without_backends(source):
    """The names of the tests in a source text that say nothing of backends."""
    body = ast.parse(source).body
    if any(ast.unparse(node).startswith("pytestmark = ") and is_marked(node) for node in body):
        return []
    classes = [node for node in body if isinstance(node, ast.ClassDef) and not is_decorated(node)]
    tests = [node for part in (body, *(each.body for each in classes)) for node in part if is_test(node)]
    return [test.name for test in tests if not is_decorated(test)]


@pytest.mark.parametrize("file", WITH_KERAS)
def test_each_test_names_its_backends(file):
    found = without_backends((TESTS / file).read_text(encoding="utf-8"))
    assert not found, 'add @pytest.mark.backends("tensorflow", "jax", "torch"), or the one that will do'


def test_the_rooms_are_those_that_touch_keras():
    package = TESTS.parent / "keras_vitser"
    touching = {
        path.relative_to(package).parts[0].removesuffix(".py")
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import keras|from keras )", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert "layers" in touching
    assert touching <= {*ROOMS, "labels", "recognizer", "audio"}  # of audio, what needs Keras on TensorFlow


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def test_a(): pass", ["test_a"]),
        ("@pytest.mark.backends('jax')\ndef test_a(): pass", []),
        ("pytestmark = pytest.mark.backends('jax')\ndef test_a(): pass", []),
        ("pytestmark = [pytest.mark.more, pytest.mark.backends('jax')]\ndef test_a(): pass", []),
        ("pytestmark = pytest.mark.backends(*ALL)\ndef test_a(): pass", ["test_a"]),
        ("pytestmark = pytest.mark.more\ndef test_a(): pass", ["test_a"]),
        ("@pytest.mark.backends('jax')\nclass TestA:\n    def test_a(self): pass", []),
        ("class TestA:\n    def test_a(self): pass\n    def helper(self): pass", ["test_a"]),
    ],
)
def test_the_search_finds_each_form(source, found):
    assert without_backends(source) == found


@pytest.mark.parametrize(
    ("source", "backends"),
    [
        ("def test_a(): pass", {"tensorflow"}),
        ('pytestmark = pytest.mark.backends("jax")', {"tensorflow", "jax"}),
        ('@pytest.mark.backends(\n    "tensorflow",\n    "torch",\n)\n@pytest.mark.backends("jax")', set(BACKENDS)),
    ],
)
def test_a_file_is_read_for_the_backends_that_it_names(source, backends):
    assert backends_of_file(source) == backends
