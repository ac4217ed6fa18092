"""What a server takes on at most."""

import io

import numpy as np
import pytest
import soundfile

from keras_vitser.serving.server.bounds import Bounds, wav_seconds
from keras_vitser.serving.server.status import StatusError
from tests.audio.sound_cases import CASES

pytestmark = pytest.mark.backends("tensorflow")

BOUNDS = Bounds(batch_size=4, clip_seconds=2.0)


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_length_of_a_wav_file_is_that_of_libsndfile(rate, subtype, channels):
    file = io.BytesIO()
    soundfile.write(file, np.zeros((rate // 2, channels)), rate, subtype=subtype, format="WAV")
    assert wav_seconds(file.getvalue()) == pytest.approx(0.5, abs=2 / rate)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("name", CASES)
def test_the_length_of_a_file_that_is_not_as_it_should_be_is_what_is_read_of_it(name):
    assert wav_seconds(CASES[name].data) == pytest.approx(CASES[name].seconds, rel=0.02)  # blocks of a codec


@pytest.mark.backends("tensorflow")
def test_a_format_behind_the_sound_is_found_as_in_the_graph():
    data = wav(2.0)
    late = data[:12] + data[36:] + data[12:36]
    assert wav_seconds(late) == 2.0


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEdata\xff\0\0\0", b"fLaC" * 9])
def test_what_is_no_wav_file_lasts_nothing(data):
    assert wav_seconds(data) == 0.0


def test_chunks_without_end_are_left():
    assert wav_seconds(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 100000) == 0.0


def wav(seconds):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(round(8000 * seconds)), 8000, format="WAV")
    return file.getvalue()


@pytest.mark.parametrize(
    "inputs",
    [
        {"waveform": np.zeros((4, 32000), "float32")},
        {"audio_bytes": np.array([wav(2.0), b"no sound"], object)},
        {"scalar": np.float32(1)},
        {"empty": np.zeros((0, 5))},
    ],
)
def test_up_to_the_bounds_all_is_taken(inputs):
    BOUNDS.check({name: np.asarray(array) for name, array in inputs.items()})


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"waveform": np.zeros((5, 10))}, "Task size 5 is larger than maximum input batch size 4"),
        ({"waveform": np.zeros((1, 32001))}, r"Input waveform has a clip of 2\.0 s; at most 2 s are taken"),
        ({"audio_bytes": np.array([wav(0.1), wav(2.5)], object)}, r"Input audio_bytes has a clip of 2\.5 s"),
    ],
)
def test_beyond_them_it_is_refused(inputs, words):
    with pytest.raises(StatusError, match=words) as error:
        BOUNDS.check(inputs)
    assert error.value.http_status == 400
