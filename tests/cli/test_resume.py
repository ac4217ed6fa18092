"""`keras-vitser train --resume`; that the run ends as if never stopped is in tests/experiments/test_resume.py."""

import json

import pytest

from keras_vitser import experiments
from tests.experiments.killable_run import of_epochs

pytestmark = pytest.mark.backends("tensorflow")


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    def progress(task, done, total):
        if (task, done) == ("student", 3):
            raise Stopped

    runs = tmp_path_factory.mktemp("runs")
    overrides = of_epochs(1) | {"stages.save_interval": 0, "stages.teacher.epochs": 0, "stages.matching.epochs": 0}
    with pytest.raises(Stopped):
        experiments.run(None, runs=runs, overrides=overrides, progress=progress)
    (folder,) = runs.iterdir()
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


def test_a_folder_that_is_no_run_is_refused(command, tmp_path):
    assert "is no run folder" in command("train", "--resume", tmp_path).refusal
