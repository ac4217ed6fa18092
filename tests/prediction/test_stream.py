"""Any number of recordings, a few at a time."""

import threading
import time
import tracemalloc
import warnings

import numpy as np
import pytest
import soundfile

from keras_vitser.prediction import predict_stream
from keras_vitser.prediction.stream import BATCH, read_ahead
from keras_vitser.recognizer import Recognizer

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")


@pytest.mark.parametrize("count", [0, 1, 5, BATCH, BATCH + 1, 2 * BATCH + 7])
def test_answers_are_the_recognizers(recognizer, sounds, listed, count):
    paths = listed(count)
    rows = list(predict_stream(recognizer, paths, folder=sounds))
    assert [row.path for row in rows] == paths
    expected = recognizer.predict([sounds / path for path in paths])
    for row, answer in zip(rows, expected, strict=True):
        assert (row.label, row.error) == (answer.label, None)
        assert row.seconds_used == pytest.approx(answer.seconds_used, abs=1e-3)
        np.testing.assert_allclose(row.probabilities, answer.probabilities, atol=2e-6)


def test_a_bad_file_has_a_reason_and_stops_nothing(recognizer, sounds, tmp_path):
    (tmp_path / "b.wav").write_text("no sound")
    paths = ["nowhere.wav", "", str(tmp_path / "b.wav"), str(tmp_path), "0.wav", "a\0.wav"]
    rows = list(predict_stream(recognizer, paths, folder=sounds))
    assert [row.path for row in rows] == paths
    assert [row.label is None for row in rows] == [True, True, True, True, False, True]
    for row, words in zip(rows, ["no such file", "no path", "not a sound file", "is a folder"], strict=False):
        assert words in row.error
        assert "\n" not in row.error


def test_a_batch_of_nothing_but_bad_files(recognizer):
    rows = list(predict_stream(recognizer, ["nowhere.wav"] * (BATCH + 3)))
    assert all("no such file" in row.error for row in rows)


def test_neighbours_that_cannot_be_read_change_nothing(recognizer, sounds, listed):
    paths = listed(BATCH)
    whole = list(predict_stream(recognizer, paths, folder=sounds))
    holed = list(predict_stream(recognizer, [*paths[:3], "nowhere.wav", *paths[4:]], folder=sounds))
    assert [row for row in holed if row.error is None] == whole[:3] + whole[4:]


def test_a_list_taken_up_again_goes_on_as_if_it_had_not_been_stopped(recognizer, sounds, listed):
    paths = listed(2 * BATCH + 5)
    whole = list(predict_stream(recognizer, paths, folder=sounds))
    assert list(predict_stream(recognizer, paths[BATCH:], folder=sounds, start=BATCH)) == whole[BATCH:]
    assert list(predict_stream(recognizer, paths[2 * BATCH :], folder=sounds, start=2 * BATCH)) == whole[2 * BATCH :]


def test_every_batch_has_one_shape(recognizer, sounds, listed, monkeypatch):
    shapes = []
    probabilities = Recognizer.probabilities

    def noting(self, waveforms):
        shapes.append(waveforms.shape)
        return probabilities(self, waveforms)

    monkeypatch.setattr(Recognizer, "probabilities", noting)
    list(predict_stream(recognizer, listed(2 * BATCH + 3), folder=sounds))
    assert shapes == [(BATCH, recognizer.front_end.clip_samples)] * 3
    del shapes[:]
    list(predict_stream(recognizer, listed(3), folder=sounds))
    assert shapes == [(4, recognizer.front_end.clip_samples)]


def test_one_warning_tells_of_cut_recordings(recognizer, tmp_path, sounds):
    soundfile.write(tmp_path / "long.wav", np.zeros(8000), 16000)
    paths = [str(tmp_path / "long.wav"), *["0.wav"] * BATCH, str(tmp_path / "long.wav"), "nowhere.wav"]
    with pytest.warns(UserWarning, match=r"2 of 34 recordings .* first 0.25 s") as caught:
        rows = list(predict_stream(recognizer, paths, folder=sounds))
    assert [warning.category for warning in caught].count(UserWarning) == 1
    assert rows[0].seconds_used == 0.25
    assert [row.is_cut for row in rows] == [True, *[False] * BATCH, True, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        list(predict_stream(recognizer, ["0.wav"], folder=sounds))


@pytest.mark.backends("tensorflow")
def test_memory_does_not_grow_with_the_list(recognizer, sounds):
    """What 5,800 rows more would take, were they kept, is about 3 MB; threads are ahead by up to 0.7 MB of sound."""

    def peak(count):
        tracemalloc.start()
        try:
            for _ in predict_stream(recognizer, (f"{number % 7}.wav" for number in range(count)), folder=sounds):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2 * BATCH)
    short, long = peak(200), peak(6000)
    assert long - short < 1_000_000


@pytest.mark.backends("tensorflow")
def test_reading_ahead_is_bounded_and_keeps_the_order():
    begun, taken, lock, furthest = 0, 0, threading.Lock(), 0

    def read(number):
        nonlocal begun, furthest
        with lock:
            begun += 1
            furthest = max(furthest, begun - taken)
        time.sleep(0.002 * (number % 3))
        return number

    for number in read_ahead(read, range(60), readers=4, ahead=5):
        assert number == taken
        time.sleep(0.001)
        with lock:
            taken += 1
    assert taken == 60
    assert 1 < furthest <= 5 + 1


@pytest.mark.backends("tensorflow")
def test_a_reader_that_is_left_early_reads_no_further():
    read = []
    reads = read_ahead(lambda number: read.append(number), range(1000), readers=2, ahead=4)
    next(reads)
    reads.close()
    assert len(read) <= 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read_")]
