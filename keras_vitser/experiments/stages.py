"""How the stages of a run train: by the labels, or by a teacher; and how a network is measured on the way."""

import functools
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_vitser.distillation import Distiller
from keras_vitser.evaluation import score
from keras_vitser.experiments.config import StageSection
from keras_vitser.layers.probability import probabilities
from keras_vitser.training.batches import Batches, Step
from keras_vitser.training.best_epoch import ACCURACY, LOSS, BestWeights
from keras_vitser.training.checkpoints import Checkpoints
from keras_vitser.training.divergence import ANSWER, FiniteLosses
from keras_vitser.training.epochs import epochs_of
from keras_vitser.training.recipe import adam, compile_for_labels, halving_schedule
from keras_vitser.training.resumable_fit import resumable_fit

_PREDICTION_BATCH = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Examples of one part of a split.

    Attributes:
        x: What a network takes: any `keras.tree` structure of arrays `(examples, ...)`.
        labels: Int array `(examples,)`.
    """

    x: Any
    labels: np.ndarray


@dataclass(frozen=True)
class Watcher:
    """Who hears of a stage's progress.

    Attributes:
        epoch: Called with a dict after each epoch (stage, epoch, losses, scores, seconds).
        batch: Called with the stage's name, the batches done and the batches of all its epochs.
        begin: Called with the stage's name and the number of its epochs that had ended before, as training begins or
            goes on.
    """

    epoch: Callable[[dict[str, Any]], None] = lambda row: None
    batch: Callable[[str, int, int], None] = lambda stage, done, total: None
    begin: Callable[[str, int], None] = lambda stage, ended: None


@dataclass(frozen=True)
class Lesson:
    """What a stage trains with.

    Attributes:
        stage: Its name, for progress, checkpoints and messages.
        settings: Epochs, batch size, learning rate.
        train: What is learned from.
        validation: What chooses the epoch.
        seed: Of the order of the examples.
        watcher: Who hears of the progress.
        store: Where its checkpoints are kept. Defaults to nowhere.
        augment: What changes each example, each epoch anew.
    """

    stage: str
    settings: StageSection
    train: Part
    validation: Part
    seed: int
    watcher: Watcher = Watcher()
    store: Checkpoints | None = None
    augment: Sequence[Step] = ()


def train_by_labels(lesson: Lesson, network: keras.Model) -> None:
    """A network learns the labels. It ends with the weights of its best epoch."""
    compile_for_labels(network, lesson.settings.learning_rate, lesson.settings.weight_decay)
    batches = Batches(lesson.train.x, lesson.train.labels, lesson.settings.batch_size, lesson.seed, lesson.augment)
    _fit(lesson, network, batches, BestEpoch(network, lesson.validation, lesson.watcher.batch))


def distil(lesson: Lesson, distiller: Distiller) -> None:
    """A student learns from a teacher; where it learns the labels too, it ends with the weights of its best epoch."""
    student, by_labels = distiller.student, bool(distiller.label_weight)
    if by_labels:
        watching = BestEpoch(student, lesson.validation, lesson.watcher.batch)
    else:  # there is nothing to choose an epoch by
        watching = _Answering(student, _rows(lesson.train.x, slice(_PREDICTION_BATCH)))
    if not lesson.settings.epochs:
        return
    labels = lesson.train.labels if by_labels else None
    batches = Batches(lesson.train.x, labels, lesson.settings.batch_size, lesson.seed, lesson.augment)
    distiller.compile(adam(lesson.settings.learning_rate, lesson.settings.weight_decay))
    # Where the examples stay as they are, the teacher speaks once for all epochs.
    _fit(lesson, distiller, batches, watching, cache_teacher=not lesson.augment)


def in_full_batches(
    network: keras.Model, x: Any, told: Callable[[int, int], None] = lambda done, total: None
) -> np.ndarray:
    """What a network says of examples, float32 `(examples, ...)`; one graph serves all, the last batch too.

    Args:
        network: The network.
        x: What it takes: any structure of arrays `(examples, ...)`.
        told: Called with the batches done and all batches.
    """
    examples = len(keras.tree.flatten(x)[0])
    starts = range(0, examples, _PREDICTION_BATCH)
    answers = []
    for done, start in enumerate(starts, 1):
        rows = _rows(x, slice(start, start + _PREDICTION_BATCH))
        answers.append(network.predict_on_batch(keras.tree.map_structure(_filled, rows)))
        told(done, len(starts))
    return np.concatenate(answers)[:examples].astype(np.float32)


def _filled(array: np.ndarray) -> np.ndarray:
    """A whole batch, its last rows zeros."""
    return np.pad(array, [(0, _PREDICTION_BATCH - len(array)), *[(0, 0)] * (array.ndim - 1)])


def _rows(x: Any, rows: Any) -> Any:
    return keras.tree.map_structure(lambda array: array[rows], x)


class BestEpoch(BestWeights):
    """Measures a network on the validation part after each epoch, and leaves it with its best epoch's weights.

    Adds `validation_weighted_accuracy`, `validation_unweighted_accuracy` and
    `validation_loss` to the epoch's logs, or a `validation_loss` of NaN alone where an answer is not finite.

    Args:
        network: The network that is measured.
        validation: What it is measured on.
        told: Called with `validation`, the batches measured and all batches.
    """

    def __init__(
        self,
        network: keras.Model,
        validation: Part,
        told: Callable[[str, int, int], None] = lambda task, done, total: None,
    ):
        super().__init__(network)
        self._told = functools.partial(told, "validation")
        self._validation = validation

    def measure(self) -> dict[str, float]:
        logits = in_full_batches(self.network, self._validation.x, self._told)
        if not np.isfinite(logits).all():
            return {LOSS: math.nan}
        names = [str(index) for index in range(logits.shape[1])]
        scores = score(self._validation.labels, ops.convert_to_numpy(probabilities(logits)), names)
        return {
            LOSS: scores.log_loss,
            "validation_weighted_accuracy": scores.weighted_accuracy,
            ACCURACY: scores.unweighted_accuracy,
        }


class _Answering(keras.callbacks.Callback):
    """Says in an epoch's logs where answers to some examples are not finite: no loss shows what its last step did."""

    def __init__(self, network: keras.Model, x: Any):
        super().__init__()
        self._network = network
        self._x = x

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(in_full_batches(self._network, self._x)).all():
            logs[ANSWER] = math.nan


class _Clock(keras.callbacks.Callback):
    """Times an epoch's training. Comes before `BestEpoch`, and at the epoch's end, when no step is still under way."""

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self._start


class _Progress(keras.callbacks.Callback):
    """Tells the watcher of batches and epochs. Comes after `BestEpoch`, whose logs it passes on."""

    def __init__(self, stage: str, settings: StageSection, batches: Batches, watcher: Watcher, clock: "_Clock"):
        super().__init__()
        self._clock = clock
        self._stage = stage
        self._batches = len(batches)
        self._total = settings.epochs * len(batches)
        self._clips = len(batches) * len(next(iter(keras.tree.flatten(batches[0]))))
        self._watcher = watcher
        self._epoch: int | None = None
        self._rows: list[dict[str, Any]] = []

    def on_epoch_begin(self, epoch, logs=None):
        if self._epoch is None:
            self._watcher.begin(self._stage, epoch)
        self._epoch = epoch

    def on_teacher_batch_end(self, done, total):
        self._watcher.batch("teacher features", done, total)

    def on_train_batch_end(self, batch, logs=None):
        self._watcher.batch(self._stage, (self._epoch or 0) * self._batches + batch + 1, self._total)

    def on_epoch_end(self, epoch, logs=None):
        seconds = self._clock.seconds
        row = {"stage": self._stage, "epoch": epoch + 1}
        row |= {name: float(value) for name, value in sorted(logs.items())}
        row |= {"seconds": round(seconds, 3), "clips_per_second": round(self._clips / seconds, 2)}
        self._rows.append(row)
        self._watcher.epoch(row)

    def on_train_end(self, logs=None):
        if self._rows:
            # The first epoch holds the compilation; where there are others, they tell the speed.
            rows = self._rows[1:] or self._rows
            rate = self._clips * len(rows) / sum(row["seconds"] for row in rows)
            log.info("stage %s: %d epochs, %.1f clips a second", self._stage, len(self._rows), rate)


def _fit(lesson: Lesson, network: keras.Model, batches: Batches, watching: keras.callbacks.Callback, **kwargs) -> None:
    settings = lesson.settings
    if not settings.epochs:
        return
    clock = _Clock()
    progress = _Progress(lesson.stage, settings, batches, lesson.watcher, clock)
    callbacks = [
        halving_schedule(settings.learning_rate, settings.halve_every),
        clock,
        watching,
        FiniteLosses(lesson.stage),
        progress,
    ]
    data = epochs_of(batches, settings.batch_size, seed=0)
    resumable_fit(network, data, epochs=settings.epochs, store=lesson.store, callbacks=callbacks, verbose=0, **kwargs)
