"""The transform by matrices against the one by FFT, on real recordings."""

import keras
import numpy as np
import pytest

from keras_vitser.layers import LogMelImage
from keras_vitser.serving.exports.dft_by_matrices import DFTByMatrices
from tests.serving.real_sounds import waveforms

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

MOST_DECIBELS = 0.02  # as the issue states


def images(layer, clips):
    return keras.ops.convert_to_numpy(layer(clips)) * layer.top_db


def test_the_image_is_that_of_the_fft(recordings):
    layer = LogMelImage()
    clips = np.zeros((13, layer.clip_samples), np.float32)
    for row, waveform in zip(clips, waveforms(recordings), strict=False):
        row[: min(len(row), len(waveform))] = waveform[: len(row)]
    twin = DFTByMatrices.from_config(layer.get_config())
    np.testing.assert_allclose(images(twin, clips), images(layer, clips), rtol=0, atol=MOST_DECIBELS)


def test_the_power_is_that_of_numpy():
    frames = np.random.default_rng(0).normal(0, 0.1, (1, 5, 512)).astype(np.float32)
    expected = np.abs(np.fft.rfft(frames.astype(np.float64), 1024)) ** 2
    given = keras.ops.convert_to_numpy(DFTByMatrices()._power(keras.ops.convert_to_tensor(frames)))
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5 * expected.max())
