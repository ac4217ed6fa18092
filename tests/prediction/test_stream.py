"""Any number of recordings, a few at a time."""

import tracemalloc
import unicodedata
import warnings

import numpy as np
import pytest
import soundfile
import soxr

from keras_vitser.prediction import manifest_paths, predict_stream
from keras_vitser.prediction.stream import BATCH
from keras_vitser.recognizer import Recognizer
from tests.audio.unheard_sounds import lsb_noise
from tests.experiments.made_up import chirp

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
        assert row.heard == pytest.approx(answer.heard, abs=1e-6)
        assert row.heard > 0
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


@pytest.mark.backends("torch")
def test_a_list_may_write_names_in_another_form_of_unicode(recognizer, sounds, tmp_path):
    names = [unicodedata.normalize(form, "für.wav") for form in ("NFC", "NFD")]
    (tmp_path / names[1]).write_bytes((sounds / "0.wav").read_bytes())
    manifest = tmp_path / "clips.csv"
    manifest.write_text(f"path\n{names[0]}\n{names[1]}\n", encoding="utf-8")
    rows = list(predict_stream(recognizer, manifest_paths(manifest), folder=tmp_path))
    assert [(row.path, row.error) for row in rows] == [(name, None) for name in names]


@pytest.mark.backends("torch")
def test_whatever_goes_wrong_in_one_file_is_told_in_its_row(recognizer, sounds, tmp_path, monkeypatch):
    noise = np.random.default_rng(0).normal(0, 0.1, 3200)
    soundfile.write(tmp_path / "phone.wav", noise, 16000, subtype="GSM610")  # opens, and cannot be sought in
    soundfile.write(tmp_path / "other.wav", noise, 48000)

    def resample(waveform, *rates, quality):
        raise MemoryError("no room\nfor it")

    monkeypatch.setattr(soxr, "resample", resample)
    paths = [str(tmp_path / "phone.wav"), str(tmp_path / "other.wav"), "0.wav"]
    gsm, other, good = predict_stream(recognizer, paths, folder=sounds)
    assert (gsm.error, good.error) == (None, None)
    assert gsm.seconds_used == pytest.approx(0.2, abs=0.001)
    assert other.error == f"{paths[1]}: cannot be read (MemoryError: no room for it); convert it, to FLAC for instance"


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

    def noting(self, clips, lengths):
        shapes.append(clips.shape)
        return probabilities(self, clips, lengths)

    monkeypatch.setattr(Recognizer, "probabilities", noting)
    list(predict_stream(recognizer, listed(2 * BATCH + 3), folder=sounds))
    assert shapes == [(BATCH, recognizer.front_end.clip_samples)] * 3
    del shapes[:]
    list(predict_stream(recognizer, listed(3), folder=sounds))
    assert shapes == [(4, recognizer.front_end.clip_samples)]


def test_one_warning_tells_of_cut_recordings(recognizer, tmp_path, sounds):
    soundfile.write(tmp_path / "long.wav", chirp(1), 16000)
    paths = [str(tmp_path / "long.wav"), *["0.wav"] * BATCH, str(tmp_path / "long.wav"), "nowhere.wav"]
    with pytest.warns(UserWarning, match=r"2 of 34 recordings .* first 0.25 s") as caught:
        rows = list(predict_stream(recognizer, paths, folder=sounds))
    assert [warning.category for warning in caught].count(UserWarning) == 1
    assert rows[0].seconds_used == 0.25
    assert [row.is_cut for row in rows] == [True, *[False] * BATCH, True, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        list(predict_stream(recognizer, ["0.wav"], folder=sounds))


def test_one_warning_tells_of_silence(recognizer, tmp_path, sounds):
    soundfile.write(tmp_path / "silence.wav", lsb_noise(4000), 16000, subtype="PCM_16")
    paths = [str(tmp_path / "silence.wav"), *["0.wav"] * BATCH, str(tmp_path / "silence.wav"), "nowhere.wav"]
    with pytest.warns(UserWarning, match="nothing was heard in 2 of 34 recordings") as caught:
        rows = list(predict_stream(recognizer, paths, folder=sounds))
    assert [warning.category for warning in caught].count(UserWarning) == 1
    assert [row.heard == 0 for row in rows] == [True, *[False] * BATCH, True, False]
    assert rows[-1].heard is None


def test_silence_before_a_long_recording_can_be_skipped(recognizer, tmp_path):
    soundfile.write(tmp_path / "late.wav", np.concatenate([lsb_noise(8000), chirp(3, 0.2)]), 16000, subtype="FLOAT")
    paths = [str(tmp_path / "late.wav")]
    (row,) = predict_stream(recognizer, paths, skip_silence=True)
    answer = recognizer.predict(paths[0], skip_silence=True)
    alone = recognizer.predict(chirp(3, 0.2), sampling_rate=16000)
    assert (row.label, row.seconds_used, row.is_cut) == (answer.label, 0.2, False)
    assert row.heard == pytest.approx(alone.heard, abs=1e-6)
    np.testing.assert_allclose(row.probabilities, alone.probabilities, atol=2e-6)
    with pytest.warns(UserWarning, match="nothing was heard in 1 of 1"):
        (unskipped,) = predict_stream(recognizer, paths)
    assert (unskipped.heard, unskipped.is_cut) == (0, True)


@pytest.mark.backends("torch", more=["torch"])
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


@pytest.mark.backends("torch")
def test_an_answer_that_is_no_number_is_an_error_of_its_row(recognizer, sounds, listed, monkeypatch):
    paths = listed(3)

    def probabilities(clips, lengths):
        numbers = np.full((len(clips), len(recognizer.labels)), 1 / len(recognizer.labels), np.float32)
        numbers[1, 0] = np.nan
        return numbers

    monkeypatch.setattr(recognizer, "probabilities", probabilities)
    rows = list(predict_stream(recognizer, paths, folder=sounds))
    assert [row.label is None for row in rows] == [False, True, False]
    assert rows[1].error.startswith(f"{paths[1]}: the network's answer is NaN or infinite")
    assert rows[1].probabilities == ()
