import numpy as np
import pytest

from keras_vitser.corpora.voices import SAMPLING_RATE, STYLES, VOICES, speak


def spoken(voice: int = 0, label: str = "neutral", seed: int = 0) -> np.ndarray:
    return speak(VOICES[voice], STYLES[label], np.random.default_rng(seed))


def pitch_hz(samples: np.ndarray) -> float:
    """Median pitch by autocorrelation of the louder frames."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(float), 1024)[::512]
    loud = frames[frames.std(axis=1) > np.median(frames.std(axis=1))]
    shortest, longest = SAMPLING_RATE // 500, SAMPLING_RATE // 70
    lags = []
    for frame in loud - loud.mean(axis=1, keepdims=True):
        correlation = np.correlate(frame, frame, "full")[len(frame) - 1 :]
        lags.append(shortest + int(np.argmax(correlation[shortest:longest])))
    return SAMPLING_RATE / float(np.median(lags))


@pytest.mark.parametrize("label", STYLES)
@pytest.mark.parametrize("voice", range(len(VOICES)))
def test_every_voice_speaks_every_style(voice, label):
    samples = spoken(voice, label)
    assert samples.dtype == np.int16
    assert 1.5 <= len(samples) / SAMPLING_RATE <= 3.0
    assert 300 < np.abs(samples.astype(int)).max() < 32767


def test_voices_differ_in_pitch_as_stated():
    for index in (0, 5):
        measured = np.median([pitch_hz(spoken(index, seed=seed)) for seed in range(8)])
        assert measured == pytest.approx(VOICES[index].pitch, rel=0.12)


def test_styles_move_the_pitch_of_one_voice():
    happy = np.median([pitch_hz(spoken(1, "happiness", seed)) for seed in range(8)])
    sad = np.median([pitch_hz(spoken(1, "sadness", seed)) for seed in range(8)])
    assert happy > 1.15 * sad


def test_clips_of_one_class_differ():
    assert not np.array_equal(spoken(seed=0)[:20000], spoken(seed=1)[:20000])


def test_one_seed_makes_one_clip():
    np.testing.assert_array_equal(spoken(seed=3), spoken(seed=3))
