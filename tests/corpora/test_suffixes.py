"""Files that are left out for their suffix are counted in one line, which says what to do."""

import logging

import pytest

from keras_vitser.corpora import crema_d, folder, load_any, sound_files, suffixes
from keras_vitser.errors import CorpusError

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(params=[False, True], ids=["without PyAV", "with PyAV"])
def with_av(request, monkeypatch):
    monkeypatch.setattr(suffixes, "reads_av", lambda: request.param)
    return request.param


@pytest.fixture
def without_av(monkeypatch):
    monkeypatch.setattr(suffixes, "reads_av", lambda: False)


@pytest.fixture
def mixed(write):
    """Six WAV files and fifteen of phones and browsers."""
    names = [f"{label}/{number}.wav" for label in ("anger", "calm") for number in range(3)]
    names += [f"{label}/{number}.M4A" for label in ("anger", "calm") for number in range(10, 16)]
    return write(*names, "anger/20.webm", "calm/21.webm", "calm/22.webm")


def test_a_folder_of_wav_and_m4a(mixed, with_av, caplog):
    with caplog.at_level(logging.WARNING):
        corpus = load_any(mixed)
    assert len(corpus) == (21 if with_av else 6)
    assert len(sound_files(mixed)) == len(corpus)
    lines = [record.getMessage() for record in caplog.records]
    if with_av:
        assert not lines
        return
    (line,) = lines
    assert "left out 15 of 21 files by their suffix: .m4a 12, .webm 3. " in line
    assert ".m4a, .webm are read as they are with pip install 'keras-vitser[av]'" in line
    assert "ffmpeg -i FILE.m4a FILE.wav" in line


def test_files_that_are_no_sound_are_counted_too(write, with_av, caplog):
    folder.read(write("anger/1.wav", "calm/2.wav", "calm/notes.txt", "calm/deep/cover.JPG", "calm/README", "a.txt"))
    (line,) = [record.getMessage() for record in caplog.records]
    assert "left out 3 of 5 files by their suffix: " in line
    assert {".txt 1", ".jpg 1", "none 1"} == set(line.partition("suffix: ")[2].partition(" (")[0].split(", "))
    assert "sound files end in" in line
    assert (".m4a" in line) == with_av


def test_the_refusal_of_a_folder_says_what_it_holds(write, without_av):
    with pytest.raises(CorpusError, match=r"no sub-folder holds sound files \(left out 2 of 2 files.*m4a 2.*\[av\]"):
        folder.read(write("anger/1.m4a", "calm/2.m4a"))


def test_a_published_corpus_in_another_format(write, without_av, caplog):
    place = write("1001_DFA_ANG_XX.wav", "1002_DFA_SAD_XX.wav", "1003_DFA_SAD_XX.m4a", "VideoFlash/x.flv", "other.m4a")
    assert len(crema_d.read(place).clips) == 2
    assert "crema_d: left out 1 of 3 files by their suffix: .m4a 1. " in caplog.text
