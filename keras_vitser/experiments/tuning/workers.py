"""One chief and several workers of KerasTuner on this machine, each a process that may die.

KerasTuner's chief waits for ever for a worker that is gone. Here a dead worker is replaced by one of the same id, to
which the chief gives the dead one's trial again; a trial that ends its process twice is marked as failed. At the end
the chief is ended. Where the launcher itself dies, so do all.
"""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from keras_vitser.errors import TuningError
from keras_vitser.experiments import child_process
from keras_vitser.experiments.run_folder import PROJECT, RunFolder

CHIEF = "chief"
_COMMAND = [sys.executable, "-m", "keras_vitser.experiments.tuning.process"]
_HOST = "127.0.0.1"
_MOST_DEATHS = 3  # of a worker, between two trials
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 10

log = logging.getLogger(__name__)


def launch(folder: RunFolder, data: str | os.PathLike | None, workers: int, look: Callable[[], object]) -> None:
    """Runs the trials of a search until none is left.

    Args:
        folder: The folder of the search; its sub-folder of KerasTuner also gets a log a process.
        data: Where the recordings are.
        workers: Int of at least 1.
        look: Called again and again.

    Raises:
        TuningError: The chief ended too early, or a worker ended again and again.
    """
    with contextlib.ExitStack() as processes:
        launcher = _Launcher(folder, data, processes)
        chief = launcher.start(CHIEF)
        team = [_Worker(f"worker{number}", launcher) for number in range(1, workers + 1)]
        while [worker for worker in team if not worker.has_ended()]:
            look()
            if chief.poll() == 0:  # it only ends when all workers were told to
                break
            if chief.poll() is not None:
                raise TuningError(f"the chief has ended: {launcher.last_words(CHIEF)}")
            time.sleep(_POLL_SECONDS)


class _Launcher:
    """Starts the processes of one search; `processes` ends those that are left."""

    def __init__(self, folder: RunFolder, data, processes: contextlib.ExitStack):
        self.project = folder.path / PROJECT
        self._folder = folder
        self._data = data
        self._processes = processes
        with socket.socket() as free:
            free.bind((_HOST, 0))
            port = free.getsockname()[1]
        self._environment = os.environ | {
            "KERASTUNER_ORACLE_IP": _HOST,
            "KERASTUNER_ORACLE_PORT": str(port),
            "no_grpc_proxy": _HOST,
            "GRPC_VERBOSITY": "ERROR",
        }

    def start(self, name: str, given_up: str | None = None) -> subprocess.Popen:
        command = [*_COMMAND, str(self._folder.path), json.dumps(None if self._data is None else str(self._data))]
        with self._log(name).open("wb") as file:
            process = subprocess.Popen(
                [*command, json.dumps(given_up)],
                env=self._environment | {"KERASTUNER_TUNER_ID": name},
                stdin=subprocess.PIPE,  # closed when this process ends, however it ends
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._processes.callback(_end, process)
        log.info("%s is process %d", name, process.pid)
        return process

    def trial_of(self, name: str) -> str | None:
        """The trial that a worker was given last, if it has not ended."""
        with contextlib.suppress(OSError, ValueError):
            trial = json.loads((self.project / "oracle.json").read_text(encoding="utf-8"))["ongoing_trials"].get(name)
            status = json.loads((self.project / f"trial_{trial}" / "trial.json").read_text(encoding="utf-8"))["status"]
            return trial if status == "RUNNING" else None
        return None

    def last_words(self, name: str) -> str:
        return child_process.last_words(self._log(name))

    def _log(self, name: str) -> Path:
        return self.project / f"{name}.log"


class _Worker:
    """A process, and its successors of the same id."""

    def __init__(self, name: str, launcher: _Launcher):
        self._name = name
        self._launcher = launcher
        self._trial: str | None = None
        self._deaths = 0
        self._process = launcher.start(name)

    def has_ended(self) -> bool:
        """Whether there is no more to do for it; replaces a dead process."""
        code = self._process.poll()
        if code is None or code == 0:
            return code == 0
        trial = self._launcher.trial_of(self._name)
        words = f"killed by signal {-code}" if code < 0 else self._launcher.last_words(self._name)
        again = trial is not None and trial == self._trial
        self._deaths = self._deaths + 1 if trial == self._trial else 1
        self._trial = trial
        if self._deaths > _MOST_DEATHS:
            raise TuningError(f"{self._name} ended {self._deaths} times: {words}")
        then = "it had no trial"
        if trial is not None:
            then = f"trial {trial} counts as failed" if again else f"trial {trial} is tried again"
        log.warning("%s has ended (%s); a new process takes its place, %s", self._name, words, then)
        self._process = self._launcher.start(self._name, given_up=trial if again else None)
        return False


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        process.stdin.close()
