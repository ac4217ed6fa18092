"""`export` from the outside: what it refuses, what is left behind, and models of every backend."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_vitser import serving
from keras_vitser.errors import BackendError, ExportError, ModelFolderError
from keras_vitser.layers import LogMelImage
from keras_vitser.recognizer import Recognizer
from keras_vitser.serving.exports import export as module
from tests.serving import c_library

pytestmark = [pytest.mark.backends("tensorflow", "jax", "torch"), pytest.mark.more]


@pytest.mark.backends("tensorflow")
def test_a_version_is_a_whole_folder_in_its_models_folder(exported):
    assert exported.path.name == "3"
    assert exported.sentence == ""
    assert [child.name for child in exported.path.parent.iterdir()] == ["3"]
    assert {child.name for child in exported.path.iterdir()} >= {
        "saved_model.pb",
        "variables",
        "assets",
        "assets.extra",
    }


@pytest.mark.more
def test_a_model_of_this_backend_and_another_is_answered_as_by_its_recognizer(exported, model, recognizer, tmp_path):
    clip = (0.3 * np.sin(0.05 * np.arange(30000))).astype(np.float32)
    (given,) = c_library.run(
        c_library.installed_library(), exported.path, [("serving_default", {"waveform": clip[None]})]
    ).answers
    here = recognizer.predict(clip, sampling_rate=16000).probabilities
    np.testing.assert_allclose(given["probabilities"][0], here, rtol=0, atol=1e-5)

    other = "jax" if keras.backend.backend() != "jax" else "torch"
    code = (
        "import sys, numpy as np, keras_vitser as kv\n"
        "clip = np.load(sys.argv[2])\n"
        "answer = kv.Recognizer.load(sys.argv[1]).predict(clip, sampling_rate=16000)\n"
        "np.save(sys.argv[2], answer.probabilities)\n"
    )
    np.save(tmp_path / "clip.npy", clip)
    environment = os.environ | {"KERAS_BACKEND": other}
    subprocess.run([sys.executable, "-c", code, model, tmp_path / "clip.npy"], env=environment, check=True)
    np.testing.assert_allclose(given["probabilities"][0], np.load(tmp_path / "clip.npy"), rtol=0, atol=1e-5)


def refused(match, *arguments, error=ExportError, **options):
    with pytest.raises(error, match=match):
        serving.export(*arguments, **options)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("version", [None, 0, -1, True, 1.5])
def test_a_version_is_a_positive_number(model, tmp_path, version):
    refused("needs a version, 1 or more", model, tmp_path / "vit_ser", version=version)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("there", ["7", "007"])
def test_no_version_is_overwritten(model, tmp_path, there):
    (tmp_path / "vit_ser" / there).mkdir(parents=True)
    refused("no version is overwritten", model, tmp_path / "vit_ser", version=7)
    assert list((tmp_path / "vit_ser" / there).iterdir()) == []


@pytest.mark.backends("tensorflow")
def test_arguments_that_do_not_fit_are_refused(model, tmp_path):
    (tmp_path / "there.onnx").write_text("mine")
    refused("a file has no version", model, tmp_path / "a.onnx", version=1)
    refused("nothing is overwritten", model, tmp_path / "there.onnx")
    refused("only LiteRT files", model, tmp_path / "a.onnx", int8=True)
    refused("only LiteRT files", model, tmp_path / "vit_ser", version=1, int8=True)
    assert (tmp_path / "there.onnx").read_text() == "mine"
    assert [child.name for child in tmp_path.iterdir()] == ["there.onnx"]


@pytest.mark.backends("tensorflow")
def test_what_is_not_installed_is_named_with_its_install_line(model, tmp_path, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == "onnx" else True)
    refused(r"needs onnx: pip install 'keras-vitser\[export\]'", model, tmp_path / "a.onnx")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    refused("needs TensorFlow", model, tmp_path / "vit_ser", version=1, error=BackendError)


@pytest.mark.backends("tensorflow")
def test_an_error_of_the_other_process_is_raised_here_and_leaves_nothing(model, tmp_path):
    refused("is not a model folder", tmp_path / "none", tmp_path / "models" / "a", version=1, error=ModelFolderError)
    assert list((tmp_path / "models" / "a").iterdir()) == []


@pytest.mark.backends("tensorflow")
def test_a_process_that_dies_is_an_error_with_its_last_words(model, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_COMMAND", [sys.executable, "-c", "import sys; sys.exit('oh no')"])
    refused("has ended: oh no", model, tmp_path / "vit_ser", version=1)
    monkeypatch.setattr(module, "_COMMAND", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    refused("has ended: code -9", model, tmp_path / "vit_ser", version=1)
    assert list((tmp_path / "vit_ser").iterdir()) == []


@pytest.mark.backends("tensorflow")
def test_a_place_that_cannot_be_written_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("")
    refused("cannot be written", model, tmp_path / "file" / "vit_ser", version=1)
    refused("cannot be written", model, tmp_path / "file" / "a.onnx")


@pytest.mark.more
def test_the_network_of_any_kind_is_exported_without_what_it_cannot_do(tmp_path):
    inputs = keras.Input((16, 16, 1))
    logits = keras.layers.Dense(2)(keras.layers.Flatten()(inputs))
    plain = Recognizer(keras.Model(inputs, logits), ["calm", "upset"], LogMelImage(n_mels=16, frames=16))
    folder = plain.save(tmp_path / "model")
    assert serving.export(folder, tmp_path / "plain", version=1).signatures == ("serving_default", "wav")
