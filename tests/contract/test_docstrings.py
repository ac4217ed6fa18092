"""Docstring examples are run, and every public name of a room has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import keras_vitser

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch", more=["jax", "torch"])

SKIPPED = "keras_vitser.distillation.train_step."  # one module a backend, without examples
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(keras_vitser.__path__, "keras_vitser.", onerror=lambda name: None)
    if not module.name.startswith(SKIPPED)
)
ROOMS = sorted({name.split(".")[1] for name in MODULES})
# Of the other rooms' examples no backend can change what they give.
WITH_KERAS = {"layers", "models", "training", "distillation", "prediction", "recognizer", "experiments"}


def on_its_backends(name):
    room, marks = name.split(".")[1], ()
    if room == "experiments":  # whole runs, which compile nothing on PyTorch
        marks = pytest.mark.backends("tensorflow", "jax", "torch", more=["tensorflow", "jax"])
    elif room not in WITH_KERAS:
        marks = pytest.mark.backends("tensorflow")
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", [on_its_backends(name) for name in MODULES])
def test_examples_give_what_they_say(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module)
    assert not failed


def public_names():
    for room in ROOMS:
        module = importlib.import_module(f"keras_vitser.{room}")
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield pytest.param(thing, id=f"{room}.{name}")


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("thing", list(public_names()))
def test_public_names_have_a_docstring_with_an_example(thing):
    text = thing.__doc__ or ""
    assert text.strip(), "no docstring"
    if not (inspect.isclass(thing) and issubclass(thing, Exception)):
        assert ">>>" in text, "no example"


@pytest.mark.backends("tensorflow")
def test_the_walk_finds_the_modules():
    assert {"keras_vitser.layers.conv_stem", "keras_vitser.audio.reading"} <= set(MODULES)
    assert not [name for name in MODULES if "train_step." in name]
