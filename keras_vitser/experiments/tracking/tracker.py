"""MLflow: a run beside others, in an SQLite file with no server to start.

Only the client is used, so that no global state of MLflow changes and a run of the
user's own that is under way in the same process is left alone. A tracking store that
fails never stops a training: the run folder holds everything.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from keras_vitser.errors import TrackingError
from keras_vitser.experiments.config import TrackingSection

_SQLITE = "sqlite:///"
_SETTINGS = {
    # By itself MLflow gives a request 120 s, and tries seven times more over four minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_PARAMS_A_CALL = 100  # more are refused

log = logging.getLogger(__name__)


class Tracker:
    """Logs to one run of MLflow, or nowhere.

    The first failure is logged as one warning; then this tracker, its parent and its siblings are silent.

    Args:
        section: The section `tracking` of a config; says where.
        runs: Folder of the run folders; the SQLite file lies in it by default.
        name: Name of the run.
        parent: Tracker of the run that this one is nested in. Its place is taken; `section` then says nothing.
        parent_id: Id of the run that this one is nested in, where another process tracks that.
        run_id: A run to go on with. Where the store does not know it, a new one is made.
        strict: Whether a failure is raised.

    Raises:
        TrackingError: MLflow or its store cannot be used, and `strict`; so do all methods.

    Example:
        >>> Tracker(TrackingSection(enabled=False), Path("runs"), "a run").run_id is None
        True
    """

    def __init__(
        self,
        section: TrackingSection,
        runs: Path,
        name: str,
        parent: "Tracker | None" = None,
        run_id: str | None = None,
        *,
        parent_id: str | None = None,
        strict: bool = False,
    ):
        self._finished = False
        self._store: _Store = parent._store if parent else _Store(section, runs, strict)
        parent_id = parent.run_id if parent else parent_id
        self.run_id: str | None = self._store.do(
            lambda client: self._known(client, run_id) or self._new(client, name, parent_id)
        )

    @property
    def uri(self) -> str | None:
        """MLflow's tracking URI, or `None` where nothing is logged."""
        return self._store.uri if self.run_id else None

    def params(self, values: dict[str, Any]) -> None:
        """Logs parameters; nested dicts are flattened to dotted keys."""

        def log_params(client, run_id):
            from mlflow.entities import Param

            params = [Param(key, str(value)) for key, value in _flat(values)]
            for start in range(0, len(params), _PARAMS_A_CALL):
                client.log_batch(run_id, params=params[start : start + _PARAMS_A_CALL])

        self.do(log_params)

    def tags(self, values: dict[str, Any]) -> None:
        """Sets tags."""

        def set_tags(client, run_id):
            from mlflow.entities import RunTag

            client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in values.items()])

        self.do(set_tags)

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Logs numbers, all in one request."""

        def log_metrics(client, run_id):
            from mlflow.entities import Metric

            now = round(time.time() * 1000)
            client.log_batch(run_id, [Metric(key, value, now, step or 0) for key, value in values.items()])

        self.do(log_metrics)

    def steps(self, metric: str) -> set[int]:
        """The steps at which a number was logged so far."""
        found = self.do(lambda client, run_id: client.get_metric_history(run_id, metric))
        return {value.step for value in found or ()}

    def artifact(self, path: str | os.PathLike, folder: str | None = None) -> None:
        """Logs a file, or all that a folder holds, below `folder` of the run's artifacts."""

        def log_artifact(client, run_id):
            log_it = client.log_artifacts if Path(path).is_dir() else client.log_artifact
            log_it(run_id, str(path), folder)

        self.do(log_artifact)

    def end(self, failed: bool = False) -> None:
        """Marks the run as finished, or as failed; one that was finished before stays as it is."""
        if not self._finished:
            self.do(lambda client, run_id: client.set_terminated(run_id, "FAILED" if failed else "FINISHED"))
            self._finished = not failed

    def do(self, task: Callable[[Any, str], Any]) -> Any:
        """What `task(client, run_id)` returns, with an `MlflowClient`; `None` where nothing is logged or it fails."""
        run_id = self.run_id
        return None if run_id is None else self._store.do(lambda client: task(client, run_id))

    def _known(self, client, run_id: str | None) -> str | None:
        """The run, under way again unless it was finished, if the store has it."""
        if run_id is None:
            return None
        from mlflow.exceptions import MlflowException

        try:
            run = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        if run.info.lifecycle_stage != "active":
            return None
        self._finished = run.info.status == "FINISHED"
        if not self._finished:
            client.update_run(run_id, status="RUNNING")
        return run_id

    def _new(self, client, name: str, parent_id: str | None) -> str:
        tags = {"mlflow.parentRunId": parent_id} if parent_id else None
        return client.create_run(self._store.experiment, run_name=name, tags=tags).info.run_id


class _Store:
    """One place, for all trackers of a family, until it fails."""

    def __init__(self, section: TrackingSection, runs: Path, strict: bool):
        self.uri: str | None = None
        self.experiment: str | None = None
        self._client: Any = None  # `MlflowClient`, until one is opened
        self._strict = strict
        if not section.enabled:
            return
        try:
            from mlflow import MlflowClient
        except ImportError:
            message = "MLflow is not installed: pip install 'keras-vitser[track]'"
            if strict:
                raise TrackingError(message) from None
            log.warning("the run is not tracked, as %s, or set tracking.enabled to false", message)
            return
        uri = self.uri = section.uri or f"{_SQLITE}{runs.resolve() / 'mlflow.db'}"
        self._client = MlflowClient
        opened = self.do(lambda client: _opened(client, uri, section, runs))
        if opened is not None:
            self._client, self.experiment = opened

    def do(self, task: Callable[[Any], Any]) -> Any:
        if self._client is None:
            return None
        try:
            with _settings():
                return task(self._client)
        except Exception as error:
            self._client = None
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            if self._strict:
                raise TrackingError(f"{self.uri}: {reason}") from error
            log.warning("tracking stopped, and the run goes on (%s)", reason)
            return None


def _opened(client_class, uri: str, section: TrackingSection, runs: Path):
    _check_database(uri)
    client = client_class(tracking_uri=uri, registry_uri=uri)
    return client, _experiment(client, section, runs)


@contextmanager
def _settings() -> Iterator[None]:
    """MLflow reads these from the environment, at each request; a user's own values stay."""
    ours = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _check_database(uri: str) -> None:
    """Fails at once where an SQLite file cannot be opened; MLflow tries for two minutes."""
    if uri.startswith(_SQLITE):
        path = Path(uri.removeprefix(_SQLITE))
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version")


def _experiment(client, section: TrackingSection, runs: Path) -> str:
    known = client.get_experiment_by_name(section.experiment)
    if known is not None:
        return known.experiment_id
    # A server has a place of its own for artifacts; a database file has none.
    is_server = (section.uri or "").startswith(("http", "databricks"))
    place = None if is_server else (runs.resolve() / "mlartifacts").as_uri()
    return client.create_experiment(section.experiment, artifact_location=place)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
