"""keras_vitser/audio/augmentation.py"""

import numpy as np
import pytest

from keras_vitser.audio import COPIES, Augmentation, augment

TONE = (0.3 * np.sin(2 * np.pi * 440 / 16000 * np.arange(32000))).astype("float32")
NOISE, SPEED, SHIFT = (COPIES.index(name) for name in ("noise", "speed", "shift"))


def generator(seed=0):
    return np.random.default_rng(seed)


def test_copies_are_the_paper_s_four():
    assert COPIES == ("as recorded", "noise", "speed", "shift")


def test_copy_0_is_the_recording():
    assert augment(TONE, 0, generator()) is TONE


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_the_drawn_level(seed):
    drawn_db = generator(seed).uniform(10.0, 30.0)
    noise = augment(TONE, NOISE, generator(seed)).astype("float64") - TONE
    measured_db = 10 * np.log10(np.mean(TONE.astype("float64") ** 2) / np.mean(noise**2))
    # The power of 32000 normal numbers has a standard error of 0.034 dB; 0.3 dB is nine of these.
    assert measured_db == pytest.approx(drawn_db, abs=0.3)


def test_noise_is_white_and_fills_the_range():
    levels = []
    for seed in range(40):
        noise = augment(TONE, NOISE, generator(seed)) - TONE
        spectrum = np.abs(np.fft.rfft(noise)) ** 2
        low, high = spectrum[: len(spectrum) // 2].mean(), spectrum[len(spectrum) // 2 :].mean()
        assert low / high == pytest.approx(1, abs=0.1)  # standard error of the ratio: 0.016
        levels.append(10 * np.log10(np.mean(TONE**2) / np.mean(noise**2)))
    assert 9.5 < min(levels) < 13
    assert 27 < max(levels) < 30.5


@pytest.mark.parametrize("seed", range(5))
def test_speed_changes_length_and_pitch_by_the_factor(seed):
    factor = generator(seed).uniform(0.9, 1.1)
    copy = augment(TONE, SPEED, generator(seed))
    assert len(copy) == pytest.approx(len(TONE) / factor, abs=1)
    spectrum = np.abs(np.fft.rfft(copy * np.hanning(len(copy)), 1 << 18))
    pitch = spectrum.argmax() * 16000 / (1 << 18)
    assert pitch == pytest.approx(440 * factor, abs=0.1)  # bins of 0.06 Hz


def test_shift_goes_both_ways():
    changes = set()
    for seed in range(12):
        samples = round(generator(seed).uniform(-0.5, 0.5) * 16000)
        copy = augment(TONE, SHIFT, generator(seed))
        assert len(copy) == len(TONE) + samples
        if samples > 0:
            np.testing.assert_array_equal(copy[:samples], 0)
            np.testing.assert_array_equal(copy[samples:], TONE)
        else:
            np.testing.assert_array_equal(copy, TONE[-samples:])
        changes.add(np.sign(samples))
    assert changes == {-1, 1}


@pytest.mark.parametrize("copy", range(4))
def test_the_same_state_gives_the_same_copy(copy):
    np.testing.assert_array_equal(augment(TONE, copy, generator(3)), augment(TONE, copy, generator(3)))
    if copy:
        other = augment(TONE, copy, generator(4))
        first = augment(TONE, copy, generator(3))
        assert other.shape != first.shape or (other != first).any()


@pytest.mark.parametrize("copy", range(4))
def test_the_recording_is_not_changed(copy):
    waveform = TONE.copy()
    augment(waveform, copy, generator())
    np.testing.assert_array_equal(waveform, TONE)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("copy", range(4))
@pytest.mark.parametrize("samples", [1, 2, 10, 1000])
def test_very_short_clips_stay_clips(samples, copy, seed):
    result = augment(np.full(samples, 0.5, "float32"), copy, generator(seed))
    assert result.dtype == np.float32
    assert result.ndim == 1
    assert len(result) > 0
    assert np.isfinite(result).all()


@pytest.mark.parametrize("copy", range(4))
def test_silence_stays_silence(copy):
    np.testing.assert_array_equal(augment(np.zeros(1600, "float32"), copy, generator()), 0)


def test_strengths_are_used():
    strengths = Augmentation(noise_snr_db=(0.0, 0.0), speed=(0.5, 0.5), shift_seconds=0.0)
    noise = augment(TONE, NOISE, generator(), strengths) - TONE
    assert np.mean(noise**2) == pytest.approx(np.mean(TONE**2), rel=0.07)  # 0.3 dB, as above
    assert len(augment(TONE, SPEED, generator(), strengths)) == pytest.approx(64000, abs=1)
    np.testing.assert_array_equal(augment(TONE, SHIFT, generator(), strengths), TONE)


@pytest.mark.parametrize("copy", [4, -1])
def test_refuses_other_copies(copy):
    with pytest.raises(ValueError, match=rf"`copy` must be 0 to 3 \(as recorded, .*Received: copy={copy}"):
        augment(TONE, copy, generator())
