"""What is made of the trials on disk: the table, and MLflow's runs."""

import csv
import json

import pytest

from tests.requirements import require

require("track")

from keras_vitser.experiments import load_config
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.experiments.tuning.trials import OBJECTIVE, Follower, ranked, read_trials
from tests.experiments.tuning.quick_search import OVERRIDES

pytestmark = pytest.mark.backends("torch")


def write_trial(folder, name, status, rows=(), message="", **values):
    path = folder.path / "tuning" / f"trial_{name}"
    path.mkdir(parents=True, exist_ok=True)
    state = {"trial_id": name, "status": status, "hyperparameters": {"values": values | {"tuner/round": 0}}}
    (path / "trial.json").write_text(json.dumps(state))
    lines = [
        json.dumps({"epoch": epoch, OBJECTIVE: accuracy, "validation_loss": loss, "seconds": 1.5})
        for epoch, accuracy, loss in rows
    ]
    (path / "epochs.jsonl").write_text("".join(f"{line}\n" for line in lines) + '{"epoch"')  # a kill left half a line
    if message:
        (path / "error.txt").write_text(message)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "search").mkdir()
    return RunFolder(tmp_path / "search")


def same(key, value):
    return value


def test_trials_are_ranked_by_accuracy_and_then_by_loss(folder):
    write_trial(folder, "0", "COMPLETED", [(1, 0.5, 1.0), (2, 0.7, 0.9)], depth=1)
    write_trial(folder, "1", "COMPLETED", [(1, 0.7, 0.8)], depth=2)
    write_trial(folder, "2", "RUNNING", [(1, 0.9, 0.1)], depth=3)
    write_trial(folder, "3", "FAILED", message="too large", depth=4)
    trials = read_trials(folder, same)
    assert [trial.name for trial in ranked(trials)] == ["1", "0"]
    assert [trial.epochs for trial in trials] == [2, 1, 1, 0]
    assert trials[0].best["epoch"] == 2
    assert trials[0].values == {"depth": 1}
    assert trials[0].seconds == 3.0
    assert trials[3].message == "too large"


def test_each_trial_is_a_run_in_the_runs_of_the_search(folder, caplog):
    from mlflow import MlflowClient

    config = load_config(None, OVERRIDES | {"tracking.enabled": True})
    steps = []
    caplog.set_level("INFO", "keras_vitser")
    follower = Follower(folder, config, same, lambda *step: steps.append(step))
    write_trial(folder, "0", "RUNNING", [(1, 0.5, 1.0)], depth=1)
    follower.look()
    write_trial(folder, "0", "COMPLETED", [(1, 0.5, 1.0), (2, 0.75, 0.5)], depth=1)
    write_trial(folder, "1", "RUNNING", [(1, 0.5, 1.0)], depth=2)
    follower.look()
    follower = Follower(folder, config, same, lambda *step: steps.append(step))  # after a kill
    write_trial(folder, "1", "FAILED", [(1, 0.5, 1.0)], depth=2, message="no room")
    follower.look()
    follower.end()

    client = MlflowClient(f"sqlite:///{folder.path.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("keras_vitser")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent = runs.pop("search")
    assert sorted(runs) == ["trial 0", "trial 1"]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert [runs[name].info.status for name in sorted(runs)] == ["FINISHED", "FAILED"]
    assert parent.info.status == "FINISHED"
    assert runs["trial 0"].data.params == {"depth": "1"}
    assert runs["trial 1"].data.tags["message"] == "no room"
    history = client.get_metric_history(runs["trial 0"].info.run_id, OBJECTIVE)
    assert [(metric.step, metric.value) for metric in history] == [(1, 0.5), (2, 0.75)]
    assert parent.data.params["tuning.algorithm"] == "random"
    assert steps[-1] == ("trials", 2, config.tuning.trials)
    assert caplog.messages.count("trial 0: validation UA 75.0 %, epochs 2, 3 s; depth 1") == 1
    assert "trial 1 failed (no room); depth 2" in caplog.messages
    with (folder.path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["trial"], row["depth"], row[OBJECTIVE], row["status"]) for row in rows] == [
        ("0", "1", "0.750000", "completed"),
        ("1", "2", "", "failed"),
    ]
