"""`keras-vitser corpora`."""

import json
import shutil

import pytest

from keras_vitser.corpora import NAMES
from tests.audio.sound_cases import CASES

pytestmark = pytest.mark.backends("tensorflow")


def test_the_list_names_every_corpus_with_its_terms(command):
    ended = command("corpora")
    assert ended.code == 0
    assert [line.partition(":")[0] for line in ended.out.splitlines()] == list(NAMES)
    assert all("Terms: " in line for line in ended.out.splitlines())


def test_the_list_as_json(command):
    ended = command("corpora", "--json")
    assert ended.code == 0
    assert list(json.loads(ended.out)) == list(NAMES)


def test_a_corpus_on_disk_as_a_table(command, class_folders):
    ended = command("corpora", "folder", "--data", class_folders)
    assert ended.code == 0
    assert "folder: 16 clips" in ended.out
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["calm", "8", "0", "not", "named"] in rows
    assert ["upset", "8", "0", "not", "named"] in rows


def test_a_corpus_with_speakers(command):
    ended = command("corpora", "demo")
    assert ended.code == 0
    assert ["anger", "120", "60", "2", "to", "2"] in [line.split() for line in ended.out.splitlines()]


def test_a_corpus_on_disk_as_json(command, class_folders):
    ended = command("corpora", "folder", "--data", class_folders, "--json")
    answer = json.loads(ended.out)
    assert (answer["name"], answer["clips"]) == ("folder", 16)
    assert {label: sum(counts.values()) for label, counts in answer["counts"].items()} == {"calm": 8, "upset": 8}


def test_an_unknown_corpus(command):
    assert "savee" in command("corpora", "savoy").refusal


def test_a_corpus_that_is_not_there(command, tmp_path):
    assert "nowhere" in command("corpora", "savee", "--data", tmp_path / "nowhere").refusal


def test_labels_that_differ_only_in_case(command, class_folders, tmp_path):
    for label in ("Angry", "angry"):
        shutil.copytree(class_folders / "upset", tmp_path / label)
    line = command("corpora", "folder", "--data", tmp_path).refusal
    assert "'Angry' (8 clips) beside 'angry' (8 clips)" in line
    ended = command("corpora", "folder", "--data", tmp_path, "--labels-as-written", "--json")
    assert list(json.loads(ended.out)["counts"]) == ["Angry", "angry"]


def test_files_that_are_left_out_are_said_in_one_line(command, class_folders, tmp_path):
    place = shutil.copytree(class_folders, tmp_path / "clips")
    (place / "calm" / "notes.txt").write_text("none")
    ended = command("corpora", "folder", "--data", place)
    assert ended.code == 0
    assert ended.err.count("\n") == 1
    assert "folder: left out 1 of 17 files by their suffix: .txt 1" in ended.err


def test_sound_behind_what_a_header_declares_is_said(command, class_folders, tmp_path):
    place = shutil.copytree(class_folders, tmp_path / "clips")
    for name, case in CASES.items():
        (place / "calm" / f"{name}.wav").write_bytes(case.data)
    ended = command("corpora", "folder", "--data", place)
    assert ended.code == 0
    (line,) = ended.err.splitlines()
    assert "too small.wav: its header declares 0.50 s of sound, and 0.50 s more lie behind; only what is" in line


def test_a_place_without_a_name(command, tmp_path):
    assert "say which corpus" in command("corpora", "--data", tmp_path).refusal
