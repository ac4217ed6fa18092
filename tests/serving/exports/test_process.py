"""keras_vitser/serving/exports/process.py, in this process: what the seam of front ends does to an export."""

import keras
import pytest

from keras_vitser.errors import ExportError
from keras_vitser.layers import FrontEnd
from keras_vitser.models import front_ends, register_front_end
from keras_vitser.recognizer import Recognizer
from keras_vitser.serving.exports.process import do
from tests.front_ends import Moments, dense, dense_of_dict

pytestmark = pytest.mark.backends("tensorflow")


@keras.saving.register_keras_serializable(package="tests")
class OpenEnergies(FrontEnd):
    """A graph, for recordings of any length."""

    sampling_rate, clip_samples = 8000, None
    output_spec = keras.KerasTensor((None, 10))

    def call(self, clips):
        return keras.ops.repeat(keras.ops.mean(keras.ops.square(clips), axis=1, keepdims=True), 10, axis=1)


@pytest.mark.parametrize(
    ("front_end", "network", "words"),
    [
        (Moments, dense_of_dict, "its front end, Moments, is no graph of Keras alone, and cannot be exported"),
        (OpenEnergies, dense, "its front end, OpenEnergies, takes recordings of any length, and cannot be exported"),
    ],
)
def test_a_front_end_that_cannot_be_exported_is_named(front_end, network, words, tmp_path, monkeypatch):
    monkeypatch.setattr(front_ends, "_registered", {})
    register_front_end(front_end)
    folder = Recognizer(network(), ("calm", "upset"), front_end()).save(tmp_path / "model")
    job = {"kind": "saved_model", "model": str(folder), "name": "a", "version": 1, "part": str(tmp_path / "part")}
    with pytest.raises(ExportError, match=words):
        do(job)


@pytest.mark.parametrize("place", ["nowhere:Mine", "tests.front_ends:Mine"])
def test_a_front_end_of_a_notebook_is_missed_only_where_it_is_needed(place, tmp_path, monkeypatch):
    """A class that no other process can import, registered beside the one that is exported, or that one itself."""
    monkeypatch.setattr(front_ends, "_registered", {})
    folders = {}
    for cls, network in ((Moments, dense_of_dict), (OpenEnergies, dense)):
        register_front_end(cls)
        folders[cls] = Recognizer(network(), ("calm", "upset"), cls()).save(tmp_path / cls.__name__)
    job = {"kind": "saved_model", "name": "a", "version": 1, "part": str(tmp_path / "part")}
    monkeypatch.setattr(front_ends, "_registered", {})
    places = [place, "tests.front_ends:Moments"]
    with pytest.raises(ExportError, match="its front end, Moments, is no graph"):
        do(job | {"model": str(folders[Moments]), "front_ends": places})
    with pytest.raises(ExportError, match=f"OpenEnergies.*which cannot import {place}: define it in a module"):
        do(job | {"model": str(folders[OpenEnergies]), "front_ends": places})
