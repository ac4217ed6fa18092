"""Folds and seeds of one config: each a run, together a table; what is done is never done again."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import recall_score

from keras_vitser import experiments
from keras_vitser.errors import ConfigError, DivergedError, FoldsError, RunFolderError
from keras_vitser.experiments import folds as folds_module
from keras_vitser.experiments import resume_folds, run_folds
from tests.experiments.made_up import TINY, chirp
from tests.requirements import require

pytestmark = pytest.mark.backends("torch")

ROOT = Path(__file__).parents[2]
OVERRIDES = TINY | {"corpus.name": "manifest", "protocol.folds": 3}
CLIPS = 24
NAMES = ["fold1_s0", "fold2_s0", "fold3_s0", "fold1_s4", "fold2_s4", "fold3_s4"]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three speakers with four clips of each of two classes."""
    folder = tmp_path_factory.mktemp("recordings")
    lines = ["path,label,speaker"]
    for number in range(CLIPS):
        soundfile.write(folder / f"{number}.wav", chirp(number), 16000)
        lines.append(f"{number}.wav,{('calm', 'upset')[number % 2]},{'abc'[number // 8]}")
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    return run_folds(None, data, seeds=[0, 4], runs=tmp_path_factory.mktemp("runs"), overrides=OVERRIDES)


def test_each_fold_and_seed_is_a_run_of_its_own(done, data, tmp_path):
    assert sorted(
        path.name for path in done.folder.iterdir() if path.is_dir() and path.name != "checkpoints"
    ) == sorted(NAMES)
    alone = experiments.run(None, data, runs=tmp_path, overrides=OVERRIDES | {"protocol.fold": 2, "seed": 4})
    assert json.loads((done.folder / "fold2_s4" / "metrics.json").read_text()) == alone.metrics


def test_mean_and_deviation_are_those_of_the_runs(done):
    each = [json.loads((done.folder / name / "metrics.json").read_text()) for name in NAMES]
    for role in ("teacher", "student"):
        values = [metrics[role]["unweighted_accuracy"] for metrics in each]
        found = done.metrics[role]["unweighted_accuracy"]
        assert found["runs"] == values
        assert found["mean"] == pytest.approx(np.mean(values))
        assert found["deviation"] == pytest.approx(np.std(values, ddof=1))
        assert f"UA {100 * np.mean(values):.1f} % (standard deviation" in done.sentences[role]
        assert "over 6 runs" in done.sentences[role]
        assert "(chance 50.0 %), 24 clips, speaker_independent" in done.sentences[role]


def test_the_pooled_answers_are_those_of_all_runs(done):
    rows = rows_of(done.predictions)
    assert len(rows) == 2 * CLIPS
    for seed in ("0", "4"):
        chosen = [row for row in rows if row["seed"] == seed]
        assert len({row["path"] for row in chosen}) == CLIPS
        pooled = done.metrics["student"]["pooled"][seed]
        recall = recall_score([r["label"] for r in chosen], [r["student"] for r in chosen], average="macro")
        assert pooled["unweighted_accuracy"] == pytest.approx(recall)
    own = [row for row in rows if (row["fold"], row["seed"]) == ("3", "4")]
    assert [{k: v for k, v in row.items() if k not in ("fold", "seed")} for row in own] == rows_of(
        done.folder / "fold3_s4" / "predictions.csv"
    )


def test_nothing_is_trained_again(done, monkeypatch):
    monkeypatch.setattr(folds_module, "run_member", lambda *args: pytest.fail("trained again"))
    again = resume_folds(done.folder)
    assert (again.metrics, again.sentences) == (done.metrics, done.sentences)


def test_seeds_alone_keep_the_configs_own_test_part(data, tmp_path):
    overrides = OVERRIDES | {"protocol": {"test_speakers": ["b"]}}
    done = run_folds(None, data, folds=None, seeds=[1, 2], runs=tmp_path, overrides=overrides)
    assert {row["speaker"] for row in rows_of(done.predictions)} == {"b"}
    assert list(done.metrics["runs"]) == ["s1", "s2"]


def test_a_run_that_fails_does_not_end_the_others(data, tmp_path, monkeypatch):
    run_member = folds_module.run_member

    def fails(folder, name, *args):
        if name == "fold2_s0":
            raise DivergedError("stage teacher diverged")
        run_member(folder, name, *args)

    monkeypatch.setattr(folds_module, "run_member", fails)
    with pytest.raises(FoldsError, match=r"1 of 3 runs did not end \(fold2_s0: stage teacher diverged\).*--resume"):
        run_folds(None, data, runs=tmp_path, overrides=OVERRIDES)
    (folder,) = tmp_path.iterdir()
    assert not (folder / "metrics.json").exists()
    trained = []
    monkeypatch.setattr(folds_module, "run_member", lambda f, n, *args: (trained.append(n), run_member(f, n, *args)))
    assert resume_folds(folder).metrics["student"]["clips"] == CLIPS
    assert trained == ["fold2_s0"]


@pytest.mark.parametrize(
    ("overrides", "folds", "words"),
    [
        ({"protocol": {"name": "random"}}, "all", "protocol 'random' has no folds; take speaker_independent"),
        ({}, [4], r"from 1 to 3. Received: \[4\]"),
        ({}, [], r"Received: \[\]"),
        ({}, "some", "Received: 'some'"),
    ],
)
def test_folds_that_there_are_not_are_refused(data, tmp_path, overrides, folds, words):
    with pytest.raises(ConfigError, match=words):
        run_folds(None, data, folds=folds, runs=tmp_path, overrides=OVERRIDES | overrides)
    assert not list(tmp_path.iterdir())


def test_a_seed_that_is_none_is_refused_before_any_run(data, tmp_path):
    with pytest.raises(ConfigError, match=r"seed: Input should be less than 4294967296\. Received: 99999999999"):
        run_folds(None, data, folds=[1], seeds=[1, 99999999999], runs=tmp_path, overrides=OVERRIDES)
    assert not list(tmp_path.iterdir())


def test_another_folder_is_refused(done, tmp_path):
    with pytest.raises(RunFolderError, match="is no folder of folds and seeds"):
        resume_folds(tmp_path)
    with pytest.raises(RunFolderError, match="is no run folder"):
        experiments.resume(done.folder)


def test_it_is_tracked_as_a_search_is(data, tmp_path):
    require("track")
    from mlflow import MlflowClient

    overrides = OVERRIDES | {"tracking.enabled": True}
    done = run_folds(None, data, folds=[1, 2], runs=tmp_path, overrides=overrides)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("keras_vitser").experiment_id])
    (outer,) = [run for run in runs if run.info.run_name == done.folder.name]
    inner = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == outer.info.run_id]
    assert sorted(run.info.run_name for run in inner) == ["fold1_s0", "fold2_s0"]
    assert {run.info.status for run in [outer, *inner]} == {"FINISHED"}
    mean = done.metrics["student"]["unweighted_accuracy"]["mean"]
    assert outer.data.metrics["test/student/unweighted_accuracy_mean"] == pytest.approx(mean)
    assert {file.path for file in client.list_artifacts(outer.info.run_id)} == {"metrics.json", "predictions.csv"}


@pytest.mark.more
def test_two_processes_beside_each_other_give_the_same_and_survive_a_kill(done, data, tmp_path):
    arguments = ["--data", str(data), "--folds", "all", "--seeds", "0,4", "--jobs", "2", "--runs", str(tmp_path)]
    for key, value in OVERRIDES.items():
        arguments += ["--set", f"{key}={json.dumps(value)}"]
    command = [sys.executable, "-m", "keras_vitser.cli.main", "train"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*/*/report.html")):
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder,) = tmp_path.iterdir()
    ended = subprocess.run(
        [*command, "--resume", folder, "--jobs", "2", "--json"], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout)["metrics"]
    for role in ("teacher", "student"):
        for name in ("unweighted_accuracy", "weighted_accuracy"):
            np.testing.assert_allclose(found[role][name]["runs"], done.metrics[role][name]["runs"], atol=1e-6)
