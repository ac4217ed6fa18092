"""Files and folders become a list of sound files, and nothing is left out without a word."""

import unicodedata

import pytest

from keras_vitser.corpora import suffixes
from keras_vitser.errors import PredictionError
from keras_vitser.prediction import files_of

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(autouse=True)
def without_av(monkeypatch):
    monkeypatch.setattr(suffixes, "reads_av", lambda: False)


def test_a_folder_is_searched_and_what_it_holds_beside_is_counted(tmp_path, caplog):
    for name in ("b.wav", "a.flac", "c.m4a", "d.m4a", "._x.wav", "notes.txt"):
        (tmp_path / name).touch()
    assert files_of([tmp_path / "c.m4a", tmp_path]) == [str(tmp_path / name) for name in ("c.m4a", "a.flac", "b.wav")]
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"{tmp_path}: left out 2 of 4 files by their suffix: .m4a 2. " in line


def test_a_folder_without_sound_is_refused(tmp_path):
    with pytest.raises(PredictionError, match="holds no sound file; give files"):
        files_of([tmp_path])
    (tmp_path / "a.amr").touch()
    with pytest.raises(PredictionError, match=r"holds no sound file \(left out 1 of 1 files .*\.amr 1"):
        files_of([tmp_path])


def test_a_folder_without_sound_stands_for_itself_beside_others(tmp_path, caplog):
    (tmp_path / "empty").mkdir()
    given = [tmp_path / "empty", tmp_path / "a.wav"]
    assert files_of(given) == list(map(str, given))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{given[0]}: holds no sound file")
    with pytest.raises(PredictionError, match="empty: holds no sound file"):
        files_of([given[0], given[0]])


def test_a_folder_is_found_under_a_name_of_another_form(tmp_path):
    folder = tmp_path / unicodedata.normalize("NFD", "Töne")
    folder.mkdir()
    (folder / "a.wav").touch()
    assert files_of([tmp_path / unicodedata.normalize("NFC", "Töne")]) == [str(folder / "a.wav")]
