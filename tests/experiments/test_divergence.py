"""A run that diverges says so in a line, is not trained again, and goes on with another learning rate of that stage."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_vitser import experiments
from keras_vitser.errors import ConfigError, DivergedError
from keras_vitser.experiments import divergence, load_config
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.recognizer import Recognizer
from keras_vitser.training.divergence import Divergence, add_divergence
from tests.experiments.killable_run import of_epochs
from tests.requirements import require

pytestmark = pytest.mark.backends("torch")
KEY = "stages.matching.learning_rate"
OVERRIDES = of_epochs(1) | {"stages.teacher.epochs": 0, "stages.save_interval": 0, "tracking.enabled": True, KEY: 1e30}


class Stopped(Exception):
    pass


def stops(task, done, total):
    if (task, done) == ("matching", 3):
        raise Stopped


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    require("track")
    runs = tmp_path_factory.mktemp("runs")
    with pytest.raises(DivergedError) as caught:
        experiments.run(None, runs=runs, overrides=OVERRIDES)
    (folder,) = (path for path in runs.iterdir() if path.is_dir())
    return folder, caught.value


@pytest.fixture
def copied(diverged, tmp_path):
    shutil.copy(diverged[0].parent / "mlflow.db", tmp_path)
    return Path(shutil.copytree(diverged[0], tmp_path / "run"))


def content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_one_line_names_stage_epoch_rate_and_what_to_change(diverged):
    folder, error = diverged
    assert (error.stage, error.epoch, error.learning_rate) == ("matching", 1, 1e30)
    assert str(error) == (
        "stage matching diverged: the loss of epoch 1 is nan, at learning rate 1e+30; go on from its last finite state "
        f"with a lower one: keras-vitser train --resume {folder} --set {KEY}=0.0001"
    )
    assert "NaN" not in (folder / "progress.jsonl").read_text()


def test_it_is_not_trained_again(diverged):
    folder, error = diverged
    before, seen = content(folder), []
    with pytest.raises(DivergedError) as caught:
        experiments.resume(folder, progress=lambda *step: seen.append(step))
    assert str(caught.value) == str(error)
    assert seen == []
    assert content(folder) == before


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"seed": 1}, f"but for the learning rate of the stage that diverged: --set {KEY}=VALUE. Received: seed"),
        ({"stages.student.learning_rate": 1e-5}, "Received: stages.student.learning_rate"),
        ({"stages.matching.epochs": 2}, "Received: stages.matching.epochs"),
        ({KEY: 1e-5, "seed": 0}, f"Received: {KEY}, seed"),
        ({KEY: 1e30}, "the stage diverged with 1e\\+30; give a lower value"),
        ({KEY: -1}, "greater than 0"),
        ({KEY: "low"}, "valid number"),
    ],
)
def test_nothing_else_may_be_changed(diverged, overrides, words):
    before = content(diverged[0])
    with pytest.raises(ConfigError, match=words):
        experiments.resume(diverged[0], overrides=overrides)
    assert content(diverged[0]) == before


def test_it_goes_on_from_its_last_finite_state_and_says_so(copied, caplog):
    from mlflow import MlflowClient

    caplog.set_level("INFO", "keras_vitser")
    with pytest.raises(Stopped):
        experiments.resume(copied, overrides={KEY: 1e-3}, progress=stops)
    assert "matching resumed at epoch 0, step 0" in caplog.text  # a step of 1e30 leaves weights that answer NaN
    finished = experiments.resume(copied)  # with what the config says now
    assert load_config(copied / "config.yaml").stages.matching.learning_rate == 1e-3
    network = Recognizer.load(finished.model_folder).network
    assert all(np.isfinite(weight).all() for weight in network.get_weights())

    told = (
        "Stage matching diverged: the loss of epoch 1 is nan, at learning rate 1e+30. "
        "It went on from epoch 0, step 0, and ended with the learning rate 0.001."
    )
    assert f"## Training\n\n- {told}\n\n## Data" in (copied / "model" / "MODEL_CARD.md").read_text()
    assert "diverged" not in (copied / "teacher" / "MODEL_CARD.md").read_text()
    assert told in (copied / "report.html").read_text()
    rows = [json.loads(line) for line in (copied / "progress.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["epoch"]) for row in rows] == [("matching", 1), ("student", 1)]

    client = MlflowClient(f"sqlite:///{copied.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("keras_vitser")
    runs = [run for run in client.search_runs([experiment.experiment_id]) if KEY in run.data.params]
    assert {(run.info.status, run.data.params[KEY]) for run in runs} == {("FAILED", "1e+30"), ("FINISHED", "0.001")}

    with pytest.raises(ConfigError, match=r"as it began, and .* came to its end"):
        experiments.resume(copied, overrides={KEY: 1e-4})


def test_the_student_alone_has_no_learning_rate_of_its_own(tmp_path):
    """It has that of stage student, which has ended; another would make the config untrue of that stage."""
    folder, config = RunFolder.create(tmp_path, "run"), load_config("demo")
    rate = config.stages.student.learning_rate
    folder.checkpoints.mkdir(exist_ok=True)
    add_divergence(folder.checkpoints, Divergence("student_alone", rate, "stage student_alone diverged", 1, rate, 0, 3))
    advice = "begin a new run, with a lower stages.student.learning_rate or with stages.compare_alone=false"
    stop = divergence.standing(folder, config)
    assert str(divergence.diverged_error(folder, config, stop.error)).endswith(advice)
    with pytest.raises(ConfigError, match=advice):
        divergence.with_other_rate(folder, config, {"stages.student.learning_rate": rate / 10})
    assert divergence.told(folder, config, "student") == []
