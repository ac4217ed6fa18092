import multiprocessing
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keras_vitser.corpora import Clip, demo, load, protocols
from keras_vitser.errors import CorpusError
from tests.requirements import require


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A demo corpus made once; tests that spoil it take a copy."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "demo"
    load("demo", folder)
    return folder


@pytest.fixture
def copied(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "demo"))


@pytest.fixture
def fast(monkeypatch):
    """Replaces the voices by one that costs nothing."""
    monkeypatch.setattr(demo, "speak", lambda voice, style, rng: rng.integers(-9, 9, 16).astype(np.int16))


def test_480_clips_of_60_speakers_and_4_classes(made):
    corpus = load("demo", made)
    assert corpus.labels == ("anger", "happiness", "neutral", "sadness")
    assert sorted(corpus.speakers) == sorted(f"speaker{number}" for number in range(1, 61))
    assert Counter((clip.speaker, clip.label) for clip in corpus.clips) == {
        (speaker, label): 2 for speaker in corpus.speakers for label in corpus.labels
    }
    assert len({clip.content_hash for clip in corpus.clips}) == 480


def test_files_are_16_khz_mono_16_bit_of_1_5_to_3_seconds(made):
    for clip in load("demo", made).clips:
        info = soundfile.info(clip.path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 1.5 <= info.duration <= 3.0


def test_a_whole_corpus_is_used_as_it_is(made, monkeypatch):
    monkeypatch.setattr(demo, "_make", None)
    assert len(load("demo", made)) == 480


def test_nothing_else_is_left_behind(made):
    assert [path.name for path in made.parent.iterdir()] == ["demo"]


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("damage", ["missing", "cut off", "no table"])
def test_a_damaged_corpus_is_made_anew(copied, damage):
    victim = copied / ("manifest.csv" if damage == "no table" else "speaker3/anger_2.wav")
    if damage == "cut off":
        victim.write_bytes(victim.read_bytes()[:100])
    else:
        victim.unlink()
    corpus = load("demo", copied)
    assert all(clip.path.is_file() for clip in corpus.clips)
    assert demo._is_whole(copied)
    assert [path.name for path in copied.parent.iterdir()] == ["demo"]


@pytest.mark.usefixtures("fast")
def test_an_empty_folder_is_filled(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    assert all(clip.path.is_file() for clip in load("demo", folder).clips)


def test_a_folder_of_somebody_s_own_is_left_alone(write):
    folder = write("speaker1/holiday.wav")
    with pytest.raises(CorpusError, match=r"which holds holiday\.wav.*new or empty folder"):
        load("demo", folder)
    assert (folder / "speaker1" / "holiday.wav").exists()


def test_a_file_is_no_folder(write):
    with pytest.raises(CorpusError, match="is a file"):
        load("demo", write("x") / "x")


@pytest.mark.usefixtures("fast")
def test_a_failed_attempt_leaves_nothing(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CorpusError, match=r"No space left.*KERAS_VITSER_CACHE"):
        load("demo", tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("fast")
def test_another_process_may_be_faster(tmp_path, monkeypatch):
    target = tmp_path / "demo"
    write_all = demo._write_all

    def write_and_be_overtaken(folder):
        write_all(folder)
        write_all(target)

    monkeypatch.setattr(demo, "_write_all", write_and_be_overtaken)
    assert len(load("demo", target)) == 480
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def _load_demo(folder: str) -> str:
    return load("demo", folder).fingerprint


def test_two_processes_at_once_make_the_same_bytes_as_before(made, tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        fingerprints = pool.map(_load_demo, [str(tmp_path / "demo")] * 2)
    assert set(fingerprints) == {load("demo", made).fingerprint}
    assert os.listdir(tmp_path) == ["demo"]


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_VITSER_CACHE", str(tmp_path / "own"))
    assert demo.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("KERAS_VITSER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert demo.cache_folder() == tmp_path / "xdg" / "keras_vitser"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert demo.cache_folder() == tmp_path / ".cache" / "keras_vitser"


@pytest.mark.usefixtures("fast")
def test_without_a_folder_it_lies_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_VITSER_CACHE", str(tmp_path))
    assert load("demo").folder == tmp_path / "demo-v2"


def test_its_table_is_a_manifest(made):
    by_table, by_name = load("manifest", made / "manifest.csv"), load("demo", made)
    assert by_table.clips == by_name.clips


@pytest.fixture(scope="module")
def cues(made) -> dict[Clip, dict[str, np.ndarray]]:
    """Of each clip its spectrum and loudness rhythm, without the absolute level, and its length."""
    return {clip: _cues(clip.path) for clip in load("demo", made).clips}


def _cues(path: Path) -> dict[str, np.ndarray]:
    samples, _ = soundfile.read(path)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::256] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2
    bands = np.stack([part.sum(axis=1) for part in np.array_split(power[:, 4:260], 24, axis=1)], axis=1)
    decibels = 10 * np.log10(np.maximum(bands / bands.max(), 1e-8))
    loudness = decibels.mean(axis=1)
    rhythm = np.abs(np.fft.rfft(loudness - loudness.mean(), 512))[4:76].reshape(-1, 6).mean(axis=1)
    return {
        "all": np.concatenate([decibels.mean(axis=0), decibels.std(axis=0), np.log(rhythm)]),
        "length": np.array([len(samples)]),
    }


@pytest.mark.parametrize(("cue", "lowest", "highest"), [("all", 0.8, 0.97), ("length", 0.0, 0.4)])
def test_a_speaker_never_heard_can_be_learnt_but_not_trivially(made, cues, cue, lowest, highest):
    linear_model = require("scikit-learn")
    corpus = load("demo", made)

    def arrays(part):
        clips = [example.clip for example in part]
        return np.stack([cues[clip][cue] for clip in clips]), np.array([corpus.label_index(clip) for clip in clips])

    correct = 0
    for fold in range(1, 61):
        split = protocols.leave_one_speaker_out(corpus, fold=fold, copies=1)
        inputs, classes = arrays(split.train + split.validation)
        test_inputs, test_classes = arrays(split.test)
        mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
        model = linear_model.LogisticRegression(C=0.1, max_iter=300).fit((inputs - mean) / scale, classes)
        correct += int((model.predict((test_inputs - mean) / scale) == test_classes).sum())
    assert lowest <= correct / 480 <= highest
