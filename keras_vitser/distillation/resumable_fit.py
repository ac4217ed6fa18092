"""The `fit` of one stage, from any epoch and step on, as if it had run from the start.

Keras' own `fit` starts at the beginning of an epoch. A stage that stopped within one is taken up by a first `fit` of
the rest of that epoch, then one of the others; callbacks see a single training.
"""

import keras
from keras import ops

from keras_vitser.distillation.checkpoints import restore, state_of
from keras_vitser.distillation.epochs import Epochs, known_length


def resumable_fit(
    distiller, ds, *, epochs, earlier_epochs, progress, state, store, callbacks, verbose="auto", **fit_arguments
):
    """Trains one stage to its end.

    Args:
        distiller: A compiled `Distiller` whose variables have been restored, all but the metrics.
        ds: `Epochs`, or what `fit` takes; the latter is resumed only at the beginning of an epoch.
        epochs: Int of at least 0, epochs of the whole stage.
        earlier_epochs: Int of at least 0, epochs of the stages before.
        progress: `Progress`, where to start; is brought up to date.
        state: As `state_of` gives it, whose metrics are restored within an epoch; `None` if nothing is resumed.
        store: `Checkpoints`, or `None`.
        callbacks: List of `keras.callbacks.Callback`.
        verbose: As for `keras.Model.fit`.
        **fit_arguments: For `Distiller.fit`.

    Returns:
        `keras.callbacks.History` from epoch 0 on.

    Raises:
        DistillationError: The data ended early, or went on.

    Example:
        >>> import numpy as np
        >>> from keras_vitser.distillation import Distiller
        >>> from keras_vitser.distillation.checkpoints import Progress
        >>> from keras_vitser.distillation.epochs import epochs_of
        >>> networks = [
        ...     keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)]) for _ in range(2)
        ... ]
        >>> distiller = Distiller(*networks)
        >>> distiller.compile()
        >>> batches = epochs_of((np.ones((4, 3), "float32"), np.array([0, 1, 0, 1])), batch_size=1, seed=0)
        >>> progress = Progress("student", epoch=1, step=3, logs={"student": [{"loss": 0.5}]})
        >>> settings = {"earlier_epochs": 0, "state": None, "store": None, "callbacks": [], "verbose": 0}
        >>> resumable_fit(distiller, batches, epochs=2, progress=progress, **settings).epoch
        [0, 1]
    """
    ended = progress.logs.setdefault(progress.stage, [])
    history = history_of(distiller, ended)
    if not epochs:
        return history
    follower = _Follower(ds if isinstance(ds, Epochs) else None, epochs, earlier_epochs, progress, store)
    first, steps = progress.epoch, fit_arguments.get("steps_per_epoch")
    if follower.data is None:
        steps = steps or known_length(ds)
    else:
        steps = progress.batches = follower.start(state, distiller)
    listeners = _Listeners(
        history,
        [*callbacks, history, follower],
        add_progbar=verbose != 0,
        model=distiller,
        verbose=verbose,
        epochs=epochs,
        steps=steps,
    )
    fit_arguments = {**fit_arguments, "callbacks": listeners, "shuffle": False}
    try:
        if progress.step:
            listeners.skipped = progress.step
            listeners.more_follows = follower.more_follows = first + 1 < epochs
            distiller.fit(ds, initial_epoch=first, epochs=first + 1, **fit_arguments)
            first += 1
            listeners.skipped = ds.step = 0
            listeners.more_follows = follower.more_follows = False
            if distiller.stop_training or first == epochs:
                return history
            restore(distiller, follower.state)  # where `fit` has put averaged weights in their place at its end
        distiller.fit(ds, initial_epoch=first, epochs=epochs, **fit_arguments)
    except Exception as error:
        if getattr(ds, "error", None) is not None:
            raise ds.error from error  # not the backend's wrapping of it
        raise
    return history


def history_of(distiller, logs):
    """What a `History` would hold after epochs with these logs.

    Args:
        distiller: The `Distiller` that was trained.
        logs: List of dicts, one an epoch.

    Returns:
        `keras.callbacks.History`.

    Example:
        >>> history_of(keras.Model(), [{"loss": 2.0}, {"loss": 1.0}]).history
        {'loss': [2.0, 1.0]}
    """
    history = keras.callbacks.History()
    history.set_model(distiller)
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

    def __init__(self, data, epochs, earlier_epochs, progress, store):
        super().__init__()
        self.data = data
        self.more_follows = False
        self.state = None
        self._epochs = epochs
        self._earlier_epochs = earlier_epochs
        self._progress = progress
        self._store = store
        self._metrics = None

    def start(self, state, distiller):
        """Puts the data and the metrics where they stood. Returns the batches of a whole epoch."""
        progress, data = self._progress, self.data
        data.epoch, data.step = self._earlier_epochs + progress.epoch, progress.step
        remaining = len(data)
        if progress.step:
            self._metrics = state
            if state is not None and len(state["metrics"]) != len(distiller.metrics_variables):
                _build_metrics(distiller, data[0])
        return data.step + remaining

    def on_epoch_begin(self, epoch, logs=None):
        if self.data is not None:
            self.data.begin(self._earlier_epochs + epoch)
        if self._metrics is not None:
            restore(self.model, self._metrics, ["metrics"])
            self._metrics = None

    def on_train_batch_begin(self, batch, logs=None):
        """Saves the steps before this one. After a step Keras might call from a thread, while it trains on."""
        if self.data is not None and batch > self._progress.step and self._is_due:
            self._progress.step = batch
            self._store.save(self._progress, self.model)

    def on_epoch_end(self, epoch, logs=None):
        if self.data is not None:
            self.data.end()
        progress = self._progress
        progress.logs[progress.stage].append(dict(logs or {}))
        progress.epoch, progress.step = epoch + 1, 0
        progress.passes += 1
        if self.more_follows:
            self.state = state_of(self.model)
        is_last = self.model.stop_training or epoch + 1 == self._epochs
        if not is_last and self._is_due:  # after the last epoch the stage as a whole is saved
            self._store.save(progress, self.model)

    @property
    def _is_due(self):
        return self._store is not None and self._store.is_due


def _build_metrics(distiller, batch):
    """Makes the variables of metrics that Keras makes at their first use."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(keras.tree.map_structure(ops.convert_to_tensor, batch))
    distiller.compute_metrics(x, y, distiller(x), sample_weight)
