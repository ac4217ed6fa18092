"""`keras-vitser evaluate`."""

import json
import shutil

import pytest

from keras_vitser import corpora

pytestmark = pytest.mark.backends("torch")


def test_scores_stand_beside_chance(command, model, class_folders):
    ended = command("evaluate", model, "--data", class_folders)
    assert ended.code == 0, ended.err
    assert "chance 50.0 %" in ended.out
    assert "16 clips" in ended.out
    assert "note: the model does not say what it was trained on" in ended.out
    rows = [line.split()[:2] for line in ended.out.splitlines()]
    assert ["calm", "8"] in rows
    assert ["upset", "8"] in rows


def test_json_is_the_scores(command, model, class_folders):
    ended = command("evaluate", model, "--data", class_folders, "--json")
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert (answer["clips"], answer["chance"]["uniform"]) == (16, 0.5)
    assert [row["label"] for row in answer["per_class"]] == ["calm", "upset"]
    assert len(answer["notes"]) == 2


def test_recordings_that_cannot_be_read(command, model, class_folders, tmp_path):
    place = shutil.copytree(class_folders, tmp_path / "clips")
    (place / "calm" / "empty.wav").touch()
    (place / "upset" / "text.wav").write_text("no sound")
    line = command("evaluate", model, "--data", place).refusal
    assert "2 of 18 recordings" in line
    assert "calm/empty.wav: is an empty file" in line
    assert "upset/text.wav: is not a sound file" in line
    assert "--leave-out-unreadable" in line
    ended = command("evaluate", model, "--data", place, "--leave-out-unreadable")
    assert ended.code == 0, ended.err
    assert "16 clips" in ended.out
    note = "note: 2 of 18 recordings cannot be read and are left out: calm/empty.wav, upset/text.wav."
    assert note in ended.out.splitlines()


def test_labels_that_the_model_does_not_know(command, model):
    corpora.load("demo")  # the first time it is made, and says so
    assert "the model knows calm, upset" in command("evaluate", model, "--corpus", "demo").refusal


def test_nothing_to_measure_on(command, model, tmp_path):
    assert "say what to measure on" in command("evaluate", model).refusal
    assert "nowhere" in command("evaluate", model, "--data", tmp_path / "nowhere").refusal


def test_a_model_that_is_none(command, class_folders, tmp_path):
    assert "is not a model folder" in command("evaluate", tmp_path, "--data", class_folders).refusal
