"""The networks of a config's search space, as KerasTuner wants them (the extra `tune`)."""

import os
from collections.abc import Iterable
from typing import Any, cast

import keras
import numpy as np

from keras_vitser.errors import TuningError
from keras_vitser.experiments.config import Common, ValueRange, load_config
from keras_vitser.experiments.feature_store import Rows
from keras_vitser.experiments.stages import BestEpoch, Part
from keras_vitser.experiments.systems import stage_of, system_of
from keras_vitser.training.batches import Batches
from keras_vitser.training.best_epoch import quality
from keras_vitser.training.divergence import FiniteLosses
from keras_vitser.training.epochs import Epochs, epochs_of
from keras_vitser.training.recipe import compile_for_labels, halving_schedule

try:
    import keras_tuner
except ImportError as error:
    missing = "" if error.name in (None, "keras_tuner") else f" ({error.name} is missing)"
    raise TuningError(f"KerasTuner is not installed{missing}: pip install 'keras-vitser[tune]'") from None

_DIGITS = 6


class SystemHyperModel(keras_tuner.HyperModel):
    """The networks of a config's search space, for any of KerasTuner's tuners.

    `fit` trains by the labels alone, with the stage of the searched network, and measures each
    epoch on the validation data. The objective is
    `keras_tuner.Objective("validation_unweighted_accuracy", "max")`. All weights follow from the config's seed: each
    trial starts as a run of its config would.

    Args:
        config: As for `load_config`; its section `tuning` names network, epochs and space.
        num_classes: Positive int.

    Raises:
        ConfigError: The config is wrong.

    Example:
        >>> model = SystemHyperModel(None, num_classes=7)
        >>> model.build(keras_tuner.HyperParameters()).count_params()
        1417991
    """

    def __init__(self, config: "str | os.PathLike | Common | None", num_classes: int):
        super().__init__()
        self.config = with_space(load_config(config))
        self.num_classes = num_classes
        self._system = system_of(self.config)
        self._stage = stage_of(self._system, self.config.tuning.network)
        self._domains = self.config.tuning.space or {}
        self._space = {key: _as_read(self.config, key, domain) for key, domain in self._domains.items()}

    def config_of(self, hp: "keras_tuner.HyperParameters") -> Common:
        """The config with the values of a trial; what `hp` does not know yet is added to its space."""
        values = {key: self.exact(key, self._declared(hp, key)) for key in self._domains}
        return self.config.with_values(values)

    def exact(self, key: str, value: Any) -> Any:
        """A value as the space states it, whichever number of bits it was sent in; six digits within a range."""
        if not isinstance(value, float):
            return value
        if isinstance(self._domains[key], ValueRange):
            return float(f"{value:.{_DIGITS}g}")
        return min(self._space[key], key=lambda choice: abs(choice - value))

    def build(self, hp: "keras_tuner.HyperParameters") -> keras.Model:
        """A compiled network of the values of a trial."""
        config = self.config_of(hp)
        keras.utils.set_random_seed(config.seed)
        network = self._system.network(config, config.tuning.network, self.num_classes)
        settings = self._stage.settings(config)
        return compile_for_labels(network, settings.learning_rate, settings.weight_decay)

    def fit(
        self,
        hp: "keras_tuner.HyperParameters",
        model: keras.Model,
        x: Any,
        y: np.ndarray,
        *,
        validation_data: tuple[Any, np.ndarray],
        epochs: int | None = None,
        initial_epoch: int = 0,
        callbacks: Iterable[keras.callbacks.Callback] = (),
        verbose: str | int = "auto",
    ) -> dict[str, float]:
        """Trains a network; it ends with the weights of its best epoch on the validation data.

        Args:
            hp: Values of the trial.
            model: What `build` gave.
            x: What the network takes, arrays `(examples, ...)`: float32 images `(examples, bands, frames, 1)`.
            y: Int array `(examples,)`.
            validation_data: Such arrays, and labels, that choose the epoch.
            epochs: Int. Defaults to the config's `tuning.epochs`.
            initial_epoch: Int, epochs that the network has learned before.
            callbacks: Of the tuner and the user.
            verbose: As for `keras.Model.fit`.

        Returns:
            Loss and scores of the best epoch.

        Raises:
            DivergedError: A loss is NaN or infinite.
        """
        config = self.config_of(hp)
        settings = self._stage.settings(config)
        x, validation_x = (keras.tree.map_structure(_as_array, given) for given in (x, validation_data[0]))
        batches = Batches(x, np.asarray(y), settings.batch_size, config.seed, self._stage.augment(config))
        data = cast(Epochs, epochs_of(batches, settings.batch_size, seed=0))  # as `Batches` is a `PyDataset`
        data.replay(initial_epoch)
        validation = Part(validation_x, np.asarray(validation_data[1]))
        history = model.fit(
            data,
            epochs=epochs or config.tuning.epochs,
            initial_epoch=initial_epoch,
            shuffle=False,
            callbacks=[
                _InOrder(data),
                halving_schedule(settings.learning_rate, settings.halve_every),
                BestEpoch(model, validation),
                FiniteLosses(self._stage.name),
                *callbacks,
            ],
            verbose=verbose,
        ).history
        rows = [dict(zip(history, values, strict=True)) for values in zip(*history.values(), strict=True)]
        return {name: float(value) for name, value in max(rows, key=quality).items()}

    def _declared(self, hp: "keras_tuner.HyperParameters", key: str) -> Any:
        domain, default, values = self._domains[key], self.config.value_at(key), self._space[key]
        if not isinstance(domain, ValueRange):
            return hp.Choice(key, values, default=default if default in values else None)
        kind = hp.Float if isinstance(values[0], float) else hp.Int
        default = default if values[0] <= default <= values[1] else None
        return kind(key, *values, step=domain.step, sampling=domain.sampling, default=default)


def _as_array(given: Any) -> Any:
    """An array; `Rows` of a large store stay on disk."""
    return given if isinstance(given, Rows) else np.asarray(given)


class _InOrder(keras.callbacks.Callback):
    """Tells the data of each epoch; Keras itself ends one before the first, and the order would be another."""

    def __init__(self, data: Epochs):
        super().__init__()
        self._data = data

    def on_epoch_begin(self, epoch, logs=None):
        self._data.begin(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self._data.end()


def _as_read(config: Common, key: str, domain: list | ValueRange) -> list[Any]:
    """The choices of a key, or the ends of its range, as the config reads them: of one type."""
    stated = [domain.low, domain.high] if isinstance(domain, ValueRange) else domain
    return list(dict.fromkeys(config.with_values({key: value}).value_at(key) for value in stated))


def with_space(config: Common) -> Common:
    """A config that states its space: its own default, where it states none."""
    return config if config.tuning.space else load_config(config, {"tuning.space": config.default_space()})
