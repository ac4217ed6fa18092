"""WAV files of whole numbers, read again by libsndfile."""

import io

import numpy as np
import pytest
import soundfile

from keras_vitser.audio.wav_writing import wav_file

pytestmark = pytest.mark.backends("tensorflow")


@pytest.mark.parametrize(("width", "subtype"), [(2, "PCM_16"), (3, "PCM_24"), (4, "PCM_32")])
@pytest.mark.parametrize("order", ["<i8", ">i4"])
def test_every_sample_comes_back(width, subtype, order):
    most = 2 ** (8 * width - 1)
    samples = np.array([-most, -1, 0, 1, most - 1]).astype(order)
    file = io.BytesIO(wav_file(samples, 8000, width))
    assert soundfile.info(file).subtype == subtype
    file.seek(0)
    read, rate = soundfile.read(file, dtype="int32")
    assert rate == 8000
    np.testing.assert_array_equal(read >> (32 - 8 * width), samples)


def test_no_sample_is_a_header_alone():
    assert len(wav_file(np.zeros(0), 16000)) == 44
