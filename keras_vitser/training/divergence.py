"""Where a training leaves the finite numbers it is stopped, and the folder of its checkpoints says so."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vitser.errors import DivergedError
from keras_vitser.files import strict_json, whole_file

FILE = "diverged.json"
ANSWER = "answer"  # of a training that measures nothing, where it is not finite
_LOGS = {
    "loss": "the loss",
    "val_loss": "the validation loss",
    "validation_loss": "the validation loss",
    ANSWER: "an answer",
}


@dataclass(frozen=True)
class Divergence:
    """One stop of a stage, as the folder of its checkpoints keeps it.

    Attributes:
        stage: Str.
        learning_rate: Float, the setting of the stage.
        message: Str, what the error said.
        in_epoch: Int, counted from 1.
        epoch_rate: Float, the learning rate of that epoch; `None` where the stage began so, and none is to blame.
        epoch: Int, epochs that had ended in the last finite state.
        step: Int, batches of the epoch after them in that state.

    Example:
        >>> Divergence("matching", 1e30, "stage matching diverged", 1, 1e30, epoch=0, step=3).error.epoch
        1
    """

    stage: str
    learning_rate: float | None
    message: str
    in_epoch: int
    epoch_rate: float | None
    epoch: int
    step: int

    @property
    def error(self) -> DivergedError:
        """The `DivergedError` again."""
        return DivergedError(self.message, self.stage, self.in_epoch, self.epoch_rate)


def divergences(folder: str | os.PathLike) -> list[Divergence]:
    """What a folder of checkpoints keeps of stages that diverged, the newest last.

    Args:
        folder: Path.

    Returns:
        List of `Divergence`.

    Example:
        >>> divergences("no/folder")
        []
    """
    path = Path(folder) / FILE
    return [Divergence(**row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []


def add_divergence(folder: str | os.PathLike, divergence: Divergence) -> None:
    """Writes one more down; the file is whole at any moment."""
    rows = [asdict(row) for row in (*divergences(folder), divergence)]
    with whole_file(Path(folder) / FILE) as part:
        part.write_text(strict_json(rows, indent=1) + "\n", encoding="utf-8")


class FiniteLosses(keras.callbacks.Callback):
    """Ends a training by an error at its first loss that is not finite.

    It looks at what Keras brings to the host for its own progress bar, in Keras' thread where all other callbacks
    allow that: no step waits for it. There it may see a loss some steps late, and never misses one, as the losses
    of an epoch are a running mean. Comes after what sets the learning rate and what adds a validation loss.

    Args:
        stage: Str, what the training is called, or `None`.

    Example:
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((4, 3), "float32"), np.full((4, 2), np.inf, "float32")
        >>> model.fit(x, y, verbose=0, callbacks=[FiniteLosses("teacher")])
        Traceback (most recent call last):
        ...
        keras_vitser.errors.DivergedError: stage teacher diverged: its first loss, before any step, is inf
    """

    def __init__(self, stage: str | None = None):
        super().__init__()
        self.async_safe = True  # to Keras: its thread may call
        self.stage = stage
        self.proven = (-1, 0)  # epochs and steps of the newest state that is known to give a finite loss
        self._epoch = 0
        self._learning_rate: float | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._learning_rate = float(f"{rate:.6g}")  # as it was given: the optimizer has it in 32 bits

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            is_first = (self._epoch, batch) == (0, 0)
            raise self._error_at_start(loss) if is_first else self.error(_LOGS["loss"], f"{loss:g}")
        self.proven = max(self.proven, (self._epoch, batch))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name, words in _LOGS.items():
            value = (logs or {}).get(name, 0.0)
            if not np.isfinite(value):
                raise self.error(words, f"{value:g}")

    def error(self, what: str, value: str = "not finite") -> DivergedError:
        """The error that says so of a loss or a variable, with stage, epoch and learning rate."""
        epoch, rate = self._epoch + 1, self._learning_rate
        message = f"{self._head}: {what} of epoch {epoch} is {value}"
        return DivergedError(
            message + ("" if rate is None else f", at learning rate {rate:g}"), self.stage, epoch, rate
        )

    def _error_at_start(self, loss):
        return DivergedError(f"{self._head}: its first loss, before any step, is {loss:g}", self.stage, 1)

    @property
    def _head(self):
        return f"stage {self.stage} diverged" if self.stage else "the training diverged"
