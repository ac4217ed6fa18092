"""The whole state of a training in one file, which is there whole or not at all."""

import hashlib
import json
import logging
import os
import re
import textwrap
import time
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
from keras import ops

from keras_vitser.errors import CheckpointError, DivergedError
from keras_vitser.files import whole_file
from keras_vitser.training.divergence import Divergence, add_divergence, divergences

_FORMAT = 1
_KEPT = 2  # should the newest be damaged, there is one before it
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile)

_State = dict[str, list[np.ndarray]]  # by group: "model", "optimizer", "metrics", and one a callback

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: Int, epochs that have ended.
        step: Int, batches of the epoch after them that were trained on.
        batches: Int, batches of an epoch, or `None` where that is not known.
        logs: The logs of the ended epochs.
        done: Bool, whether all is over.

    Example:
        >>> Progress(epoch=3, step=17).done
        False
    """

    epoch: int = 0
    step: int = 0
    batches: int | None = None
    logs: list[dict] = field(default_factory=list)
    done: bool = False


class Checkpoints:
    """The newest states of one training, in a folder.

    A state is the model that is trained, the optimizer, the metrics, callbacks that have a state, and the
    progress; of a training that is done the model alone. All variables are kept bit by bit. The two newest states
    stay, as `NAME-000001.npz` and so on.

    Args:
        folder: Path; it is made where it is missing. Of one process at a time.
        name: Str, what the training is called.
        job: Dict of JSON values, the settings that a state belongs to.
        interval: Float of at least 0, seconds after a save until the next is due. Defaults to 0.
        learning_rate: Float, the training's setting. Where a stage of this folder diverged with another one, states
            of jobs that differ in their `learning_rate` alone are taken up. Defaults to `None`.

    Raises:
        CheckpointError: The path is a file, or the folder cannot be made.

    Example:
        >>> import tempfile
        >>> Checkpoints(tempfile.mkdtemp(), "matching", {"seed": 0}).load() is None
        True
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        name: str,
        job: dict[str, Any],
        interval: float = 0.0,
        learning_rate: float | None = None,
    ):
        self.folder = Path(folder)
        self.name = name
        self.learning_rate = learning_rate
        self.job = _plain(job)
        self._interval = interval
        self._saved = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for part in self.folder.glob(".part-*.npz"):
                part.unlink(missing_ok=True)  # of a process that was killed while it wrote
        except (FileExistsError, NotADirectoryError):
            raise CheckpointError(f"checkpoints need a folder. Received: {folder}, which is a file") from None
        except OSError as error:
            raise CheckpointError(f"{folder}: cannot be written ({error.strerror}); give another folder") from None

    @property
    def is_due(self) -> bool:
        """Whether the last save is long enough ago."""
        return time.monotonic() - self._saved >= self._interval

    def save(self, progress: Progress, model: keras.Model, callbacks: Iterable[Any] = ()) -> None:
        """Writes the state.

        Args:
            progress: `Progress`.
            model: The compiled model that is trained.
            callbacks: Those whose `get_state` gives a list of arrays.

        Raises:
            CheckpointError: It cannot be written; the states before it are still there.
        """
        groups = state_of(model)
        if progress.done:
            groups = {"model": groups["model"]}
        else:
            groups |= {f"callback{place}": callback.get_state() for place, callback in enumerate(callbacks)}
        head = {
            "format": _FORMAT,
            "job": self.job,
            "progress": asdict(progress),
            "counts": {group: len(arrays) for group, arrays in groups.items()},
        }
        text = json.dumps(head, default=_plain_value).encode()
        arrays: dict[str, Any] = {
            f"{group}_{place}": array for group in groups for place, array in enumerate(groups[group])
        }
        known = self._numbers()
        path = self._path(max(known, default=0) + 1)
        try:
            with whole_file(path) as part:
                np.savez(part, head=np.frombuffer(text, np.uint8), **arrays)
            for number in known[: -_KEPT + 1]:
                self._path(number).unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be written ({error.strerror or error}); what was saved before is whole: make room "
                "or mend the folder, and go on from there"
            ) from error
        self._saved = time.monotonic()
        log.debug("saved %s at epoch %d, step %d", self.name, progress.epoch, progress.step)

    def add_divergence(self, error: DivergedError, proven: tuple[int, int]) -> None:
        """Writes down that the training diverged; its newest state stays only where it is known to give a finite loss.

        Args:
            error: The `DivergedError`.
            proven: Pair of ints, epochs and steps of the newest state that gave one.

        Raises:
            CheckpointError: It cannot be written.
        """
        numbers = self._numbers()
        try:
            if len(numbers) > 1 and self._newest_place() > proven:
                self._path(numbers[-1]).unlink()
            epoch = cast(int, error.epoch)  # `FiniteLosses` says it
            stop = Divergence(
                self.name, self.learning_rate, str(error), epoch, error.learning_rate, *self._newest_place()
            )
            add_divergence(self.folder, stop)
        except OSError as problem:
            raise CheckpointError(
                f"{self.folder} cannot be written ({problem.strerror or problem}): make room or mend the folder"
            ) from problem

    @property
    def divergence(self) -> Divergence | None:
        """The `Divergence` of this training with this learning rate, or `None`."""
        own = (row for row in divergences(self.folder) if row.stage == self.name)
        return next((row for row in own if row.learning_rate == self.learning_rate), None)

    def keep_newest(self) -> None:
        """Removes all states but the newest."""
        for number in self._numbers()[:-1]:
            self._path(number).unlink(missing_ok=True)

    def load(self) -> tuple[Progress, _State] | None:
        """Reads the newest whole state.

        Returns:
            `(Progress, state)`, the latter as `state_of` gives it and with the states of callbacks, or `None` where
            nothing was saved yet.

        Raises:
            CheckpointError: The state is of another job, or every file is damaged or is no checkpoint.
        """
        unreadable = []
        for number in reversed(self._numbers()):
            path = self._path(number)
            try:
                head, state = self._read(path)
            except _UNREADABLE as error:
                unreadable.append(f"{path} is damaged, or is no checkpoint ({type(error).__name__}: {error})")
                continue
            if _holds_nan(state):
                unreadable.append(f"{path} holds numbers that are NaN")
                continue
            if not self._is_own(head["job"]):
                raise CheckpointError(
                    f"{path} is the checkpoint of another job: {_differences(head['job'], self.job)}; take up that "
                    "one with the settings of before, or give another folder"
                )
            for problem in unreadable:
                log.warning("%s; going on from the one before it", problem)
            return Progress(**head["progress"]), state
        if unreadable:
            raise CheckpointError(f"{'; '.join(unreadable)}; delete it to start anew, or give another folder")
        return None

    def _newest_place(self) -> tuple[int, int]:
        progress, _ = self.load() or (Progress(), None)
        return progress.epoch, progress.step

    def _is_own(self, job):
        """Whether a job is this one, but for a learning rate with which a stage diverged."""
        diverged = [row.learning_rate for row in divergences(self.folder)]
        if job == self.job or job.get("learning_rate") not in diverged:
            return job == self.job
        return job | {"learning_rate": None} == self.job | {"learning_rate": None}

    def _path(self, number):
        return self.folder / f"{self.name}-{number:06}.npz"

    def _numbers(self):
        matches = (
            re.fullmatch(rf"{re.escape(self.name)}-(\d{{6,}})\.npz", path.name) for path in self.folder.iterdir()
        )
        return sorted(int(match[1]) for match in matches if match)

    @staticmethod
    def _read(path):
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            if head["format"] != _FORMAT:
                raise ValueError(f"format {head['format']}, and {_FORMAT} is read here")
            Progress(**head["progress"])
            head["job"].items()
            return head, {
                group: [arrays[f"{group}_{place}"] for place in range(count)] for group, count in head["counts"].items()
            }


def state_of(model: keras.Model) -> _State:
    """Copies all that training changes.

    Args:
        model: A compiled `Distiller`, whose teacher is left out, or any other compiled `keras.Model`.

    Returns:
        Dict of three lists of NumPy arrays, `"model"`, `"optimizer"` and `"metrics"`.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile("sgd")
        >>> [array.shape for array in state_of(model)["model"]]
        [(3, 2), (2,)]
    """
    return {group: [_exact(variable) for variable in variables] for group, variables in _variables(model).items()}


def restore(model: keras.Model, state: _State, groups: Iterable[str] = ("model", "optimizer")) -> None:
    """Gives a model the values of a state.

    Args:
        model: A compiled model whose optimizer is built.
        state: As `state_of` gives it.
        groups: Which of its lists.

    Raises:
        CheckpointError: The variables are of other shapes.
    """
    own = _variables(model)
    for group in groups:
        shapes = [tuple(variable.shape) for variable in own[group]]
        found = [array.shape for array in state[group]]
        if shapes != found:
            raise CheckpointError(
                f"the checkpoint does not fit: its {group} variables have the shapes {_short(found)}, and here they "
                f"have {_short(shapes)}; give another folder"
            )
    for group in groups:
        for variable, array in zip(own[group], state[group], strict=True):
            variable.assign(array)


def not_finite(model: keras.Model) -> list[keras.Variable]:
    """The variables of a model that hold a number that is not finite.

    Of variables that are not trained only NaN counts: the ends of a range, or a mask, may be infinite. The learning
    rate is no result of training.

    Args:
        model: A compiled `keras.Model` whose optimizer is built; of a `Distiller` the teacher is left out.

    Returns:
        List of `keras.Variable`: those of the model, then those of its optimizer.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd")
        >>> not_finite(model)
        []
        >>> model.set_weights([np.ones((1, 1)), np.array([np.inf])])
        >>> [variable.name for variable in not_finite(model)]
        ['bias']
    """
    groups = _variables(model)
    learned = {id(variable) for variable in (*model.trainable_variables, *groups["optimizer"])}
    return [
        variable
        for variable in (*groups["model"], *groups["optimizer"])
        if variable.name != "learning_rate" and not _is_finite(_exact(variable), id(variable) in learned)
    ]


def weights_digest(model: keras.Model) -> str:
    """SHA-256 of a model's weights, 64 hexadecimal digits.

    Args:
        model: A built `keras.Model`.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> len(weights_digest(model))
        64
    """
    digest = hashlib.sha256()
    for variable in model.weights:
        array = _exact(variable)
        digest.update(f"{variable.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def shapes_digest(model: keras.Model) -> str:
    """The shapes and dtypes of a model's variables in a few words.

    Args:
        model: A built `keras.Model`.

    Example:
        >>> import keras
        >>> shapes_digest(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])).split(", ")[0]
        '2 variables'
    """
    shapes = [[list(variable.shape), variable.dtype] for variable in model.variables]
    digest = hashlib.sha256(json.dumps(shapes).encode()).hexdigest()
    return f"{len(shapes)} variables, {model.count_params()} parameters, shapes and dtypes {digest[:12]}"


def _variables(model):
    optimizer, metrics = model.optimizer.variables, model.metrics_variables
    teacher = getattr(model, "teacher", None)
    untrained = teacher.variables if isinstance(teacher, keras.Model) else []
    others = {id(variable) for variable in [*untrained, *optimizer, *metrics]}
    return {
        "model": [variable for variable in model.variables if id(variable) not in others],
        "optimizer": optimizer,
        "metrics": metrics,
    }


def _is_finite(array, is_learned):
    return array.dtype.kind != "f" or not (~np.isfinite(array) if is_learned else np.isnan(array)).any()


def _holds_nan(state):
    """Whether training should have stopped before this state, and went on: older versions did."""
    return not all(_is_finite(array, False) for group in ("model", "optimizer") for array in state.get(group, ()))


def _exact(variable):
    """A copy in a dtype of NumPy's own; bfloat16, which its files do not know, as float32, which holds each value."""
    array = np.array(ops.convert_to_numpy(variable.value))
    return array if array.dtype.isbuiltin == 1 else array.astype(np.float32)


def _plain(value):
    """As it comes back out of JSON."""
    return json.loads(json.dumps(value, default=_plain_value))


def _plain_value(value):
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def _differences(old, new):
    old, new = dict(_leaves(old)), dict(_leaves(new))
    names = [name for name in {**old, **new} if (name in old, old.get(name)) != (name in new, new.get(name))]
    return "; ".join(f"{name} was {_said(name, old)} and is {_said(name, new)}" for name in names)


def _leaves(value, name=""):
    """`(dotted name, value)` of everything in nested dicts and lists."""
    if not isinstance(value, dict | list) or not value:
        return [(name, value)]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [leaf for key, part in items for leaf in _leaves(part, f"{name}.{key}" if name else str(key))]


def _said(name, leaves):
    return _short(leaves[name]) if name in leaves else "not given"


def _short(value):
    return textwrap.shorten(json.dumps(value), 120, placeholder=" ...")
