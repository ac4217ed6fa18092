"""A file is found by a name that prints like its own."""

import os
import unicodedata

import numpy as np
import pytest
import soundfile

from keras_vitser.audio import read_waveform
from keras_vitser.audio.file_names import existing_path
from keras_vitser.errors import AudioNotFoundError

pytestmark = pytest.mark.backends("tensorflow")

NAME = "Überraschung/größer é.wav"
FORMS = {form: unicodedata.normalize(form, NAME) for form in ("NFC", "NFD")}
MIXED = unicodedata.normalize("NFD", "é") + unicodedata.normalize("NFC", "ü")


def write(folder, name):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize(("on_disk", "given"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_each_form_finds_the_other(tmp_path, on_disk, given):
    path = write(tmp_path, FORMS[on_disk])
    found = existing_path(tmp_path / FORMS[given])
    assert str(found) == str(path)
    assert found.read_bytes() == b"x"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_folders_and_files_of_several_forms_are_found(tmp_path, form):
    """A folder in one form, a file in the other, and a file whose name is in neither."""
    parts = [unicodedata.normalize("NFD", "Ärger"), unicodedata.normalize("NFC", "ö.wav")]
    paths = [write(tmp_path, "/".join(parts)), write(tmp_path, f"{parts[0]}/{MIXED}.wav")]
    for path in paths:
        assert existing_path(unicodedata.normalize(form, str(path))) == path


def test_where_both_are_there_each_is_itself(tmp_path):
    paths = [write(tmp_path, FORMS[form]) for form in ("NFC", "NFD")]
    assert [str(existing_path(path)) for path in paths] == [str(path) for path in paths]


def test_a_relative_path_stays_one(tmp_path, monkeypatch):
    write(tmp_path, FORMS["NFD"])
    monkeypatch.chdir(tmp_path)
    assert str(existing_path(FORMS["NFC"])) == FORMS["NFD"]


@pytest.mark.parametrize("name", ["ü.wav", "ü/ü.wav", "plain.wav", "ü\0.wav", "ü\udcff.wav"])
def test_what_is_not_there_stays_as_it_is(tmp_path, name):
    assert str(existing_path(tmp_path / name)) == str(tmp_path / name)


def test_a_new_file_of_a_folder_is_found_too(tmp_path):
    name = unicodedata.normalize("NFC", MIXED)
    assert existing_path(tmp_path / name) == tmp_path / name
    write(tmp_path, MIXED)
    os.utime(tmp_path, ns=(1, 1))  # as a clock that ticks between the two would say
    assert str(existing_path(tmp_path / name)) == str(tmp_path / MIXED)


def test_a_recording_is_read_by_either_name(tmp_path):
    path = tmp_path / unicodedata.normalize("NFD", "für.wav")
    soundfile.write(path, np.zeros(1600), 16000)
    assert len(read_waveform(tmp_path / unicodedata.normalize("NFC", "für.wav"))) == 1600
    with pytest.raises(AudioNotFoundError, match=r"fär\.wav: no such file"):
        read_waveform(tmp_path / "fär.wav")
