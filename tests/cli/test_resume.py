"""`keras-vitser train --resume`; that the run ends as if never stopped is in tests/experiments/test_resume.py."""

import json
import shutil

import pytest
import yaml

from keras_vitser import experiments
from keras_vitser.training.divergence import Divergence, add_divergence
from tests.experiments.killable_run import of_epochs

pytestmark = pytest.mark.backends("torch")


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    def progress(task, done, total):
        if (task, done) == ("student", 3):
            raise Stopped

    runs = tmp_path_factory.mktemp("runs")
    overrides = of_epochs(1) | {"stages.save_interval": 0, "stages.teacher.epochs": 0, "stages.matching.epochs": 0}
    with pytest.raises(Stopped):
        experiments.run(None, runs=runs, overrides=overrides, progress=progress)
    (folder,) = runs.iterdir()
    return folder


@pytest.fixture(scope="module")
def stopped(begun, tmp_path_factory):
    return shutil.copytree(begun, tmp_path_factory.mktemp("stopped") / "run")


@pytest.fixture(scope="module")
def diverged(begun, tmp_path_factory):
    """As if it had diverged; how that comes to be written down is in tests/experiments/test_divergence.py."""
    folder = shutil.copytree(begun, tmp_path_factory.mktemp("diverged") / "run")
    add_divergence(folder / "checkpoints", Divergence("student", 1e-4, "stage student diverged", 1, 1e-4, 0, 2))
    return folder


def test_a_stopped_run_goes_on_and_a_finished_one_is_read(command, stopped):
    ended = command("train", "--resume", stopped)
    assert ended.code == 0, ended.err
    assert "student resumed at epoch 0, step 2" in ended.err
    assert "chance 50.0 %" in ended.out
    assert str(stopped / "report.html") in ended.out
    again = command("train", "--resume", stopped, "--json")
    assert again.code == 0, again.err
    assert "came to its end" in again.err
    assert json.loads(again.out)["metrics"] == json.loads((stopped / "metrics.json").read_text())


@pytest.mark.parametrize("options", [["demo"], ["--seed", "3"], ["--set", "seed=3"], ["--epochs", "1,1,1"]])
def test_a_run_goes_on_as_it_began(command, stopped, options):
    assert "--resume goes on with a run as it began" in command("train", *options, "--resume", stopped).refusal


class TestDiverged:
    def test_it_repeats_its_line_and_exits_1(self, command, diverged):
        ended = command("train", "--resume", diverged)
        assert ended.code == 1
        assert ended.err.strip().splitlines() == [
            "error: stage student diverged; go on from its last finite state with a lower one: keras-vitser train "
            f"--resume {diverged} --set stages.student.learning_rate=1e-05"
        ]

    @pytest.mark.parametrize(
        "options",
        [
            ["--set", "stages.teacher.learning_rate=1e-5"],
            ["--seed", "3"],
            ["--epochs", "1,1,1"],
            ["--leave-out-unreadable"],
        ],
    )
    def test_no_other_value_is_taken(self, command, diverged, options):
        line = command("train", "--resume", diverged, *options).refusal
        assert "but for the learning rate of the stage that diverged: --set stages.student.learning_rate=VALUE" in line

    def test_with_a_lower_rate_it_goes_on(self, command, diverged):
        ended = command("train", "--resume", diverged, "--set", "stages.student.learning_rate=1e-5")
        assert ended.code == 0, ended.err
        assert "student resumed at epoch 0, step 2" in ended.err
        config = yaml.safe_load((diverged / "config.yaml").read_text())
        assert config["stages"]["student"]["learning_rate"] == 1e-5


def test_a_folder_that_is_no_run_is_refused(command, tmp_path):
    assert "is no run folder" in command("train", "--resume", tmp_path).refusal
