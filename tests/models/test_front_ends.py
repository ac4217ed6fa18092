"""keras_vitser/models/front_ends.py, and recognizers whose front end is no log-Mel image."""

import json

import keras
import numpy as np
import pytest
import scipy.special
from keras import ops

from keras_vitser import Recognizer
from keras_vitser.errors import ModelFolderError
from keras_vitser.layers import FrontEnd, LogMelImage
from keras_vitser.models import ViTSER, front_ends, register_front_end
from tests.front_ends import Energies, Moments, dense, dense_of_dict

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

NOISE = np.random.default_rng(0).normal(0, 0.1, 12000).astype(np.float32)
LABELS = ("calm", "upset")


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.setattr(front_ends, "_registered", {})


def saved(tmp_path, recognizer):
    return recognizer.save(tmp_path / "model")


@pytest.mark.parametrize(("front_end", "network"), [(Energies, dense), (Moments, dense_of_dict)])
def test_a_recognizer_of_another_front_end_answers_and_comes_back(front_end, network, tmp_path):
    recognizer = Recognizer(network(), LABELS, front_end())
    sources = [NOISE, NOISE[:3000], NOISE[:8000]]
    answers = recognizer.predict(sources, sampling_rate=8000)
    for source, answer in zip(sources, answers, strict=True):
        features = front_end().features(*front_end().clips([source]))
        logits = ops.convert_to_numpy(recognizer.network(features))
        np.testing.assert_allclose(answer.probabilities, scipy.special.softmax(logits[0]), rtol=1e-5)
        assert answer.seconds_used == len(front_end().used(source)) / 8000
    folder = saved(tmp_path, recognizer)
    with pytest.raises(ModelFolderError, match=rf"tests>{front_end.__name__}.*register_front_end"):
        Recognizer.load(folder)
    assert register_front_end(front_end) is front_end
    for before, after in zip(answers, Recognizer.load(folder).predict(sources, sampling_rate=8000), strict=True):
        np.testing.assert_allclose(after.probabilities, before.probabilities, rtol=1e-6)
    with pytest.raises(ModelFolderError, match=rf"tests>{front_end.__name__}.*presets take no others"):
        front_ends.loaded_front_end(front_ends.saved_front_end(front_end()), folder, ours_alone=True)


def test_the_words_of_one_without_a_window():
    assert "; all at 8000 Hz)" in repr(Recognizer(dense_of_dict(), LABELS, Moments()))
    assert "; the first 1 s at 8000 Hz)" in repr(Recognizer(dense(), LABELS, Energies()))


def test_silence_is_not_skipped_where_all_is_used():
    recognizer = Recognizer(dense_of_dict(), LABELS, Moments())
    later = np.concatenate([np.zeros(16000, np.float32), NOISE])
    assert recognizer.predict(later, sampling_rate=8000, skip_silence=True).seconds_used == 3.5


@pytest.mark.parametrize(("front_end", "network"), [(Energies, dense_of_dict), (Moments, dense)])
def test_a_network_that_takes_something_else_is_refused(front_end, network):
    with pytest.raises(ModelFolderError, match=r"the network takes .*, and the front end makes"):
        Recognizer(network(), LABELS, front_end())


def test_a_model_folder_of_format_1_holds_a_log_mel_image(tmp_path):
    network = ViTSER.student(2, image_size=(16, 8), patch_size=(16, 1), depth=1)
    folder = saved(tmp_path, Recognizer(network, LABELS, LogMelImage(n_mels=16, frames=8, top_db=60.0)))
    path = folder / "recognizer.json"
    settings = json.loads(path.read_text())
    assert settings["format"] == 2
    assert settings["front_end"]["registered_name"] == "keras_vitser>LogMelImage"
    path.write_text(json.dumps(settings | {"format": 1, "front_end": settings["front_end"]["config"]}))
    loaded = Recognizer.load(folder)
    assert (type(loaded.front_end), loaded.front_end.top_db) == (LogMelImage, 60.0)


@pytest.mark.parametrize(
    "front_end",
    [
        {"registered_name": "keras_vitser>LogMelImage"},
        {"registered_name": "keras_vitser>LogMelImage", "config": {"bands": 3}},
        {"registered_name": ["keras_vitser>LogMelImage"], "config": {}},
        {"registered_name": "keras_vitser>LogMelImage", "config": None},
    ],
)
def test_a_front_end_that_is_damaged_is_told(front_end, tmp_path):
    network = ViTSER.student(2, image_size=(16, 8), patch_size=(16, 1), depth=1)
    folder = saved(tmp_path, Recognizer(network, LABELS, LogMelImage(n_mels=16, frames=8)))
    path = folder / "recognizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"front_end": front_end}))
    with pytest.raises(ModelFolderError, match=r"recognizer\.json: is damaged"):
        Recognizer.load(folder)


@pytest.mark.parametrize("name", [None, "Lambda", "builtins>Lambda", "tests>Energies", "x" * 500])
def test_no_other_class_is_made(name, tmp_path):
    network = ViTSER.student(2, image_size=(16, 8), patch_size=(16, 1), depth=1)
    folder = saved(tmp_path, Recognizer(network, LABELS, LogMelImage(n_mels=16, frames=8)))
    path = folder / "recognizer.json"
    front_end = {"module": "keras.layers", "class_name": "Lambda", "registered_name": name, "config": {}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"front_end": front_end}))
    with pytest.raises(ModelFolderError, match=r"names the front end .*known here are keras_vitser>LogMelImage"):
        Recognizer.load(folder)


def test_only_front_ends_that_keras_knows_are_registered():
    class Unknown(FrontEnd):
        pass

    for wrong in (Unknown, keras.layers.Dense, LogMelImage()):
        with pytest.raises(ValueError, match="is a subclass of"):
            register_front_end(wrong)
