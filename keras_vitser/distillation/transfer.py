"""The paper's stages (b) and (c) one after the other (paper 1: Kim and Lee 2024), resumable at any moment."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_vitser.distillation.distiller import Distiller
from keras_vitser.distillation.feature_cache import without_keys
from keras_vitser.distillation.matches import Match
from keras_vitser.distillation.taught import Taught
from keras_vitser.errors import DistillationError, DivergedError
from keras_vitser.training.checkpoints import Checkpoints, restore, shapes_digest, state_of, weights_digest
from keras_vitser.training.divergence import FiniteLosses
from keras_vitser.training.epochs import epochs_of
from keras_vitser.training.recipe import halving_schedule
from keras_vitser.training.resumable_fit import resumable_fit

_AT_START = "the weights that the stage began with, or the data, are to blame"
_LOWER = "take a lower `learning_rate` and the student's weights of before"
_GO_ON = "the same call with a lower `learning_rate` goes on from the last finite checkpoint"
_UNKNOWN_ORDER = (
    "the order of a %s cannot be restored: checkpoints fall on epoch ends, and a resumed job may see its examples in "
    "another order; give arrays, a PyDataset, or a callable from epoch to dataset"
)
_REFUSED = {
    "x": "the data is `ds`",
    "y": "give `ds` as (x, y) or as batches of (x, y)",
    "sample_weight": "give `ds` as (x, y, sample_weight) or as batches of it",
    "epochs": "set matching_epochs and tuning_epochs",
    "initial_epoch": "a job is resumed by its `checkpoints`",
    "shuffle": "arrays are shuffled by `seed`, and other data keeps its own order",
    "validation_split": "give validation_data",
}

log = logging.getLogger(__name__)


def transfer(
    teacher: keras.Model | Taught,
    student: keras.Model,
    ds: Any,
    *,
    matching_epochs: int = 50,
    tuning_epochs: int = 50,
    alpha: float = 10.0,
    learning_rate: float = 1e-4,
    optimizer: Callable[[float], keras.optimizers.Optimizer] = keras.optimizers.Adam,
    batch_size: int = 32,
    seed: int = 0,
    matches: Sequence[Match] | None = None,
    checkpoints: str | os.PathLike | None = None,
    save_interval: float = 60.0,
    **fit_arguments: Any,
) -> dict[str, keras.callbacks.History]:
    """Teaches a student: first its features alone (b), then labels and features together (c).

    Each stage has an optimizer of its own, its rate halved every 10 epochs. What a projection
    between features of different widths learned in stage (b) goes on in stage (c).

    With `checkpoints` the job can be killed at any moment: the same call in a new process, with a
    newly built student of whatever weights, goes on from the newest checkpoint, trains on the
    batches after it again, and ends with the weights and histories of a job that was not killed,
    bit by bit where the backend computes the same twice. Once the job is done, the same call
    restores the student and returns at once. The state of your own callbacks, such as the patience of
    an `EarlyStopping`, is restored only where they have the methods `get_state()`, which returns a list of
    arrays, and `set_state(arrays)`.

    A stage that diverges stops there, by an error. With `checkpoints` the same call then repeats the error without
    training, and with a lower `learning_rate` it goes on from the last finite state; stages that are done stay.

    Args:
        teacher: `keras.Model`, trained, never changed; or a `Taught`, for data with `x` as it says.
        student: `keras.Model` that returns logits. Trained in place.
        ds: The data, of one of four kinds:
            a tuple of arrays `(x, y)` or `(x, y, sample_weight)`, where `x` may be a dict or list of
            arrays, shuffled anew each epoch by `np.random.default_rng((seed, epoch))`;
            a `keras.utils.PyDataset`, in its own order, with `on_epoch_begin` and `on_epoch_end` called
            once an epoch, and also, without reading, for the epochs before a resumption: it must
            stand at its start when it is given;
            a callable that takes the epoch, counted from 0 to `matching_epochs + tuning_epochs - 1`,
            and returns its batches as a new `tf.data.Dataset`, list, generator or `PyDataset` (whose
            `on_epoch_begin` and `on_epoch_end` are not called): the same batches whenever it is
            called with the same epoch, and as many in each. It is called more than once an
            epoch where the batches have no known number, or are read again;
            or anything else that `keras.Model.fit` takes, as a `tf.data.Dataset`: its order cannot be
            restored, so checkpoints fall on epoch ends, and a warning is logged.
        matching_epochs: Int of at least 0, epochs of stage (b). Defaults to 50.
        tuning_epochs: Int of at least 0, epochs of stage (c). Defaults to 50.
        alpha: Float of at least 0, weight of the feature loss in stage (c). Defaults to 10.
        learning_rate: Positive float, of both stages. Defaults to 1e-4.
        optimizer: Callable that takes the learning rate and returns the optimizer of a stage, for
            instance `functools.partial(keras.optimizers.Adam, gradient_accumulation_steps=4)`. Defaults
            to `keras.optimizers.Adam`.
        batch_size: Positive int, for arrays; other data brings its own batches, and this is not
            used. Defaults to 32.
        seed: Int of at least 0, of the order of arrays; not used for other data. Defaults to 0.
        matches: List of `Match`, as for `Distiller`.
        checkpoints: Path of a folder of this job alone, where the newest two states of each stage are kept, each
            in one file. Defaults to `None`: nothing is saved.
        save_interval: Float of at least 0, seconds of training between two checkpoints; one is also
            written at the start and the end of each stage. 0 saves each step. Defaults to 60.
        **fit_arguments: For `Distiller.fit` in both stages (`verbose`, `callbacks`, `class_weight`,
            `cache_teacher`, ...), but `validation_data` in stage (c) alone. `steps_per_epoch` only
            for data whose order cannot be restored.

    Returns:
        Dict of the two `keras.callbacks.History`: `{"matching": ..., "student": ...}`, complete from the first epoch
        on.

    Raises:
        DistillationError: The two networks cannot work together, an argument is out of its range, or a label that
            stage (c) is to learn is beyond the classes or no number; labels are looked at in stage (b) already.
        DivergedError: A loss or a weight is NaN or infinite. The student's weights are then of no use.
        CheckpointError: The checkpoints in the folder are of another job, or all damaged, or cannot be written.

    Example:
        >>> import numpy as np
        >>> networks = [
        ...     keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)]) for _ in range(2)
        ... ]
        >>> arrays = np.ones((6, 3), "float32"), np.array([0, 1, 0, 1, 0, 1])
        >>> histories = transfer(*networks, arrays, matching_epochs=1, tuning_epochs=2, batch_size=2, verbose=0)
        >>> len(histories["student"].history["loss"])
        2
    """
    epochs = {"matching": matching_epochs, "student": tuning_epochs}
    data = epochs_of(ds, batch_size, seed)
    _check(epochs, optimizer, save_interval, fit_arguments, data)
    distillers = {
        "matching": Distiller(teacher, student, alpha=1.0, label_weight=0.0, matches=matches),
        "student": Distiller(teacher, student, alpha=alpha, matches=matches),
    }
    for distiller in distillers.values():
        distiller.compile(optimizer(learning_rate))
        distiller.optimizer.build(distiller.trainable_variables)
    check = distillers["student" if tuning_epochs else "matching"].data_check()
    if data is not None:
        data.check = check
    if isinstance(ds, tuple):
        check.batch(ds)
    elif data is None:
        ds = check.data(ds)
    if fit_arguments.get("validation_data") is not None and tuning_epochs:
        check.validation_data(fit_arguments["validation_data"])
    stores: dict[str, Checkpoints | None] = dict.fromkeys(epochs)
    if checkpoints is not None:
        of_arrays = isinstance(ds, tuple)
        job = {
            "matching_epochs": matching_epochs,
            "tuning_epochs": tuning_epochs,
            "alpha": alpha,
            "learning_rate": learning_rate,
            "optimizer": without_keys(
                keras.optimizers.serialize(distillers["student"].optimizer), ("name", "learning_rate")
            ),
            "batch_size": batch_size if of_arrays else None,
            "seed": seed if of_arrays else None,
            "data": "other" if data is None else data.description,
            "class_weight": fit_arguments.get("class_weight"),
            "matches": matches and [keras.saving.serialize_keras_object(match) for match in matches],
            "teacher": _identity(teacher),
            "student": shapes_digest(student),
            "backend": keras.backend.backend(),
        }
        stores = {stage: Checkpoints(checkpoints, stage, job, save_interval, learning_rate) for stage in epochs}
        if data is None:
            log.warning(_UNKNOWN_ORDER, type(ds).__name__)
    histories = {}
    for stage, distiller in distillers.items():
        if stage == "student":
            restore(distiller, state_of(distillers["matching"]), ["model"])
        callbacks = [halving_schedule(learning_rate), FiniteLosses(stage)]
        try:
            with check.own_words():
                histories[stage] = resumable_fit(
                    distiller,
                    ds if data is None else data,
                    epochs=epochs[stage],
                    earlier_epochs=matching_epochs if stage == "student" else 0,
                    store=stores[stage],
                    callbacks=[*callbacks, *keras.tree.flatten(fit_arguments.get("callbacks") or [])],
                    **_arguments_of(stage, fit_arguments),
                )
        except DivergedError as error:
            raise error.advising(_advice(error, stores[stage])) from None
    return histories


def _identity(teacher):
    """What a checkpoint belongs to."""
    if isinstance(teacher, Taught):
        return f"stored outputs {teacher.get_config()}"
    return f"weights of SHA-256 {weights_digest(teacher)}"


def _advice(error, store):
    if error.learning_rate is None:
        return _AT_START
    return _LOWER if store is None else _GO_ON


def _check(epochs, optimizer, save_interval, fit_arguments, data):
    for stage, count in zip(("matching", "tuning"), epochs.values(), strict=True):
        if not isinstance(count, int) or count < 0:
            raise DistillationError(f"`{stage}_epochs` must be an int of at least 0. Received: {count!r}")
    if not callable(optimizer):
        raise DistillationError(
            "`optimizer` must be called with the learning rate and return an optimizer, a new one for each stage, as "
            f"keras.optimizers.Adam does. Received: {optimizer!r}"
        )
    if not save_interval >= 0:
        raise DistillationError(f"`save_interval` must be seconds, at least 0. Received: {save_interval!r}")
    refused = _REFUSED if data is None else {**_REFUSED, "steps_per_epoch": "an epoch is all of `ds`"}
    for name in fit_arguments:
        if name in refused:
            raise DistillationError(f"transfer does not take `{name}`: {refused[name]}")


def _arguments_of(stage, fit_arguments):
    left_out = {"callbacks", "validation_data"} if stage == "matching" else {"callbacks"}
    return {name: value for name, value in fit_arguments.items() if name not in left_out}
