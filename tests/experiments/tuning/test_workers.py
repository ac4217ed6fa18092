"""One chief and two workers; a dead one is replaced, what kills its process is given up, and the chief is ended."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.requirements import require

require("tune")

from keras_vitser.errors import RunFolderError, TuningError
from keras_vitser.experiments import load_config
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.experiments.tuning import ViTSERHyperModel, tune
from keras_vitser.experiments.tuning import workers as launcher
from tests.experiments.tuning import quick_search
from tests.experiments.tuning.quick_search import OVERRIDES

pytestmark = pytest.mark.backends("torch")
ROOT = Path(__file__).parents[3]
QUICK = [sys.executable, "-m", "tests.experiments.tuning.quick_search"]


class Processes(logging.Handler):
    """The process ids that the launcher logs."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.ids = {}

    def emit(self, record):
        if "is process" in record.msg:
            name, number = record.args
            self.ids.setdefault(name, []).append(number)

    def alive(self):
        return [number for numbers in self.ids.values() for number in numbers if Path(f"/proc/{number}").exists()]


@pytest.fixture
def processes(monkeypatch):
    logger, handler = logging.getLogger("keras_vitser"), Processes()
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(launcher, "_COMMAND", QUICK)


def killer(runs, processes, times):
    """Kills worker2, whenever a new process of it has begun the trial that it was first killed in."""
    killed = []

    def progress(task, done, total):
        number = processes.ids.get("worker2", [None])[-1]
        if task != "trials" or len(killed) == times or number is None or number in [pid for _, pid in killed]:
            return
        (folder,) = runs.iterdir()
        try:
            trial = json.loads((folder / "tuning/oracle.json").read_text())["ongoing_trials"].get("worker2")
        except OSError:
            return
        if trial is not None and (not killed or trial == killed[0][0]):
            os.kill(number, signal.SIGKILL)
            killed.append((trial, number))

    return progress, killed


def assert_ended_well(search, processes, trials, failed):
    statuses = {trial.name: trial.status for trial in search.trials}
    assert len(statuses) == trials
    assert {name for name, status in statuses.items() if status != "completed"} == set(failed)
    assert not processes.alive()
    assert search.best_config.is_file()


@pytest.mark.more
@pytest.mark.backends("tensorflow")
class TestRealChief:
    """KerasTuner's own chief and workers; the trials train nothing."""

    def test_a_killed_worker_is_replaced_and_no_trial_is_lost(self, tmp_path, processes, quick):
        progress, killed = killer(tmp_path, processes, times=1)
        overrides = OVERRIDES | {"tuning.trials": 5, "tuning.algorithm": "bayesian"}
        search = tune(None, runs=tmp_path, overrides=overrides, workers=2, progress=progress)
        assert len(killed) == 1
        assert len(processes.ids["worker2"]) == 2
        assert_ended_well(search, processes, trials=5, failed=[])
        stated = OVERRIDES["tuning.space"]["student.dropout"]
        assert all(trial.values["student.dropout"] in stated for trial in search.trials), "sent in 32 bits"

    def test_trials_that_diverge_in_a_worker_do_not_end_it(self, tmp_path, processes, quick):
        rates = {"tuning.space": {"stages.student.learning_rate": [10.0, 20.0, 30.0, 40.0, 1e-3]}}
        search = tune(None, runs=tmp_path, overrides=OVERRIDES | rates | {"tuning.trials": 5}, workers=1)
        statuses = {trial.values["stages.student.learning_rate"]: trial.status for trial in search.trials}
        assert statuses == dict.fromkeys((10.0, 20.0, 30.0, 40.0), "diverged") | {1e-3: "completed"}
        assert len(processes.ids["worker1"]) == 1
        assert load_config(search.best_config).stages.student.learning_rate == 1e-3

    def test_where_the_launcher_is_killed_all_end_and_the_search_goes_on(self, tmp_path, quick, monkeypatch):
        code = textwrap.dedent(f"""
            import logging
            from keras_vitser.experiments.tuning import workers
            from keras_vitser.experiments.tuning import tune
            from tests.experiments.tuning.quick_search import OVERRIDES
            logging.basicConfig(level=logging.INFO)
            workers._COMMAND = {QUICK!r}
            tune(None, runs={str(tmp_path)!r}, overrides=OVERRIDES | {{"tuning.trials": 8}}, workers=1)
        """)
        launcher = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        numbers = []
        for line in launcher.stderr:
            if "is process" in line:
                numbers.append(int(line.rsplit(maxsplit=1)[1]))
            if "trial 0" in line:
                break
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait()
        deadline = time.monotonic() + 20
        while any(_runs(number) for number in numbers) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(numbers) == 2
        assert not any(_runs(number) for number in numbers)
        (folder,) = tmp_path.iterdir()
        while not _is_free(folder) and time.monotonic() < deadline:  # the last threads may outlive their process
            time.sleep(0.1)
        monkeypatch.setattr(ViTSERHyperModel, "build", quick_search.build)
        monkeypatch.setattr(ViTSERHyperModel, "fit", quick_search.fit)
        search = tune(resume=folder)
        assert [trial.status for trial in search.trials] == ["completed"] * 8


@pytest.mark.long
@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("algorithm", ["hyperband", "bayesian"])
def test_real_trials_with_a_worker_killed_twice_in_one(algorithm, tmp_path, processes):
    progress, killed = killer(tmp_path, processes, times=2)
    space = {"student.depth": [1, 2], "stages.student.learning_rate": {"low": 1e-4, "high": 1e-2}}
    overrides = OVERRIDES | {"tuning.trials": 6, "tuning.algorithm": algorithm, "tuning.space": space}
    search = tune(None, runs=tmp_path, overrides=overrides, workers=2, progress=progress)
    assert len(killed) == 2
    assert_ended_well(search, processes, trials=6, failed=[killed[0][0]])


@pytest.mark.long
@pytest.mark.backends("tensorflow")
def test_the_documented_variables_start_chief_and_worker_by_hand(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        variables = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free.getsockname()[1])}
    config, runs = tmp_path / "tiny.yaml", tmp_path / "runs"
    config.write_text(load_config(None, OVERRIDES | {"tuning.trials": 2, "tuning.epochs": 1}).to_yaml())

    def start(name, *arguments):
        command = [sys.executable, "-m", "keras_vitser.cli.main", "tune", *map(str, arguments)]
        environment = os.environ | variables | {"KERASTUNER_TUNER_ID": name, "no_grpc_proxy": "127.0.0.1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, cwd=ROOT, **pipes)

    with contextlib.ExitStack() as ended:
        chief = start("chief", config, "--runs", runs)
        ended.callback(chief.kill)
        deadline = time.monotonic() + 60
        while not list(runs.glob("*/tuning/oracle.json")) and time.monotonic() < deadline:
            time.sleep(0.2)
        (folder,) = runs.iterdir()
        worker = start("worker1", "--resume", folder)
        ended.callback(worker.kill)
        _, err = worker.communicate(timeout=300)
        assert worker.returncode == 0, err
        out, err = chief.communicate(timeout=60)
        assert chief.returncode == 0, err
    assert f"next: keras-vitser train {folder / 'best.yaml'}" in out
    assert err.count("validation UA") == 2
    assert len((folder / "trials.csv").read_text().splitlines()) == 3


FAKE = """
import json, os, sys, time
from pathlib import Path

folder, data, given_up = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
name = os.environ["KERASTUNER_TUNER_ID"]
assert os.environ["KERASTUNER_ORACLE_IP"] and int(os.environ["KERASTUNER_ORACLE_PORT"])
with (folder / "calls").open("a") as file:
    file.write(json.dumps([name, data, given_up]) + "\\n")
calls = [json.loads(line) for line in (folder / "calls").read_text().splitlines()]
own = len([call for call in calls if call[0] == name])
"""


@pytest.fixture
def fake(tmp_path, monkeypatch, processes):
    """Runs the launcher on processes that do what a script says."""
    folder = RunFolder(tmp_path)
    (tmp_path / "tuning" / "trial_0").mkdir(parents=True)
    (tmp_path / "tuning" / "oracle.json").write_text(json.dumps({"ongoing_trials": {"worker1": "0"}}))
    (tmp_path / "tuning" / "trial_0" / "trial.json").write_text(json.dumps({"status": "RUNNING"}))
    (tmp_path / "calls").write_text("")
    monkeypatch.setattr(launcher, "_POLL_SECONDS", 0.02)

    def search(script, workers=2):
        path = tmp_path / "fake.py"
        path.write_text(FAKE + textwrap.dedent(script))
        monkeypatch.setattr(launcher, "_COMMAND", [sys.executable, str(path)])
        try:
            launcher.launch(folder, "recordings", workers, lambda: None)
        finally:
            assert not processes.alive()
        return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]

    return search


class TestLauncher:
    def test_a_trial_that_ends_its_process_twice_is_given_up(self, fake):
        calls = fake("""
            if name == "chief": time.sleep(60)
            if name == "worker1" and given_up is None: os.kill(os.getpid(), 9)
        """)
        assert [call for call in calls if call[0] == "worker1"] == [
            ["worker1", "recordings", None],
            ["worker1", "recordings", None],
            ["worker1", "recordings", "0"],
        ]
        assert [call for call in calls if call[0] == "worker2"] == [["worker2", "recordings", None]]

    def test_a_worker_that_always_dies_ends_the_search(self, fake):
        with pytest.raises(TuningError, match=r"worker2 ended 4 times: no such corpus \(all it said: .*worker2.log\)"):
            fake("""
                if name == "worker2": sys.exit("no such corpus")
                time.sleep(60)
            """)

    def test_a_dead_chief_ends_the_search(self, fake):
        with pytest.raises(TuningError, match=r"the chief has ended: error: another process works in it"):
            fake("""
                if name == "chief": sys.exit("error: another process works in it")
                time.sleep(60)
            """)

    def test_a_chief_that_is_done_ends_workers_that_it_left_waiting(self, fake):
        started = time.monotonic()
        fake("""
            if name == "worker2": time.sleep(60)
        """)
        assert time.monotonic() - started < 30


def _is_free(folder):
    try:
        with RunFolder.open(folder).lock():
            return True
    except RunFolderError:
        return False


def _runs(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
