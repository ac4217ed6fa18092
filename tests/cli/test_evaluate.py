"""`keras-vitser evaluate`."""

import json

import pytest

from keras_vitser import corpora

pytestmark = pytest.mark.backends("tensorflow")


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


def test_labels_that_the_model_does_not_know(command, model):
    corpora.load("demo")  # the first time it is made, and says so
    assert "the model knows calm, upset" in command("evaluate", model, "--corpus", "demo").refusal


def test_nothing_to_measure_on(command, model, tmp_path):
    assert "say what to measure on" in command("evaluate", model).refusal
    assert "nowhere" in command("evaluate", model, "--data", tmp_path / "nowhere").refusal


def test_a_model_that_is_none(command, class_folders, tmp_path):
    assert "is not a model folder" in command("evaluate", tmp_path, "--data", class_folders).refusal
