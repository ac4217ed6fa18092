"""`keras-vitser tune`: what it prints, and what is refused. Trials here train nothing."""

import json
import shutil

import pytest
import yaml

from tests.requirements import require

require("tune")

import keras

from keras_vitser.experiments import load_config
from keras_vitser.experiments.preparation import split_of
from keras_vitser.experiments.tuning import ViTSERHyperModel
from tests.experiments.tuning import quick_search
from tests.experiments.tuning.quick_search import OVERRIDES

pytestmark = pytest.mark.backends("torch")


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
    assert "validation UA, chance 50.0 %, 44 clips" in ended.out
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


def test_recordings_that_cannot_be_read(command, config, class_folders, tmp_path):
    """One of them in the test part, which a search does not hear, and a run of its best config will."""
    place = shutil.copytree(class_folders, tmp_path / "clips")
    own = ["--data", place, "--protocol", "random", "--set", "corpus={name: folder}", "--runs", tmp_path / "runs"]
    split = split_of(load_config(config, {"corpus": {"name": "folder"}, "protocol": {"name": "random"}}), place)
    bad = [split.train[0].clip.path, split.test[0].clip.path]
    for path in bad:
        path.write_bytes(b"")
    line = command("tune", config, *own).refusal
    assert "2 of 16 recordings" in line
    assert all(f"{path.parent.name}/{path.name}" in line for path in bad)
    assert not (tmp_path / "runs").exists()
    ended = command("tune", config, *own, "--leave-out-unreadable")
    assert ended.code == 0, ended.err
    note = "note: 2 of 16 recordings cannot be read and are left out (1 of train, 1 of test): "
    assert any(line.startswith(note) for line in ended.out.splitlines())
    (folder,) = (tmp_path / "runs").iterdir()
    assert yaml.safe_load((folder / "best.yaml").read_text())["corpus"]["leave_out_unreadable"] is True
    again = command("tune", "--resume", folder, "--json")
    assert json.loads(again.out)["left_out"].startswith("2 of 16 recordings")


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
