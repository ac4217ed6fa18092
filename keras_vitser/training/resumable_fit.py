"""The `fit` of one stage, from any epoch and step on, as if it had run from the start.

Keras' own `fit` starts at the beginning of an epoch. A stage that stopped within one is taken up by a first `fit` of
the rest of that epoch, then one of the others; callbacks see a single training.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import ops

from keras_vitser.errors import DivergedError
from keras_vitser.training.checkpoints import Checkpoints, Progress, not_finite, restore, state_of
from keras_vitser.training.divergence import FiniteLosses
from keras_vitser.training.epochs import Epochs, known_length

FEATURES = "features"

log = logging.getLogger(__name__)


def resumable_fit(
    model: keras.Model,
    ds: Any,
    *,
    epochs: int,
    earlier_epochs: int = 0,
    store: Checkpoints | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    **fit_arguments: Any,
) -> keras.callbacks.History:
    """Trains one stage to its end, from where its newest checkpoint stands.

    A callback is part of a checkpoint where it has two methods, `get_state()`, which returns a list of
    arrays, and `set_state(arrays)`.

    The stage stops where it diverges, and is not trained again with the learning rate of its store.

    Args:
        model: A compiled `Distiller`, or any other compiled `keras.Model`.
        ds: `Epochs`, or what `fit` takes; the latter is resumed only at the beginning of an epoch.
        epochs: Int of at least 0, epochs of the whole stage.
        earlier_epochs: Int of at least 0, epochs that `ds` has counted in the stages before. Defaults to 0.
        store: `Checkpoints`, or `None`.
        callbacks: List of `keras.callbacks.Callback`. A `FiniteLosses` among them names the stage; it has its place
            after what sets the learning rate. Where there is none, one is put last.
        verbose: As for `keras.Model.fit`.
        **fit_arguments: For `fit`. With a store, `cache_teacher=True` keeps the features beside the checkpoints:
            computed again in other batches, they could differ in their last bits.

    Returns:
        `keras.callbacks.History` from epoch 0 on.

    Raises:
        DistillationError: The data ended early, or went on.
        DivergedError: A loss, or a weight in a checkpoint or at the end, is not finite; or the stage diverged before.
        CheckpointError: A checkpoint cannot be written, is damaged, or is of another training.

    Example:
        >>> import numpy as np
        >>> from keras_vitser.training.epochs import epochs_of
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile("adam", "mse")
        >>> batches = epochs_of((np.ones((4, 3), "float32"), np.ones((4, 2), "float32")), batch_size=1, seed=0)
        >>> resumable_fit(model, batches, epochs=2, verbose=0).epoch
        [0, 1]
    """
    if not epochs:
        return history_of(model, [])
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    if store is not None and store.divergence:
        raise store.divergence.error
    watch = next((callback for callback in callbacks if isinstance(callback, FiniteLosses)), None)
    if watch is None:
        watch = FiniteLosses(None if store is None else store.name)
        callbacks = [*callbacks, watch]
    loaded = None if store is None else store.load()
    progress, state = loaded or (Progress(), None)
    stateful = [callback for callback in callbacks if hasattr(callback, "get_state")]
    follower = _Follower(ds, epochs, earlier_epochs, progress, store, stateful, watch)
    if state is not None:
        follower.take_up(state, model)
    elif store is not None:
        follower.save(model)
    if store is not None and fit_arguments.get("cache_teacher") is True:
        fit_arguments["cache_teacher"] = store.folder / FEATURES
    history = history_of(model, progress.logs)
    if not progress.done:
        try:
            _train(model, ds, follower, history, epochs, callbacks, verbose, fit_arguments)
        except DivergedError as error:
            if store is not None:
                store.add_divergence(error, watch.proven)
            raise
        progress.step, progress.done = 0, True
        if store is not None:
            follower.save(model)
    return history


def _train(model, ds, follower, history, epochs, callbacks, verbose, fit_arguments):
    first, step = follower.progress.epoch, follower.progress.step
    listeners = _Listeners(
        history,
        [*callbacks, history, follower],
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=follower.start(model) or fit_arguments.get("steps_per_epoch") or known_length(ds),
    )
    fit_arguments = {**fit_arguments, "callbacks": listeners, "shuffle": False}
    try:
        if step:
            listeners.skipped = step
            listeners.more_follows = follower.more_follows = first + 1 < epochs
            model.fit(ds, initial_epoch=first, epochs=first + 1, **fit_arguments)
            first += 1
            listeners.skipped = ds.step = 0
            listeners.more_follows = follower.more_follows = False
            if model.stop_training or first == epochs:
                return
            restore(model, follower.state)  # where `fit` has put averaged weights in their place at its end
        model.fit(ds, initial_epoch=first, epochs=epochs, **fit_arguments)
    except Exception as error:
        if getattr(ds, "error", None) is not None:
            raise ds.error from error  # not the backend's wrapping of it
        raise


def history_of(model: keras.Model, logs: Iterable[dict[str, Any]]) -> keras.callbacks.History:
    """What a `History` would hold after epochs with these logs.

    Args:
        model: The `keras.Model` that was trained.
        logs: List of dicts, one an epoch.

    Returns:
        `keras.callbacks.History`.

    Example:
        >>> history_of(keras.Model(), [{"loss": 2.0}, {"loss": 1.0}]).history
        {'loss': [2.0, 1.0]}
    """
    history = keras.callbacks.History()
    history.set_model(model)
    history.on_train_begin()
    for epoch, epoch_logs in enumerate(logs):
        history.on_epoch_end(epoch, epoch_logs)
    return history


class _Listeners(keras.callbacks.CallbackList):
    """Makes two fits look like one, and the rest of an epoch like the end of a whole one."""

    def __init__(self, history, callbacks, **settings):
        super().__init__(callbacks, **settings)
        self.skipped = 0
        self.more_follows = False
        self._begun = False
        self._history = history

    def on_train_begin(self, logs=None):
        if not self._begun:
            self._begun = True
            epochs = self._history.epoch
            super().on_train_begin(logs)
            self._history.epoch = epochs  # which it has just emptied

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(self.skipped + batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(self.skipped + batch, logs)

    def on_train_end(self, logs=None):
        if not self.more_follows or self.model.stop_training:
            super().on_train_end(logs)


class _Follower(keras.callbacks.Callback):
    """Keeps data, progress and checkpoints in step with Keras; the last of the callbacks."""

    def __init__(self, ds, epochs, earlier_epochs, progress, store, stateful, watch):
        super().__init__()
        self.progress = progress
        self.more_follows = False
        self.state = None
        self._data = ds if isinstance(ds, Epochs) else None
        self._epochs = epochs
        self._earlier_epochs = earlier_epochs
        self._store = store
        self._stateful = stateful
        self._watch = watch
        self._metrics = None

    def take_up(self, state, model):
        """Gives model, callbacks and data the state of a checkpoint."""
        progress, data = self.progress, self._data
        if progress.done:
            restore(model, state, ["model"])
        else:
            restore(model, state)
            for place, callback in enumerate(self._stateful):
                callback.set_state(state[f"callback{place}"])
        if data is not None:
            data.replay(progress.epoch)
            data.batches = data.batches or progress.batches or 0
        if progress.step:
            self._metrics = state
        words = "was done already" if progress.done else f"resumed at epoch {progress.epoch}, step {progress.step}"
        log.info("%s %s", self._store.name, words)

    def save(self, model):
        self._refuse_not_finite(model)
        self._store.save(self.progress, model, self._stateful)

    def start(self, model):
        """Puts data and metrics where they stood. Returns the batches of a whole epoch where the data is `Epochs`."""
        progress, data = self.progress, self._data
        if data is None:
            return None
        data.epoch, data.step = self._earlier_epochs + progress.epoch, progress.step
        progress.batches = data.step + len(data)
        if self._metrics is not None and len(self._metrics["metrics"]) != len(model.metrics_variables):
            _build_metrics(model, data[0])
        return progress.batches

    def on_epoch_begin(self, epoch, logs=None):
        if self._data is not None:
            self._data.begin(self._earlier_epochs + epoch)
        if self._metrics is not None:
            restore(self.model, self._metrics, ["metrics"])
            self._metrics = None

    def on_train_batch_begin(self, batch, logs=None):
        """Saves the steps before this one. After a step Keras might call from a thread, while it trains on."""
        if self._data is not None and batch > self.progress.step and self._is_due:
            self.progress.step = batch
            self.save(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if self._data is not None:
            self._data.end()
        self.progress.logs.append(dict(logs or {}))
        self.progress.epoch, self.progress.step = epoch + 1, 0
        if self.more_follows:
            self.state = state_of(self.model)
        is_last = self.model.stop_training or epoch + 1 == self._epochs
        if is_last:
            self._refuse_not_finite(self.model)  # no loss follows that would show it
        if not is_last and self._is_due:  # after the last epoch the stage as a whole is saved
            self.save(self.model)

    def _refuse_not_finite(self, model):
        if variables := not_finite(model):
            raise self._watch.error(f"the variable {variables[0].path}")

    @property
    def _is_due(self):
        return self._store is not None and self._store.is_due


def _build_metrics(model, batch):
    """Makes the variables of metrics that Keras makes at their first use."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(keras.tree.map_structure(ops.convert_to_tensor, batch))
    model.compute_metrics(x, y, model(x), sample_weight)
