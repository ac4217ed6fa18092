"""Windows over a long recording, against slices of the whole, and the recognizer asked by hand."""

import tracemalloc

import numpy as np
import pytest
import soundfile

from keras_vitser.errors import AudioError, NoSamplesError, PredictionError
from keras_vitser.prediction.answering import NOT_FINITE
from keras_vitser.prediction.classifier import Classifier
from keras_vitser.prediction.windows import answered_windows, blocks_of, windows_of
from tests.experiments.made_up import chirp
from tests.front_ends import Moments, dense_of_dict

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

RATE = 16000


def blocks(waveform, *sizes):
    """The waveform in blocks of these sizes, again and again."""
    start, number = 0, 0
    while start < len(waveform):
        yield waveform[start : start + sizes[number % len(sizes)]]
        start, number = start + sizes[number % len(sizes)], number + 1


@pytest.mark.backends("torch")
@pytest.mark.parametrize("sizes", [(1,), (3, 1), (7,), (10,), (11, 64), (1000,)])
@pytest.mark.parametrize(("length", "step"), [(1, 1), (10, 10), (10, 3), (64, 7)])
@pytest.mark.parametrize("samples", [1, 9, 10, 11, 64, 71, 200])
def test_windows_are_slices_of_the_whole(samples, length, step, sizes):
    waveform = np.arange(samples, dtype=np.float32)
    count = 1 + max(samples - length, 0) // step
    windows = list(windows_of(blocks(waveform, *sizes), length, step))
    assert len(windows) == count
    for number, window in enumerate(windows):
        np.testing.assert_array_equal(window, waveform[number * step :][:length])


def test_each_window_is_answered_as_a_recording_by_itself(recognizer, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vitser.audio.decoding._BLOCK", 7000)
    path = tmp_path / "long.wav"
    soundfile.write(path, chirp(1, 4.3, 44100), 44100)
    blocks_of_file = list(blocks_of(path, RATE))
    assert len(blocks_of_file) > 10
    waveform = np.concatenate(blocks_of_file)
    found = list(answered_windows(recognizer, blocks_of(path, RATE), 0.1))
    length = recognizer.front_end.clip_samples
    assert [window.start for window in found] == [number * 1600 / RATE for number in range(41)]
    parts = [waveform[round(window.start * RATE) :][:length] for window in found]
    for window, part, answer in zip(found, parts, recognizer.predict(parts, sampling_rate=RATE), strict=True):
        np.testing.assert_array_equal(window.samples, part)
        assert (window.answer.label, window.answer.heard) == (answer.label, answer.heard)
        np.testing.assert_allclose(window.answer.probabilities, answer.probabilities, atol=2e-6, rtol=0)
    first = recognizer.predict(waveform[:length], sampling_rate=RATE)
    np.testing.assert_allclose(found[0].answer.probabilities, first.probabilities, atol=2e-6, rtol=0)


@pytest.mark.backends("torch")
def test_no_more_is_read_than_is_answered(recognizer):
    taken = []

    def noting():
        for number in range(100):
            taken.append(number)
            yield chirp(number, 0.25)

    assert len(list(answered_windows(recognizer, noting(), 0.25, most=3))) == 3
    assert taken == [0, 1, 2]


@pytest.mark.backends("torch")
def test_a_recording_of_minutes_is_not_held(recognizer, tmp_path):
    """Eight minutes are 31 MB of waveform; a block is 4 MB, and is cut into windows of 16 kB."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(480 * RATE, np.int16), RATE)
    next(answered_windows(recognizer, blocks_of(path, RATE), 0.25))
    tracemalloc.start()
    try:
        count = sum(1 for _ in answered_windows(recognizer, blocks_of(path, RATE), 0.25))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 4 * 480
    assert peak < 20e6


@pytest.mark.backends("torch")
def test_what_cannot_be_answered_is_refused(recognizer, tmp_path, monkeypatch):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"text\.wav"):
        next(blocks_of(tmp_path / "text.wav", RATE))
    with pytest.raises(NoSamplesError):
        next(blocks_of(np.zeros(0), RATE))
    with pytest.raises(PredictionError, match="int16"):
        next(blocks_of(np.zeros(9, np.int16), RATE))
    with pytest.raises(PredictionError, match="hears a recording as a whole"):
        next(answered_windows(Classifier(dense_of_dict(), ["calm", "upset"], Moments()), [chirp(1)], 0.1))
    monkeypatch.setattr(recognizer, "probabilities", lambda clips, lengths: np.full((len(clips), 2), np.nan))
    with pytest.raises(PredictionError, match=NOT_FINITE):
        next(answered_windows(recognizer, [chirp(1)], 0.1))
