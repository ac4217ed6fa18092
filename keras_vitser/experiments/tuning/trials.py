"""The trials of a search as they stand on disk, whichever process trained them, and what is made of them."""

import csv
import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_vitser.experiments.config import Common
from keras_vitser.experiments.run_folder import PROJECT, RunFolder
from keras_vitser.experiments.tracking.tracker import Tracker
from keras_vitser.training.best_epoch import ACCURACY as OBJECTIVE
from keras_vitser.training.best_epoch import quality

EPOCHS, ERROR, DIVERGED = "epochs.jsonl", "error.txt", "diverged.txt"  # in KerasTuner's folder of a trial
_TRACKING = "tracking.json"
_ENDED = ("completed", "diverged", "failed")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """One setting, and how well a network of it heard.

    Attributes:
        name: Its number in the search, with leading zeros.
        status: `completed`, `diverged`, `failed` or `running`.
        values: The setting, by dotted config key.
        rows: A dict an epoch: losses, validation scores, seconds.
        message: Why it failed or diverged, one line.

    Example:
        >>> Trial("00", "running", {"student.depth": 2}, ()).best is None
        True
    """

    name: str
    status: str
    values: dict[str, Any]
    rows: tuple[dict[str, float], ...]
    message: str = ""

    @property
    def best(self) -> dict[str, float] | None:
        """The row of the best epoch."""
        return max(self.rows, key=quality, default=None)

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better."""
        return max(quality(row) for row in self.rows)

    @property
    def epochs(self) -> int:
        """Epochs trained. A trial of Hyperband that goes on with another counts that one's too."""
        return int(self.rows[-1]["epoch"]) if self.rows else 0

    @property
    def seconds(self) -> float:
        """Of its own epochs."""
        return sum(row["seconds"] for row in self.rows)


def read_trials(folder: RunFolder, exact: Callable[[str, Any], Any]) -> list[Trial]:
    """All trials that were begun, in order.

    Args:
        folder: The folder of the search.
        exact: Gives the value of a key as the config knows it: KerasTuner sends numbers in 32 bits.
    """
    trials = []
    for path in sorted((folder.path / PROJECT).glob("trial_*/trial.json")):
        state = json.loads(path.read_text(encoding="utf-8"))
        values = state["hyperparameters"]["values"]
        values = {key: exact(key, value) for key, value in values.items() if not key.startswith("tuner/")}
        status = state["status"].lower()
        if status == "completed" and (path.parent / DIVERGED).exists():  # to KerasTuner it is done, and the worst
            status = "diverged"
        error = path.parent / {"failed": ERROR, "diverged": DIVERGED}.get(status, "")
        message = error.read_text(encoding="utf-8").strip() if error.is_file() else ""
        trials.append(Trial(state["trial_id"], status, values, _rows(path.parent / EPOCHS), message))
    return trials


def ranked(trials: list[Trial]) -> list[Trial]:
    """The completed ones, best first."""
    return sorted((trial for trial in trials if trial.status == "completed"), key=lambda t: t.rank, reverse=True)


def write_table(folder: RunFolder, trials: list[Trial]) -> None:
    """Writes `trials.csv`, a line a trial."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.values))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", *keys, OBJECTIVE, "epochs", "seconds", "status", "message"])
    for trial in trials:
        accuracy = f"{trial.best[OBJECTIVE]:.6f}" if trial.best and trial.status == "completed" else ""
        values = [trial.values.get(key, "") for key in keys]
        writer.writerow(
            [trial.name, *values, accuracy, trial.epochs, f"{trial.seconds:.1f}", trial.status, trial.message]
        )
    folder.write_text("trials.csv", file.getvalue())


class Follower:
    """Tells log, progress, `trials.csv` and MLflow what the trials on disk have come to.

    Args:
        folder: The folder of the search.
        config: Its config.
        exact: As for `read_trials`.
        progress: Called with a task, the steps done and all its steps.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: Common,
        exact: Callable[[str, Any], Any],
        progress: Callable[[str, int, int], None],
    ):
        self._folder = folder
        self._config = config
        self._exact = exact
        self._progress = progress
        self._told: set[str] = {trial.name for trial in read_trials(folder, exact) if trial.status in _ENDED}
        self._tracking = _Tracking(folder, config)
        self._table: list[Trial] | None = None

    def look(self) -> list[Trial]:
        """Reads the trials, and tells what is new."""
        trials = read_trials(self._folder, self._exact)
        for trial in trials:
            if trial.status in _ENDED and trial.name not in self._told:
                self._told.add(trial.name)
                _log(trial)
        self._tracking.update(trials)
        if trials != self._table:
            self._table = trials
            write_table(self._folder, trials)
        ended = sum(trial.status in _ENDED for trial in trials)
        self._progress("trials", ended, self._config.tuning.trials)
        running = [trial.epochs for trial in trials if trial.status == "running"]
        if running:
            self._progress("epochs of a trial", max(running), self._config.tuning.epochs)
        return trials

    def end(self, failed: bool = False) -> None:
        """Ends the search's run in MLflow."""
        self._tracking.end(failed)


class _Tracking:
    """MLflow: the search is a run, and a trial a run in it. All calls to the tracker stand here."""

    def __init__(self, folder: RunFolder, config: Common):
        self._folder = folder
        self._section = config.tracking
        self._known = folder.read_json(_TRACKING) if (folder.path / _TRACKING).exists() else {"trials": {}}
        self._parent = Tracker(self._section, folder.path.parent, folder.path.name, run_id=self._known.get("run"))
        self._children: dict[str, tuple[Tracker, set[int]]] = {}
        self._ended: set[str] = set()
        if self._parent.run_id and self._parent.run_id != self._known.get("run"):
            self._known = {"run": self._parent.run_id, "trials": {}}
            self._parent.params(config.model_dump(by_alias=True))
            self._folder.write_json(_TRACKING, self._known)

    def update(self, trials: list[Trial]) -> None:
        if not self._parent.run_id:
            return
        for trial in trials:
            if trial.name in self._ended:
                continue
            tracker, logged = self._child(trial)
            for row in trial.rows:
                epoch = int(row["epoch"])
                if epoch not in logged:
                    logged.add(epoch)
                    tracker.metrics({key: value for key, value in row.items() if key != "epoch"}, step=epoch)
            if trial.status in _ENDED:
                self._ended.add(trial.name)
                tracker.tags({"status": trial.status} | ({"message": trial.message} if trial.message else {}))
                tracker.end(failed=trial.status != "completed")

    def end(self, failed: bool) -> None:
        for name in ("trials.csv", "best.yaml"):
            if (self._folder.path / name).exists():
                self._parent.artifact(self._folder.path / name)
        self._parent.end(failed=failed)

    def _child(self, trial: Trial) -> tuple[Tracker, set[int]]:
        if trial.name not in self._children:
            run_id = self._known["trials"].get(trial.name)
            tracker = Tracker(
                self._section, self._folder.path.parent, f"trial {trial.name}", parent=self._parent, run_id=run_id
            )
            logged = tracker.steps(OBJECTIVE) if run_id and tracker.run_id == run_id else set()
            if tracker.run_id and tracker.run_id != run_id:
                tracker.params(trial.values)
                self._known["trials"][trial.name] = tracker.run_id
                self._folder.write_json(_TRACKING, self._known)
            self._children[trial.name] = tracker, logged
        return self._children[trial.name]


def _rows(path: Path) -> tuple[dict[str, float], ...]:
    """The whole lines; a process that was killed may have left half of one."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return tuple(json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))


def _log(trial: Trial) -> None:
    values = ", ".join(f"{key} {value}" for key, value in trial.values.items())
    if trial.status != "completed":
        log.warning("trial %s %s (%s); %s", trial.name, trial.status, trial.message or "no message", values)
        return
    accuracy = 100 * trial.rank[0]
    words = "trial %s: validation UA %.1f %%, epochs %d, %.0f s; %s"
    log.info(words, trial.name, accuracy, trial.epochs, trial.seconds, values)
