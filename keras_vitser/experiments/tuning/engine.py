"""KerasTuner's tuner and oracles, so that a search survives a kill at any moment.

KerasTuner 1.4.8 writes its files in place, saves a trial and the search one after the other, and sends numbers to
workers in 32 bits. Here each file is whole, what the two say is brought together, and values stay as they were.
"""

import contextlib
import io
import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner
import numpy as np

from keras_vitser.errors import DivergedError, TuningError
from keras_vitser.experiments.config import Common
from keras_vitser.experiments.run_folder import PROJECT, RunFolder
from keras_vitser.experiments.tuning.trials import DIVERGED, EPOCHS, ERROR, OBJECTIVE
from keras_vitser.files import strict_json, whole_file

if TYPE_CHECKING:
    from keras_vitser.experiments.stages import Part
    from keras_vitser.experiments.tuning.hypermodel import SystemHyperModel

ALONE, CHIEF, WORKER = "alone", "chief", "worker"
_NAME, _ADDRESS, _PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
_FAILURES_IN_A_ROW = 3
_IDLE_SECONDS = 0.5
_LOOK_SECONDS = 2.0
_ENDED = ("COMPLETED", "FAILED")
_WORST = -1.0  # the score of a trial that diverged: below any UA
WEIGHTS = "checkpoint.weights.h5"


def role() -> str:
    """This process's part in a search: `alone`, `chief` or `worker`, by KerasTuner's environment variables.

    Raises:
        TuningError: Some of the three variables are set, and others are not.

    Example:
        >>> role()
        'alone'
    """
    if _ADDRESS not in os.environ:
        return ALONE
    missing = [name for name in (_NAME, _PORT) if not os.environ.get(name)]
    if missing:
        raise TuningError(f"{_ADDRESS} is set, and {' and '.join(missing)} must be set too: see keras-vitser tune -h")
    return CHIEF if "chief" in os.environ[_NAME] else WORKER


def run_trials(
    hypermodel: "SystemHyperModel",
    folder: RunFolder,
    train: "Part | None" = None,
    validation: "Part | None" = None,
    look: Callable[[], object] = lambda: None,
    given_up: str | None = None,
) -> None:
    """Runs trials until none is left, in the process's own part.

    Args:
        hypermodel: The `SystemHyperModel`.
        folder: The folder of the search.
        train: `Part` to learn from; the chief, who trains nothing, needs none.
        validation: `Part` to measure on, likewise.
        look: Called whenever a trial has come further.
        given_up: Name of a trial that ends its process; it is marked as failed without being trained.
    """
    project = folder.path / PROJECT
    name = os.environ.get(_NAME, "tuner0")
    if role() != WORKER and (project / "oracle.json").is_file():
        with whole_file(project / f"{name}.json") as part:
            part.write_text("{}")  # by this file KerasTuner knows that there is something to go on with
    with contextlib.redirect_stdout(io.StringIO()):  # "Reloading Tuner from ..."
        tuner = SearchTuner(
            oracle=_oracle(hypermodel.config),
            hypermodel=hypermodel,
            directory=str(folder.path),
            project_name=PROJECT,
            overwrite=False,
        )
    tuner.look, tuner.given_up = look, given_up
    parts = {} if train is None else {"x": train.x, "y": train.labels}
    if validation is not None:
        parts["validation_data"] = (validation.x, validation.labels)
    tuner.search(**parts, verbose=0)


@contextlib.contextmanager
def looking(look: Callable[[], object]) -> Iterator[None]:
    """Calls `look` again and again from a thread: the chief is busy answering its workers."""
    ended = threading.Event()

    def watch():
        while not ended.wait(_LOOK_SECONDS):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class SearchTuner(keras_tuner.Tuner):
    """Runs a trial, and writes each epoch of it down."""

    look: Callable[[], object] = staticmethod(lambda: None)
    given_up: str | None = None
    _failures = 0
    _idle = False

    def pre_create_trial(self) -> None:
        """Waits a little where the oracle had no trial to give: KerasTuner would ask again at once."""
        if self._idle:
            time.sleep(_IDLE_SECONDS)
        self._idle = True

    def on_trial_begin(self, trial: Any) -> None:
        self._idle = False
        folder = Path(self.get_trial_dir(trial.trial_id))
        for name in (EPOCHS, ERROR, DIVERGED):
            (folder / name).unlink(missing_ok=True)  # of a process that was killed
        self.look()

    def run_trial(
        self, trial: Any, x: Any, y: np.ndarray, validation_data: tuple[Any, np.ndarray], verbose: str | int = 0
    ) -> dict[str, float]:
        """Trains a network with a trial's values; Hyperband's later rounds go on with an earlier trial's network."""
        folder, values = Path(self.get_trial_dir(trial.trial_id)), trial.hyperparameters.values
        try:
            if trial.trial_id == self.given_up:
                raise keras_tuner.errors.FailedTrialError("the process that trained it ended twice, without a word")
            keras.utils.clear_session()  # networks of earlier trials
            network = self.hypermodel.build(trial.hyperparameters)
            if "tuner/trial_id" in values:
                self._refuse_diverged(values["tuner/trial_id"])
                network.optimizer.build(network.trainable_variables)  # its state is in the file too
                network.load_weights(Path(self.get_trial_dir(values["tuner/trial_id"])) / WEIGHTS)
            scores = self.hypermodel.fit(
                trial.hyperparameters,
                network,
                x,
                y,
                validation_data=validation_data,
                epochs=values.get("tuner/epochs"),
                initial_epoch=values.get("tuner/initial_epoch", 0),
                callbacks=[_Diary(folder / EPOCHS, self.look)],
                verbose=verbose,
            )
            if "tuner/epochs" in values:
                network.save_weights(folder / WEIGHTS)
        except DivergedError as error:
            _write_line(folder / DIVERGED, str(error))
            return {OBJECTIVE: _WORST}
        except Exception as error:
            text = str(error)
            if not isinstance(error, keras_tuner.errors.FailedTrialError):
                last = traceback.extract_tb(error.__traceback__)[-1]
                text = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
            _write_line(folder / ERROR, text)
            raise
        return scores

    def _refuse_diverged(self, name):
        """Where all trials of a round diverged, Hyperband promotes one of them."""
        if (Path(self.get_trial_dir(name)) / DIVERGED).exists():
            raise DivergedError(f"trial {name}, which it was to go on with, diverged")

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)
        self.look()
        self._failures = 0 if trial.status == "COMPLETED" else self._failures + 1
        if self._failures == _FAILURES_IN_A_ROW:
            why = (Path(self.get_trial_dir(trial.trial_id)) / ERROR).read_text(encoding="utf-8")
            raise TuningError(f"{_FAILURES_IN_A_ROW} trials in a row failed, so the search stopped; the last: {why}")


def _write_line(path, text):
    with whole_file(path) as part:
        part.write_text(" ".join(text.split())[:500], encoding="utf-8")


class _Diary(keras.callbacks.Callback):
    """Writes a line an epoch. Comes after `BestEpoch`, whose scores it writes."""

    def __init__(self, path: Path, look: Callable[[], object]):
        super().__init__()
        self._path = path
        self._look = look

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in sorted(logs.items())}}
        row["seconds"] = round(time.perf_counter() - self._start, 3)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(strict_json(row) + "\n")
        self._look()


class _Kept(keras_tuner.Oracle):
    """An oracle whose files are whole and agree. Goes before one of KerasTuner's."""

    trials: dict[str, Any]

    def save(self):
        self._write(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial):
        self._write(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def _write(self, path, state):
        with whole_file(path) as part:
            part.write_text(json.dumps(state), encoding="utf-8")

    def reload(self):
        super().reload()
        # A kill may have come between the writing of a trial and that of the search.
        self.trials = {name: trial for name, trial in self.trials.items() if name in self.start_order}
        self.end_order = [name for name in self.start_order if self.trials[name].status in _ENDED]
        self._retry_queue = [name for name in reversed(self.start_order) if name not in self.end_order]
        for name in self._retry_queue:
            self.trials[name].metrics = type(self.trials[name].metrics)()

    def end_trial(self, trial, *args):
        if not isinstance(trial, str):
            # From a worker they come back in 32 bits, and Bayesian search no longer finds them among the choices.
            trial.hyperparameters.values = dict(self.trials[trial.trial_id].hyperparameters.values)
        return super().end_trial(trial, *args)


class _Hyperband(_Kept, keras_tuner.oracles.HyperbandOracle):
    """Draws another trial for one that failed in a first round; KerasTuner's would promote none of that round."""

    def reload(self):
        super().reload()
        self._leave_out_failed()

    def end_trial(self, trial, *args):
        super().end_trial(trial, *args)
        self._leave_out_failed()
        self.save()

    def _leave_out_failed(self):
        for bracket in self._brackets:
            first = bracket["rounds"][0]
            first[:] = [info for info in first if self.trials[info["id"]].status != "FAILED"]


class _Bayesian(_Kept, keras_tuner.oracles.BayesianOptimizationOracle):
    pass


class _Random(_Kept, keras_tuner.oracles.RandomSearchOracle):
    pass


def _oracle(config: Common):
    tuning = config.tuning
    settings = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "seed": config.seed + 1,  # to KerasTuner 0 is any seed
        # It would raise within the chief, which then answers nobody; the tuner counts instead.
        "max_consecutive_failed_trials": tuning.trials + 1,
    }
    if tuning.algorithm == "hyperband":
        oracle = _Hyperband(max_epochs=tuning.epochs, **settings)
        oracle.max_trials = tuning.trials
        return oracle
    return {"bayesian": _Bayesian, "random": _Random}[tuning.algorithm](max_trials=tuning.trials, **settings)
