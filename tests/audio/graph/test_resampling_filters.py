"""The measured taps, applied by NumPy in float64, against soxr itself."""

import dataclasses

import numpy as np
import pytest
import soxr

from keras_vitser.audio.graph.resampling_filters import COMMON_RATES, measured_filter

RATES = [rate for rate in COMMON_RATES if rate != 16000]
EDGE = 100


def by_hand(measured, waveform):
    """The strided convolution, written with a loop over frames."""
    width, phases = measured.taps.shape
    wanted = measured.samples_after(len(waveform))
    frames = -(-wanted // phases)
    padded = np.zeros(measured.before + max(len(waveform), frames * measured.stride) + width)
    padded[measured.before :][: len(waveform)] = waveform
    starts = measured.stride * np.arange(frames)
    resampled = np.concatenate([padded[at : at + width] @ measured.taps for at in starts])[:wanted]
    start = waveform[: len(measured.first_taps)]
    first = start @ measured.first_taps[: len(start)].astype(np.float64)
    resampled[: len(first)] = first[:wanted]
    return resampled


def decibels(error, of):
    return 10 * np.log10(np.sum(error**2) / np.sum(of**2) + 1e-30)


@pytest.mark.parametrize("rate", RATES)
def test_white_noise_comes_out_as_from_soxr_at_the_edges_too(rate):
    measured = measured_filter(rate)
    for samples in (50, 333, rate // 3 + 1, 3 * rate + 7):
        noise = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
        expected = soxr.resample(noise, rate, 16000, quality="HQ").astype(np.float64)
        error = by_hand(measured, noise) - expected
        assert decibels(error, expected) < -130
        assert decibels(error[:EDGE], expected[:EDGE]) < -130
        assert decibels(error[-EDGE:], expected[-EDGE:]) < -130


@pytest.mark.parametrize("rate", RATES)
def test_the_length_is_that_of_soxr(rate):
    measured = measured_filter(rate)
    lengths = [*range(1, 100), *np.random.default_rng(0).integers(100, 20000, 50)]
    given = [len(soxr.resample(np.zeros(length, np.float32), rate, 16000, quality="HQ")) for length in lengths]
    assert [measured.samples_after(int(length)) for length in lengths] == given


def test_a_drift_is_seen_by_the_test_above():
    """One tap moved by one place is an error of more than -60 dB."""
    measured = measured_filter(48000)
    measured = dataclasses.replace(measured, taps=np.roll(measured.taps, 1, axis=0))
    noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    expected = soxr.resample(noise, 48000, 16000, quality="HQ")
    assert decibels(by_hand(measured, noise) - expected, expected) > -60
