"""A run that was stopped ends as one that never was."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_vitser import experiments
from keras_vitser.errors import CheckpointError, RunFolderError
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.recognizer import Recognizer
from tests.experiments.killable_run import STEPS, job, of_epochs
from tests.experiments.made_up import STAGES

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])

ROOT = Path(__file__).parents[2]
LONGEST = 0.15  # seconds of training before a kill; a step takes at least 0.02


class Stopped(Exception):
    pass


def stopper(moment):
    def progress(task, done, total):
        if (task, done) == moment:
            raise Stopped

    return progress


def stop(runs, moment, folder=None):
    """Begins a run, or goes on with one, until a task has done so many steps; returns the run folder."""
    overrides = of_epochs(3) | {"stages.save_interval": 0}
    with pytest.raises(Stopped):  # noqa: PT012
        if folder is None:
            experiments.run(None, runs=runs, overrides=overrides, progress=stopper(moment))
        else:
            experiments.resume(folder, progress=stopper(moment))
    (folder,) = runs.iterdir()
    return folder


def read(folder):
    """All that must be the same: weights, scores, answers, losses."""
    rows = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    timing = {"seconds", "clips_per_second"}
    return {
        "weights": [Recognizer.load(folder / place).network.get_weights() for place in ("teacher", "model")],
        "metrics": (folder / "metrics.json").read_text(),
        "predictions": (folder / "predictions.csv").read_text(),
        "progress": [{key: value for key, value in row.items() if key not in timing} for row in rows],
    }


def assert_same(found, expected):
    for ours, theirs in zip(found.pop("weights"), expected["weights"], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for name, value in found.items():
        assert value == expected[name], name


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return read(job(tmp_path_factory.mktemp("unstopped")).folder)


@pytest.mark.more
def test_a_run_stopped_in_each_stage_ends_as_one_that_was_not(tmp_path, expected):
    folder = stop(tmp_path, ("teacher", 1))
    for moment in (
        ("teacher", 3),
        ("teacher", 2 * STEPS),
        ("matching", STEPS + 5),
        ("student", 1),
        ("student", 2 * STEPS + 3),
    ):
        stop(tmp_path, moment, folder)
    finished = experiments.resume(folder)
    assert finished.folder == folder
    assert_same(read(folder), expected)
    names = sorted(path.name for path in (folder / "checkpoints").glob("*.npz"))
    assert [name.partition("-")[0] for name in names] == ["matching", "student", "teacher"]


@pytest.mark.more
@pytest.mark.backends("tensorflow")
def test_a_stage_that_is_done_is_not_trained_again(tmp_path):
    folder = stop(tmp_path, ("student", 5))
    seen = set()
    experiments.resume(folder, progress=lambda task, done, total: seen.add(task))
    assert "student" in seen
    assert not {"teacher", "matching"} & seen


@pytest.mark.more
@pytest.mark.backends("tensorflow")
def test_a_run_stopped_while_it_writes_its_end_is_ended(tmp_path, expected, monkeypatch):
    def stops(*args, **kwargs):
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(experiments.experiment, "write_report", stops)
        with pytest.raises(Stopped):
            job(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert (folder / "model").is_dir()
    seen = set()
    finished = experiments.resume(folder, progress=lambda task, done, total: seen.add(task))
    assert not set(STAGES) & seen
    assert (folder / "report.html").is_file()
    assert_same(read(folder), expected)
    again = experiments.resume(folder)
    assert (again.metrics, again.sentences) == (json.loads(json.dumps(finished.metrics)), finished.sentences)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    return stop(tmp_path_factory.mktemp("stopped"), ("matching", 2))


@pytest.fixture
def copied(stopped, tmp_path):
    """A stopped run of one's own to spoil."""
    return Path(shutil.copytree(stopped, tmp_path / "run"))


@pytest.mark.more
@pytest.mark.backends("tensorflow")
def test_a_half_written_checkpoint_is_passed_over(copied, expected, caplog):
    newest = max((copied / "checkpoints").glob("matching-*.npz"))
    os.truncate(newest, newest.stat().st_size // 2)
    experiments.resume(copied)
    assert f"{newest} is damaged" in caplog.text
    assert_same(read(copied), expected)


@pytest.mark.backends("torch")
def test_checkpoints_that_are_all_damaged_are_named(copied):
    for path in (copied / "checkpoints").glob("matching-*.npz"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"matching-\d+\.npz is damaged.*delete it to start anew"):
        experiments.resume(copied)


@pytest.mark.backends("torch")
def test_another_backend_is_refused(copied):
    for path in (copied / "checkpoints").glob("*.npz"):
        with np.load(path) as arrays:
            values = dict(arrays)
        head = json.loads(values["head"].tobytes())
        head["job"]["backend"] = "another"
        np.savez(path, **values | {"head": np.frombuffer(json.dumps(head).encode(), np.uint8)})
    with pytest.raises(CheckpointError, match='backend was "another" and is'):
        experiments.resume(copied)


@pytest.mark.backends("torch")
def test_other_recordings_are_refused(copied):
    table = copied / "split.csv"
    table.write_text(table.read_text().replace("speaker1,", "speaker99,"))
    with pytest.raises(RunFolderError, match="the recordings are not those that the run began with"):
        experiments.resume(copied)


@pytest.mark.more
@pytest.mark.backends("tensorflow")
def test_a_second_process_is_refused(copied):
    code = f"from keras_vitser import experiments; experiments.resume({str(copied)!r})"
    with RunFolder.open(copied).lock():
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert second.returncode
    assert "another process works in it" in second.stderr.splitlines()[-1]


@pytest.mark.more
@pytest.mark.backends("tensorflow")
def test_a_full_disk_gives_one_line_and_loses_nothing(copied, expected, monkeypatch):
    room = 20  # files

    def full(handle):
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises((CheckpointError, RunFolderError), match=r"No space left on device.*make room") as caught:
            experiments.resume(copied)
    assert "\n" not in str(caught.value)
    assert not list(copied.rglob(".part-*"))
    experiments.resume(copied)
    assert_same(read(copied), expected)


def run(**settings):
    command = [sys.executable, "-m", "tests.experiments.killable_run", json.dumps(settings)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def assert_kills_change_nothing(stages, kills, runs, epochs, expected):
    generator = np.random.default_rng(kills)
    for stage in stages:
        for _ in range(kills):
            delay = generator.uniform(0, LONGEST)
            ended = run(runs=str(runs), resume=any(runs.iterdir()), epochs=epochs, kill=[stage, delay])
            assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
    (folder,) = runs.iterdir()
    experiments.resume(folder)
    assert_same(read(folder), expected)


@pytest.mark.more
def test_a_kill_changes_nothing(tmp_path, expected):
    assert_kills_change_nothing(["student"], 1, tmp_path, 3, expected)


@pytest.mark.long
def test_twenty_kills_in_each_stage_change_nothing(tmp_path):
    epochs = 24  # 3.8 seconds a stage
    expected = read(job(tmp_path / "unstopped", epochs=epochs).folder)
    (tmp_path / "killed").mkdir()
    assert_kills_change_nothing(STAGES, 20, tmp_path / "killed", epochs, expected)
