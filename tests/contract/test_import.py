"""What importing the package does, and does not."""

import importlib
import json
import os
import subprocess
import sys

import pytest

import keras_vitser

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ROOMS = ["audio", "layers", "models", "training", "distillation", "corpora", "evaluation", "prediction"]
ROOMS += ["experiments", "serving"]
GLOBALS = """
import keras

def state():
    config = keras.config
    return [config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name,
            config.is_traceback_filtering_enabled(), config.is_interactive_logging_enabled()]
"""


def fresh_process(code):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done


@pytest.mark.backends("tensorflow")
def test_the_package_imports_neither_keras_nor_a_backend():
    code = "import keras_vitser, json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    loaded, done = fresh_process(code)
    assert "keras_vitser" in loaded
    assert not {"keras", "tensorflow", "jax", "torch", "numpy", "librosa", "sklearn", "matplotlib"} & set(loaded)
    assert done.stderr == ""


@pytest.mark.backends("tensorflow")
def test_the_sound_room_needs_no_keras():
    code = "import keras_vitser as kv, json, sys; kv.audio.read_waveform; print(json.dumps('keras' in sys.modules))"
    assert fresh_process(code)[0] is False


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("name", keras_vitser.__all__)
def test_every_public_name_is_there(name):
    assert getattr(keras_vitser, name) is not None
    assert name in dir(keras_vitser)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_room_is_there(room):
    module = importlib.import_module(f"keras_vitser.{room}")
    for name in getattr(module, "__all__", []):
        assert getattr(module, name) is not None


@pytest.mark.backends("tensorflow")
def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'destiller'"):
        _ = keras_vitser.destiller
    with pytest.raises(ImportError):
        importlib.import_module("keras_vitser.destiller")


def test_importing_all_rooms_changes_no_global_setting():
    rooms = "import " + ", ".join(
        f"keras_vitser.{room}" for room in ("audio", "layers", "models", "training", "distillation")
    )
    code = f"import json\n{GLOBALS}\nbefore = state()\n{rooms}\nprint(json.dumps([before, state()]))"
    (before, after), _ = fresh_process(code)
    assert before == after
