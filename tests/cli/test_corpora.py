"""`keras-vitser corpora`."""

import json

import pytest

from keras_vitser.corpora import NAMES

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
    assert ["anger", "48", "6", "8", "to", "8"] in [line.split() for line in ended.out.splitlines()]


def test_a_corpus_on_disk_as_json(command, class_folders):
    ended = command("corpora", "folder", "--data", class_folders, "--json")
    answer = json.loads(ended.out)
    assert (answer["name"], answer["clips"]) == ("folder", 16)
    assert {label: sum(counts.values()) for label, counts in answer["counts"].items()} == {"calm": 8, "upset": 8}


def test_an_unknown_corpus(command):
    assert "savee" in command("corpora", "savoy").refusal


def test_a_corpus_that_is_not_there(command, tmp_path):
    assert "nowhere" in command("corpora", "savee", "--data", tmp_path / "nowhere").refusal


def test_a_place_without_a_name(command, tmp_path):
    assert "say which corpus" in command("corpora", "--data", tmp_path).refusal
