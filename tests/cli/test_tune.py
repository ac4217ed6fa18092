"""`keras-vitser tune`: what it prints, and what is refused. Trials here train nothing."""

import json

import pytest
import yaml

from tests.requirements import require

require("tune")

import keras

from keras_vitser.experiments.tuning import ViTSERHyperModel
from tests.experiments import quick_search
from tests.experiments.quick_search import OVERRIDES

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ViTSERHyperModel, "build", quick_search.build)
    monkeypatch.setattr(ViTSERHyperModel, "fit", quick_search.fit)
    monkeypatch.setattr(keras.utils, "clear_session", lambda: None)


@pytest.fixture
def config(tmp_path):
    """A config file of a tiny search."""
    values = {}
    for key, value in OVERRIDES.items():
        *sections, last = key.split(".")
        inner = values
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = list(value) if isinstance(value, tuple) else value
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_search_ends_with_the_best_and_the_next_command(command, config, tmp_path):
    ended = command("tune", config, "--trials", "7", "--epochs", "2", "--algorithm", "bayesian", "--runs", tmp_path)
    assert ended.code == 0, ended.err
    (folder,) = tmp_path.glob("*_tune_*")
    written = yaml.safe_load((folder / "config.yaml").read_text())["tuning"]
    assert (written["algorithm"], written["trials"], written["epochs"]) == ("bayesian", 7, 2)
    assert "validation UA, chance 50.0 %, 16 clips" in ended.out
    rows = [line for line in ended.out.splitlines() if line.startswith("│")]
    assert len(rows) == 5
    accuracies = [float(row.split("│")[-4]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert f"trials: {folder / 'trials.csv'}" in ended.out
    assert f"next: keras-vitser train {folder / 'best.yaml'}" in ended.out.splitlines()[-1]
    assert ended.err.count("validation UA") == 7


def test_json_and_a_search_that_came_to_its_end(command, config, tmp_path):
    set_ = ["--set", "tuning.space.student.depth=[1, 2]", "--seed", "3"]
    ended = command("tune", config, *set_, "--runs", tmp_path, "--json")
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert len(answer["trials"]) == 4
    assert {trial["values"]["student.depth"] for trial in answer["trials"]} <= {1, 2}
    assert answer["chance"] == 0.5
    again = command("tune", "--resume", answer["search"], "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out) == answer
    assert "nothing is left to do" in again.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to search with"),
        (["demo", "--resume", "x"], "leave out config"),
        (["--resume", "x", "--trials", "3"], "leave out config"),
        (["--resume", "x"], "x: is no run folder"),
        (["demo", "--algorithm", "grid"], "tuning.algorithm: Input should be 'hyperband', 'bayesian' or 'random'"),
        (["demo", "--trials", "0"], "tuning.trials: Input should be greater than or equal to 1"),
        (["demo", "--set", "tuning.space={student.dpth: [1]}"], "unknown key 'student.dpth'; did you mean"),
        (
            ["demo", "--set", "tuning.space.student.patch_width=[3]"],
            "tuning.space.student.patch_width: 3 is not possible",
        ),
        (["demo", "--protocol", "paper"], "chooses by the test part"),
    ],
)
def test_refusals(command, tmp_path, arguments, message):
    if not arguments:
        arguments = ["--seed", "1"]
    assert message in command("tune", *arguments, "--runs", tmp_path).refusal
    assert not list(tmp_path.iterdir())
