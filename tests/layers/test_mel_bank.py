"""keras_vitser/layers/mel_bank.py"""

import librosa
import numpy as np
import pytest

from keras_vitser.layers.mel_bank import mel_bank

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

SETTINGS = [
    (16000, 1024, 128, 0.0, 8000.0),
    (16000, 512, 40, 20.0, 7600.0),
    (22050, 2048, 64, 0.0, 11025.0),
    (8000, 256, 23, 300.0, 3400.0),
]


@pytest.mark.parametrize(("sampling_rate", "n_fft", "n_mels", "fmin", "fmax"), SETTINGS)
def test_equals_librosa(sampling_rate, n_fft, n_mels, fmin, fmax):
    arguments = {"sr": sampling_rate, "n_fft": n_fft, "n_mels": n_mels, "fmin": fmin, "fmax": fmax}
    expected = librosa.filters.mel(**arguments, dtype=np.float64)
    # 1e-7: ours is float64 until one last rounding to float32 (6e-8 of the number). 1e-15: bins at a filter's foot.
    np.testing.assert_allclose(mel_bank(sampling_rate, n_fft, n_mels, fmin, fmax).T, expected, rtol=1e-7, atol=1e-15)


def test_is_lowest_band_first_in_float32():
    bank = mel_bank(16000, 1024, 128, 0.0, 8000.0)
    assert bank.dtype == np.float32
    assert (np.diff(bank.argmax(axis=0)) >= 0).all()
    assert bank.argmax(axis=0)[0] < 4 < 490 < bank.argmax(axis=0)[-1]
