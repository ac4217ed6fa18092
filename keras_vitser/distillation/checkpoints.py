"""The whole state of a transfer in one file, which is there whole or not at all."""

import hashlib
import json
import logging
import os
import textwrap
import time
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from keras import ops

from keras_vitser.errors import DistillationError
from keras_vitser.files import whole_file

FILE = "transfer.npz"
DONE = "done"
_FORMAT = 1

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a transfer has come.

    Attributes:
        stage: Name of the stage, or `DONE`.
        epoch: Int, epochs of this stage that have ended.
        step: Int, batches of the epoch after them that were trained on.
        passes: Int, epochs of all stages that have ended.
        batches: Int, batches of an epoch, or `None` where that is not known.
        logs: For each stage a list of the logs of its ended epochs.

    Example:
        >>> Progress("matching", epoch=3, step=17).epoch
        3
    """

    stage: str
    epoch: int = 0
    step: int = 0
    passes: int = 0
    batches: int | None = None
    logs: dict[str, list[dict]] = field(default_factory=dict)


class Checkpoints:
    """The newest state of one job, in a folder.

    A state is the student, what the Distiller adds to it, the optimizer, the metrics, and the progress.
    All variables are kept bit by bit.

    Args:
        folder: Path; it is made where it is missing.
        job: Dict of JSON values, the settings that a state belongs to.
        interval: Float of at least 0, seconds after a save until the next is due. Defaults to 0.

    Raises:
        DistillationError: The path is a file.

    Example:
        >>> import tempfile
        >>> Checkpoints(tempfile.mkdtemp(), {"seed": 0}).load() is None
        True
    """

    def __init__(self, folder, job, interval=0.0):
        self.path = Path(folder) / FILE
        self._interval = interval
        self._saved = time.monotonic()
        self.job = _plain(job)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise DistillationError(f"`checkpoints` must be a folder. Received: {folder}, which is a file") from None
        for part in self.path.parent.glob(f".part-*{self.path.suffix}"):
            part.unlink(missing_ok=True)  # of a process that was killed while it wrote

    @property
    def is_due(self):
        """Whether the last save is long enough ago."""
        return time.monotonic() - self._saved >= self._interval

    def save(self, progress, distiller):
        """Writes the state.

        Args:
            progress: `Progress`.
            distiller: The `Distiller` of its stage.

        Raises:
            OSError: The folder cannot be written to; the state before it is still there.
        """
        groups = state_of(distiller)
        head = {
            "format": _FORMAT,
            "job": self.job,
            "progress": asdict(progress),
            "counts": {group: len(arrays) for group, arrays in groups.items()},
        }
        text = json.dumps(head, default=_plain_value).encode()
        arrays = {f"{group}_{place}": array for group in groups for place, array in enumerate(groups[group])}
        with whole_file(self.path) as part:
            np.savez(part, head=np.frombuffer(text, np.uint8), **arrays)
        self._saved = time.monotonic()
        log.debug("saved stage %s at epoch %d, step %d", progress.stage, progress.epoch, progress.step)

    def load(self):
        """Reads the state.

        Returns:
            `(Progress, state)`, the latter as `state_of` gives it, or `None` where nothing was saved yet.

        Raises:
            DistillationError: The file is of another job, is damaged, or is no checkpoint of a transfer.
        """
        try:
            head, state = self._read()
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise DistillationError(
                f"{self.path} is damaged, or is no checkpoint of a transfer ({type(error).__name__}: {error}); delete "
                "it to start anew, or give another folder as `checkpoints`"
            ) from error
        if head["job"] != self.job:
            raise DistillationError(
                f"{self.path} is the checkpoint of another job: {_differences(head['job'], self.job)}; give another "
                "folder as `checkpoints`, or the settings of before"
            )
        return Progress(**head["progress"]), state

    def _read(self):
        with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            if head["format"] != _FORMAT:
                raise ValueError(f"format {head['format']}, and {_FORMAT} is read here")
            Progress(**head["progress"])
            head["job"].items()
            return head, {
                group: [arrays[f"{group}_{place}"] for place in range(count)] for group, count in head["counts"].items()
            }


def state_of(distiller):
    """Copies all that training changes.

    Args:
        distiller: A compiled `Distiller`.

    Returns:
        Dict of three lists of NumPy arrays, `"model"`, `"optimizer"` and `"metrics"`.

    Example:
        >>> import keras
        >>> from keras_vitser.distillation import Distiller
        >>> dense = keras.layers.Dense
        >>> networks = [keras.Sequential([keras.Input((3,)), dense(4), dense(2)]) for _ in range(2)]
        >>> distiller = Distiller(*networks)
        >>> distiller.compile()
        >>> [array.shape for array in state_of(distiller)["model"]]
        [(3, 4), (4,), (4, 2), (2,)]
    """
    return {group: [_exact(variable) for variable in variables] for group, variables in _variables(distiller).items()}


def restore(distiller, state, groups=("model", "optimizer")):
    """Gives a distiller the values of a state.

    Args:
        distiller: A compiled `Distiller` whose optimizer is built.
        state: As `state_of` gives it.
        groups: Which of its lists.

    Raises:
        DistillationError: The variables are of other shapes.
    """
    own = _variables(distiller)
    for group in groups:
        shapes = [tuple(variable.shape) for variable in own[group]]
        found = [array.shape for array in state[group]]
        if shapes != found:
            raise DistillationError(
                f"the checkpoint does not fit: its {group} variables have the shapes {_short(found)}, and here they "
                f"have {_short(shapes)}; give another folder as `checkpoints`"
            )
    for group in groups:
        for variable, array in zip(own[group], state[group], strict=True):
            variable.assign(array)


def weights_digest(model):
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


def shapes_digest(model):
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


def _variables(distiller):
    optimizer, metrics = distiller.optimizer.variables, distiller.metrics_variables
    others = {id(variable) for variable in [*distiller.teacher.variables, *optimizer, *metrics]}
    return {
        "model": [variable for variable in distiller.variables if id(variable) not in others],
        "optimizer": optimizer,
        "metrics": metrics,
    }


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
