"""keras_vitser/models/loading.py"""

import os
import subprocess
import sys

import keras
import pytest

from keras_vitser.models import ViTSER, load_model

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    model = ViTSER.teacher(3, image_size=(8, 4), patch_size=(8, 1), hidden_dim=8, depth=1, head_dim=4, mlp_dim=8)
    file = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(file)
    return file


BARE_THEN_IMPORTED = """
import sys
import keras
import keras_vitser
try:
    keras.models.load_model(sys.argv[1])
except Exception as error:
    print("ViTSER" in str(error))
import keras_vitser.layers, keras_vitser.models
print(keras.models.load_model(sys.argv[1]).name)
"""


@pytest.mark.backends("tensorflow")
def test_bare_keras_needs_the_rooms_imported(path):
    """That `kv.load_model` needs nothing is tested in test_vit_ser.py, with its predictions."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", BARE_THEN_IMPORTED, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True\nteacher\n"), done.stderr


def test_takes_strings_and_paths(path):
    assert load_model(str(path)).count_params() == load_model(path).count_params()


def test_compile_can_be_left_out(path, tmp_path):
    model = load_model(path)
    model.compile("adam", "mse")
    model.save(tmp_path / "compiled.keras")
    assert load_model(tmp_path / "compiled.keras").compiled
    assert not load_model(tmp_path / "compiled.keras", compile=False).compiled


@pytest.mark.backends("tensorflow")
def test_runs_no_code_of_a_file(tmp_path):
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match="Lambda"):
        load_model(tmp_path / "lambda.keras")


@pytest.mark.backends("tensorflow")
def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.keras"):
        load_model(tmp_path / "nothing.keras")
