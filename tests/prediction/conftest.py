"""A tiny model, short recordings, and lists of them."""

import pytest
import soundfile

from keras_vitser.layers import LogMelImage
from keras_vitser.recognizer import Recognizer
from tests.experiments.made_up import FRONT_END, chirp, network

LABELS = ("calm", "upset, loud")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model folder; its clips last a quarter of a second, so that a batch is quick."""
    recognizer = Recognizer(network("student", 2), LABELS, LogMelImage(clip_seconds=0.25, **FRONT_END))
    return recognizer.save(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="session")
def recognizer(model):
    return Recognizer.load(model)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """A folder of seven recordings, `0.wav` and so on."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(7):
        soundfile.write(folder / f"{number}.wav", chirp(number, 0.05 + 0.02 * number), 16000)
    return folder


@pytest.fixture(scope="session")
def listed():
    """The paths of a list of so many recordings."""
    return lambda count: [f"{number % 7}.wav" for number in range(count)]
