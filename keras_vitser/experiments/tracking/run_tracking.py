"""A run folder in MLflow: a run, and nested in it one a stage.

While a run trains, `RunTracking` logs what is new. At its end, and by `track` at any later time, MLflow is brought
what it does not have yet, from the run folder alone. So a store that went away loses nothing.
"""

import hashlib
import importlib.util
import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from keras_vitser.errors import RunFolderError, TrackingError
from keras_vitser.experiments.config import TrackingSection, load_config
from keras_vitser.experiments.run_folder import RunFolder, scored
from keras_vitser.experiments.tracking.mlflow_packaging import save_mlflow_model
from keras_vitser.experiments.tracking.tracker import Tracker
from keras_vitser.files import strict_json

_TAGS = {"fingerprint": "corpus.fingerprint"}
MODEL = "mlflow_model"  # the artifact that MLflow can load and serve
_STATE = "tracking.json"
_LONGEST_DIGEST = 36  # of a data set, in MLflow's tables

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracked:
    """Where a run is found in MLflow.

    Attributes:
        uri: MLflow's tracking URI.
        run_id: The run's id.
        model_uri: The model, for `mlflow models serve` and `mlflow.pyfunc.load_model`.
        version: Version of the registered model, or `None` where it was not registered.

    Example:
        >>> Tracked("http://127.0.0.1:5000", "1f", "runs:/1f/mlflow_model").version is None
        True
    """

    uri: str
    run_id: str
    model_uri: str
    version: str | None = None


def track(
    folder: str | os.PathLike,
    *,
    uri: str | None = None,
    register: str | None = None,
    alias: str | None = None,
) -> Tracked:
    """Brings MLflow what it does not have of a run that has ended; may be called again at any time.

    Args:
        folder: The run folder. The run need not have been tracked before.
        uri: MLflow's tracking URI. Defaults to where the run was tracked, and else to what its config says.
        register: Name of a registered model, which is made where there is none; the run's model becomes a version.
        alias: Alias of that version, `champion` for instance; another version loses it.

    Returns:
        Where the run is found.

    Raises:
        RunFolderError: The folder is no run folder, its run has not ended, or another process works in it.
        TrackingError: MLflow is not installed, or its store cannot be used; what came before is there.

    Example:
        >>> track("no/run")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        keras_vitser.errors.RunFolderError: no/run: is no run folder of `keras-vitser train` ...
    """
    if alias and not register:
        raise TrackingError(f"the alias {alias!r} needs the name of a registered model; give it with --register")
    opened = RunFolder.open(folder)
    if opened.is_search:
        raise RunFolderError(
            f"{opened.path}: is a search; keras-vitser tune --resume {opened.path} brings MLflow what it lacks"
        )
    if not opened.finished:
        raise RunFolderError(
            f"{opened.path}: the run has not ended; go on with keras-vitser train --resume {opened.path}"
        )
    with opened.lock():
        section = load_config(opened.path / "config.yaml").tracking
        uri = uri or _state(opened).get("uri", section.uri)
        section = section.model_copy(update={"enabled": True, "uri": uri})
        return complete(opened, section, register, alias)


def complete(
    folder: RunFolder, section: TrackingSection, register: str | None = None, alias: str | None = None
) -> Tracked:
    """What `track` does, for who holds the folder's lock."""
    tracking = RunTracking(folder, section, strict=True)
    tracking.start()
    tracking.finish()
    run = tracking.run
    version = run.do(lambda client, run_id: _register(client, run_id, register, alias)) if register else None
    uri, run_id = cast(str, run.uri), cast(str, run.run_id)  # as it is strict, what fails has raised
    return Tracked(uri, run_id, f"runs:/{run_id}/{MODEL}", version)


def complete_or_warn(folder: RunFolder, section: TrackingSection) -> None:
    """`complete` at the end of a run, which a store that fails does not fail."""
    if not section.enabled or importlib.util.find_spec("mlflow") is None:
        return
    try:
        complete(folder, section)
    except (TrackingError, OSError) as error:
        log.warning(
            "MLflow lacks a part of the run; once that is mended: keras-vitser track %s (%s)", folder.path, error
        )


def forget(folder: RunFolder) -> None:
    """Has the run logged as a new one."""
    (folder.path / _STATE).unlink(missing_ok=True)


class RunTracking:
    """Logs a run folder's run and its stages, as `Tracker` does.

    Args:
        folder: The run folder. Its `tracking.json` says which runs of MLflow it has; they are gone on with.
        section: The section `tracking` of its config.
        strict: Whether a failure is raised.

    Raises:
        TrackingError: MLflow or its store cannot be used, and `strict`; so do all methods.
    """

    def __init__(self, folder: RunFolder, section: TrackingSection, *, strict: bool = False):
        self._folder = folder
        self._section = section
        self._config = load_config(folder.path / "config.yaml")
        state = _state(folder)
        if (state.get("uri"), state.get("experiment")) != (section.uri, section.experiment):
            state = {}
        outer = folder.folds
        self.run = Tracker(
            section,
            folder.path.parent if outer is None else outer.path.parent,
            folder.path.name,
            run_id=state.get("run"),
            parent_id=None if outer is None else _state(outer).get("run"),
            strict=strict,
        )
        goes_on = self.run.run_id == state.get("run")
        self._known: dict[str, str] = state.get("stages", {}) if goes_on else {}
        self._stages: dict[str, Tracker] = {}
        self._logged: dict[str, set[int]] = {}

    def start(self) -> None:
        """Logs parameters, what the run is measured on, and the recordings as inputs."""
        recordings = _recordings(self._folder)
        self._keep_state()
        self.run.params(self._config.model_dump(by_alias=True))
        self.run.tags({_TAGS.get(key, key): value for key, value in recordings.items()})
        self.run.do(lambda client, run_id: client.log_inputs(run_id, _inputs(self._folder, recordings)))

    def begin(self, stage: str) -> None:
        """Begins or goes on with the run of a stage, and ends those of the stages before."""
        if stage in self._stages:
            return
        for before in self._stages.values():
            before.end()
        known = self._known.get(stage)
        tracker = Tracker(self._section, self._folder.path.parent, stage, parent=self.run, run_id=known)
        self._stages[stage] = tracker
        self._logged[stage] = tracker.steps("loss") if known else set()
        tracker.params(self._config.value_at(f"stages.{stage}").model_dump(by_alias=True))
        self._keep_state()

    def epoch(self, row: dict[str, Any]) -> None:
        """Logs a line of `progress.jsonl`, unless MLflow has that epoch of the stage."""
        stage, epoch = row["stage"], row["epoch"]
        self.begin(stage)
        if epoch not in self._logged[stage]:
            values = {name: value for name, value in row.items() if name not in ("stage", "epoch", "system")}
            values |= {f"system/{name}": value for name, value in row.get("system", {}).items()}
            self._stages[stage].metrics(values, step=epoch)
            self._logged[stage].add(epoch)

    def fail(self) -> None:
        """Marks the run, and the stage under way, as failed."""
        for tracker in [*list(self._stages.values())[-1:], self.run]:
            tracker.end(failed=True)

    def finish(self) -> None:
        """Logs all that MLflow lacks of a run that has ended, and ends it."""
        for row in self._folder.progress():
            self.epoch(row)
        for tracker in self._stages.values():
            tracker.end()
        metrics = self._folder.read_json("metrics.json")
        scores = _flat_scores(metrics)
        if not self.run.steps(next(iter(scores))):
            self.run.metrics(scores)
        self.run.tags(
            {"mlflow.note.content": "\n\n".join(f"{role}: {metrics[role]['sentence']}" for role in scored(metrics))}
        )
        self._log_artifacts()
        self.run.end()
        self._keep_state(complete=True)

    def _log_artifacts(self) -> None:
        path = self._folder.path
        for file in sorted(path.iterdir()):
            if file.is_file() and file.name != _STATE:
                self.run.artifact(file)
        self.run.artifact(self._folder.figures, "figures")
        self.run.artifact(self._folder.model, "model")
        labels = self._folder.read_json("model/recognizer.json")["labels"]
        backend = self._folder.read_json("environment.json")["backend"]
        with tempfile.TemporaryDirectory() as parent:
            packed = Path(parent) / MODEL
            self.run.do(lambda *_: save_mlflow_model(self._folder.model, labels, backend, packed))
            self.run.artifact(packed, MODEL)

    def _keep_state(self, complete: bool = False) -> None:
        """Writes `tracking.json`; its `uri` is null for the database beside the run folders, which may be moved."""
        if self.run.run_id:
            self._known |= {stage: tracker.run_id for stage, tracker in self._stages.items() if tracker.run_id}
            state = {"uri": self._section.uri, "experiment": self._section.experiment, "run": self.run.run_id}
            self._folder.write_json(_STATE, state | {"stages": self._known, "complete": complete})


def _state(folder: RunFolder) -> dict[str, Any]:
    try:
        return folder.read_json(_STATE)
    except RunFolderError:  # none yet, or damaged: then MLflow gets a new run
        return {}


def _recordings(folder: RunFolder) -> dict[str, Any]:
    """Corpus, fingerprint, protocol, leaky and split."""
    described = folder.read_json("environment.json").get("recordings")
    if described is None and folder.finished:  # a run of before they were written there
        metrics = folder.read_json("metrics.json")
        described = {key: metrics[key] for key in ("corpus", "protocol", "leaky", "split")}
    return described or {}


def _inputs(folder: RunFolder, recordings: dict[str, Any]) -> list:
    """The parts of the split as MLflow's data sets; the digest depends on the recordings and who is in the part."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for part, rows in folder.split_parts().items():
        digest = hashlib.sha256(json.dumps([recordings, rows]).encode()).hexdigest()
        profile = {"part": part, "examples": len(rows)} | recordings
        data = Dataset(
            name=recordings.get("corpus", "recordings"),
            digest=digest[:_LONGEST_DIGEST],
            source_type="keras_vitser",
            source=strict_json(recordings),
            profile=strict_json(profile),
        )
        inputs.append(DatasetInput(data, [InputTag("mlflow.data.context", part)]))
    return inputs


def _flat_scores(metrics: dict[str, Any]) -> dict[str, float]:
    wanted = ("weighted_accuracy", "unweighted_accuracy", "macro_f1")
    roles = scored(metrics)
    return {f"test/{role}/{name}": metrics[role][name] for role in roles for name in wanted} | {
        f"test/chance_{name}": value
        for name, value in metrics[roles[0]]["chance"].items()  # of all the same
    }


def _register(client, run_id: str, name: str, alias: str | None) -> str:
    """Makes the run's model a version of a registered model, once, and returns the version."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = [version for version in client.search_model_versions(f"name = '{name}'") if version.run_id == run_id]
    if known:
        version = known[0].version
    else:
        source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL}"
        version = client.create_model_version(name, source, run_id, await_creation_for=0).version
    if alias:
        client.set_registered_model_alias(name, alias, version)
    return str(version)
