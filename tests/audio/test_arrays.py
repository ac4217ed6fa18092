"""Arrays of samples as waveforms; `tests/test_recognizer.py` has what is refused, through `predict`."""

import numpy as np
import pytest

from keras_vitser.audio import waveform_of
from keras_vitser.errors import NonFiniteAudioError, NoSamplesError, PredictionError


def test_an_array_is_resampled_and_kept_where_its_rate_is_right():
    samples = np.linspace(-1, 1, 48000)
    assert waveform_of(samples, 48000, 16000).shape == (16000,)
    same = waveform_of(samples, 16000, 16000)
    np.testing.assert_array_equal(same, samples.astype("float32"))


@pytest.mark.parametrize(
    ("samples", "rate", "error"),
    [
        ([0.0, 1.0], 16000, PredictionError),
        (np.zeros(9), None, PredictionError),
        (np.zeros(9), 0, PredictionError),
        (np.zeros(9, "int16"), 16000, PredictionError),
        (np.zeros((1, 9)), 16000, PredictionError),
        (np.zeros(0), 16000, NoSamplesError),
        (np.zeros(1), 192000, NoSamplesError),
        (np.full(9, np.nan), 16000, NonFiniteAudioError),
    ],
)
def test_what_is_no_waveform_is_refused(samples, rate, error):
    with pytest.raises(error):
        waveform_of(samples, rate, 16000)
