"""MLflow: the run beside others, in an SQLite file with no server to start.

Only the client is used, so that no global state of MLflow changes and a run of the
user's own that is under way in the same process is left alone. A tracking store that
fails never stops a training: the run folder holds everything.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from keras_vitser.corpora import Split
from keras_vitser.experiments.config import Config

_SQLITE = "sqlite:///"

log = logging.getLogger(__name__)


class Tracker:
    """Logs one run to MLflow, or nowhere.

    Args:
        config: The run's config; `config.tracking` says where.
        runs: Folder of the run folders; the SQLite file lies in it by default.
        name: Name of the run.
    """

    def __init__(self, config: Config, runs: Path, name: str):
        self._client = None
        self._run_id = None
        if not config.tracking.enabled:
            return
        try:
            from mlflow import MlflowClient
        except ImportError:
            log.warning(
                "the run is not tracked, as MLflow is not installed: pip install 'keras-vitser[track]', "
                "or set tracking.enabled to false"
            )
            return
        try:
            uri = config.tracking.uri or f"{_SQLITE}{runs.resolve() / 'mlflow.db'}"
            _check_database(uri)
            client = MlflowClient(tracking_uri=uri)
            run = client.create_run(_experiment(client, config, runs), run_name=name)
        except Exception as error:
            _failed(error)
            return
        self._client, self._run_id = client, run.info.run_id

    def start(self, config: Config, split: Split) -> None:
        """Logs parameters and what the run is measured on."""
        if self._client is None:
            return
        self._try("log_batch", params=_params(config))
        tags = {
            "protocol": split.protocol,
            "leaky": str(split.leaky),
            "split": split.description,
            "corpus.fingerprint": split.corpus.fingerprint,
        }
        for key, value in tags.items():
            self._try("set_tag", key, value)

    def epoch(self, row: dict[str, Any]) -> None:
        """Logs a line of `progress.jsonl`: a metric a stage and number, by epoch."""
        for name, value in row.items():
            if name not in ("stage", "epoch"):
                self._try("log_metric", f"{row['stage']}/{name}", value, step=row["epoch"])

    def end(self, metrics: dict[str, float], folder: Path) -> None:
        """Logs the scores, and as artifacts the run folder's files, figures and model."""
        for name, value in metrics.items():
            self._try("log_metric", name, value)
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            self._try("log_artifact", str(file))
        for name in ("figures", "model"):
            self._try("log_artifacts", str(folder / name), artifact_path=name)
        self._try("set_terminated", "FINISHED")

    def fail(self) -> None:
        """Marks the run as failed."""
        self._try("set_terminated", "FAILED")

    def _try(self, method: str, *args, **kwargs) -> None:
        if self._client is None:
            return
        try:
            getattr(self._client, method)(self._run_id, *args, **kwargs)
        except Exception as error:
            _failed(error)
            self._client = None


def _check_database(uri: str) -> None:
    """Fails at once where an SQLite file cannot be opened; MLflow tries for two minutes."""
    if uri.startswith(_SQLITE):
        path = Path(uri.removeprefix(_SQLITE))
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version")


def _experiment(client, config: Config, runs: Path) -> str:
    name = config.tracking.experiment
    known = client.get_experiment_by_name(name)
    if known is not None:
        return known.experiment_id
    # A server has a place of its own for artifacts; a database file has none.
    is_server = (config.tracking.uri or "").startswith(("http", "databricks"))
    place = None if is_server else (runs.resolve() / "mlartifacts").as_uri()
    return client.create_experiment(name, artifact_location=place)


def _params(config: Config):
    from mlflow.entities import Param

    return [Param(key, str(value)) for key, value in _flat(config.model_dump(by_alias=True))]


def _flat(values: dict[str, Any], prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _failed(error: Exception) -> None:
    log.warning("tracking stopped, and the run goes on (%s: %s)", type(error).__name__, str(error).split("\n")[0])
