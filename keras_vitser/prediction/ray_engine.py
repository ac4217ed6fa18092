"""The same answers from several processes, on this machine or on many, by Ray Data.

Each worker is an actor that loads the model once and then decodes, makes images and predicts.
A worker that dies is started again by Ray, and the clips that it had are given out again; their
rows are taken once.
"""

import json
import logging
import os
import socket
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import keras

from keras_vitser.errors import PredictionError
from keras_vitser.models.model_folder import model_folder
from keras_vitser.prediction.classifier import Classifier
from keras_vitser.prediction.row import Row
from keras_vitser.prediction.stream import BATCH, answered, telling_of_unheard

_CHUNK = 2 * BATCH  # clips that a worker is given at a time, and that are lost with it
_WINDOW = 1600  # chunks that Ray holds at a time; between two windows the workers start anew
_OBJECT_STORE = 256 * 1024 * 1024  # bytes
_SETTINGS = {  # of Ray, which reads them as it is imported and started
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a Ray that is started here listens at 127.0.0.1 alone, on any system
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_ADDRESS = "RAY_ADDRESS"  # Ray's own variable: a cluster that runs already


def ray_stream(
    model: str | os.PathLike,
    paths: Iterable[str],
    *,
    folder: str | os.PathLike = "",
    start: int = 0,
    workers: int | None = None,
    skip_silence: bool = False,
) -> Iterator[Row]:
    """`predict_stream` by actors of Ray Data; the rows come in the order of the paths.

    Where `RAY_ADDRESS` is set, the cluster there is used: its machines must have this package and
    read the model and the recordings under the same paths. Else Ray is started on this machine, with
    one CPU a worker, without its dashboard and without usage statistics, and ended with the last row.

    Args:
        model: The model folder.
        paths: Paths of sound files.
        folder: Where relative paths begin. Defaults to the working folder.
        start: Int, a multiple of 32: how many recordings were answered before.
        workers: Positive int. Defaults to one a CPU.
        skip_silence: As in `predict_stream`.

    Yields:
        A `Row` a path. At the end, the warnings of `predict_stream`.

    Raises:
        ModelFolderError: The folder is no model.
        PredictionError: Ray is not installed, cannot be started, or gave up.

    Example:
        >>> rows = ray_stream("runs/RUN/model", ["a.wav"], workers=2)  # Ray starts when the first row is asked for
        >>> rows.close()
    """
    model = model_folder(model).absolute()
    seconds = Classifier.load(model).front_end.clip_seconds  # a model that is none is refused before Ray starts
    with _running(workers) as (ray, count):
        try:
            listener = (str(model), str(Path(folder).absolute()), skip_silence)
            yield from telling_of_unheard(_rows(ray, count, listener, paths, start), seconds, skip_silence)
        except ray.exceptions.RayError as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise PredictionError(f"Ray gave up: {said[-1]}") from error


class Listener:
    """The actor: a model that was loaded once.

    Args:
        model: The model folder.
        folder: Where relative paths begin.
        skip_silence: As in `predict_stream`.
    """

    def __init__(self, model: str, folder: str, skip_silence: bool):
        self._model = Classifier.load(model)
        self._folder, self._skip_silence = folder, skip_silence

    def __call__(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Answers one chunk; paths and rows are JSON, which keeps names that are no UTF-8."""
        (start,), (paths,) = chunk["start"], chunk["paths"]
        rows = answered(self._model, json.loads(paths), self._folder, int(start), self._skip_silence)
        return {"start": [int(start)], "rows": [json.dumps([asdict(row) for row in rows])]}


def _rows(ray, workers: int, listener: tuple, paths: Iterable[str], start: int) -> Iterator[Row]:
    """The rows of actors that are each `Listener(*listener)`."""
    chunks = _chunks(paths, start)
    while window := list(islice(chunks, _WINDOW)):
        chunks_of_rows = ray.data.from_items(window, override_num_blocks=len(window)).map_batches(
            Listener,
            batch_size=1,
            fn_constructor_args=listener,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
            num_cpus=1,
            runtime_env={"env_vars": _environment()},
        )
        chunks_of_rows.context.execution_options.preserve_order = True
        chunks_of_rows.context.enable_progress_bars = False
        for chunk, answers in zip(window, chunks_of_rows.iter_rows(), strict=True):
            if chunk["start"] != answers["start"]:
                raise PredictionError(f"Ray gave clip {answers['start']} for clip {chunk['start']}; start again")
            yield from map(_row, json.loads(answers["rows"]))


def _chunks(paths: Iterable[str], start: int) -> Iterator[dict[str, Any]]:
    paths = map(str, paths)
    while chunk := list(islice(paths, _CHUNK)):
        yield {"start": start, "paths": json.dumps(chunk)}
        start += len(chunk)


def _row(values: dict[str, Any]) -> Row:
    return Row(**values | {"probabilities": tuple(values["probabilities"])})


def _environment() -> dict[str, str]:
    """A worker computes on one thread: as many run as there are CPUs."""
    threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")
    return {"KERAS_BACKEND": keras.backend.backend(), "TF_CPP_MIN_LOG_LEVEL": "2", **dict.fromkeys(threads, "1")}


@contextmanager
def _running(workers: int | None) -> Iterator[tuple[Any, int]]:
    """Ray, and the number of workers; what was started here is ended here."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise PredictionError("Ray Data is not installed: pip install 'keras-vitser[ray]'") from None
    is_ours = not ray.is_initialized()
    if is_ours:
        _start(ray, workers)
    try:
        yield ray, workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        if is_ours:
            ray.shutdown()


def _start(ray, workers: int | None) -> None:
    settings = {"logging_level": "ERROR", "log_to_driver": False}
    if _ADDRESS in os.environ:
        _check_address(os.environ[_ADDRESS])
    else:
        settings |= {
            "address": "local",
            "num_cpus": workers,
            "num_gpus": 0,
            "object_store_memory": _OBJECT_STORE,
            "include_dashboard": False,
        }
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # JAX's, of the processes that Ray starts
            ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise PredictionError(f"Ray cannot be started: {' '.join(str(error).split())[:300]}") from None


def _check_address(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():  # "auto", "local"
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise PredictionError(f"no Ray answers at {_ADDRESS}={address} ({error}); start one, or unset it") from None
