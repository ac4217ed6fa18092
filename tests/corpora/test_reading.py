import logging
import os

import pytest

from keras_vitser.corpora.reading import FileName, existing_folder, read_named_files, sound_files
from keras_vitser.errors import CorpusError


def parse(path):
    """Names such as `s1_anger_1.wav`."""
    parts = path.stem.split("_")
    return FileName(parts[1], parts[0], path.stem) if len(parts) == 3 else None


def read(folder):
    return read_named_files(
        "mine", folder, parse=parse, labels=("anger", "fear", "calm"), layout="s1_anger_1.wav", terms="mine"
    )


def test_sound_files_are_found_by_suffix_in_any_case_and_order_is_fixed(write):
    folder = write("b/x.FLAC", "a.wav", "b/y.ogg", "notes.txt", "b/z.mp3", "wav")
    assert [path.relative_to(folder).as_posix() for path in sound_files(folder)] == [
        "a.wav", "b/x.FLAC", "b/y.ogg", "b/z.mp3",
    ]  # fmt: skip


def test_hidden_files_and_folders_are_ignored(write):
    folder = write("a.wav", "._a.wav", ".git/b.wav", "__MACOSX/c.wav", "d/.e/f.wav")
    assert sound_files(folder) == [folder / "a.wav"]


def test_deepest_level_limits_the_search(write):
    folder = write("0.wav", "a/1.wav", "a/b/2.wav")
    assert [path.name for path in sound_files(folder, deepest_level=1)] == ["0.wav", "1.wav"]


def test_a_circle_of_links_ends(write):
    folder = write("a/1.wav")
    os.symlink(folder, folder / "a" / "back")
    assert [path.name for path in sound_files(folder)] == ["1.wav"]


def test_folder_that_cannot_be_listed_is_named(write, monkeypatch):
    folder = write("a/1.wav")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorpusError, match=r"cannot be listed.*Permission denied"):
        sound_files(folder)


def test_missing_folder_and_file_say_what_they_are(write):
    folder = write("a.wav")
    with pytest.raises(CorpusError, match=r"holds this.*nowhere, which does not exist"):
        existing_folder(folder / "nowhere", "this")
    with pytest.raises(CorpusError, match=r"a\.wav, which is a file"):
        existing_folder(folder / "a.wav", "this")


def test_home_folder_is_expanded(write, monkeypatch):
    folder = write("corpus/a.wav")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    assert existing_folder("~/corpus", "this") == folder / "corpus"


def test_files_of_other_names_are_skipped_with_one_warning(write, caplog):
    folder = write("s1_anger_1.wav", "s1_fear_1.wav", "s1_calm_1.wav", "hello.wav", "other.wav")
    with caplog.at_level(logging.WARNING):
        corpus = read(folder)
    assert len(corpus) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "mine: skipped 2 files whose names are not the corpus' own (s1_anger_1.wav), such as hello.wav"
    ]


def test_class_without_clips_is_left_out_aloud(write, caplog):
    folder = write("s1_calm_1.wav", "s1_anger_1.wav")
    with caplog.at_level(logging.WARNING):
        corpus = read(folder)
    assert corpus.labels == ("anger", "calm")
    assert "no clip of class fear" in caplog.text


@pytest.mark.parametrize(
    ("names", "seen"), [(["hello.wav"], "1 sound files, such as hello.wav"), (["a.txt"], "no sound")]
)
def test_no_fitting_name_shows_one_that_fits(write, names, seen):
    with pytest.raises(CorpusError, match=f"such as s1_anger_1.wav.*{seen}"):
        read(write(*names))


def test_second_copies_are_dropped(tmp_path, caplog):
    for name in ("s1_anger_1.wav", "again/s1_anger_1.wav", "s1_fear_1.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(path.name.encode())
    with caplog.at_level(logging.WARNING):
        corpus = read(tmp_path)
    assert [corpus.relative_path(clip) for clip in corpus.clips] == ["s1_anger_1.wav", "s1_fear_1.wav"]
    assert "left out 1 second copies" in caplog.text


def test_two_different_files_of_one_recording_are_refused(write):
    folder = write("s1_anger_1.wav", "short/s1_anger_1.wav", "s1_fear_1.wav")
    with pytest.raises(CorpusError, match=r"stands twice, with different content.*one copy of the corpus"):
        read(folder)
