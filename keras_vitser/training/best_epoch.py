"""Which epoch of a training is its best one, and a callback that leaves a network with that epoch's weights."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

ACCURACY = "validation_unweighted_accuracy"
LOSS = "validation_loss"


def quality(logs: Mapping[str, float]) -> tuple[float, float]:
    """What epochs are compared by: the unweighted accuracy on the validation part, and of equals the lowest loss.

    Args:
        logs: The logs of an epoch, with `validation_unweighted_accuracy` and `validation_loss`.

    Returns:
        Pair of floats; higher is better.

    Example:
        >>> epochs = [{ACCURACY: 0.5, LOSS: 1.0}, {ACCURACY: 0.75, LOSS: 2.0}, {ACCURACY: 0.75, LOSS: 1.5}]
        >>> epochs.index(max(epochs, key=quality))
        2
    """
    return logs[ACCURACY], -logs[LOSS]


class BestWeights(keras.callbacks.Callback):
    """Measures a network after each epoch, and leaves it with the weights of its best one, by `quality`.

    What is measured is added to the epoch's logs. A subclass says how, in `measure`. Of equal epochs the first one
    counts.

    Args:
        network: `keras.Model`, the network that is measured: the one that is trained, or a part of it.

    Example:
        >>> class Measured(BestWeights):
        ...     def measure(self):
        ...         return {ACCURACY: 0.5, LOSS: float(self.network.get_weights()[0].mean() ** 2)}
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((4, 1)), np.ones(4), epochs=2, verbose=0, callbacks=[Measured(model)]).history
        >>> len(history["validation_loss"])
        2
    """

    def __init__(self, network: keras.Model):
        super().__init__()
        self.network = network
        self._best: tuple[float, float] | None = None
        self._weights: list[np.ndarray] = []

    def measure(self) -> dict[str, float]:
        """What is added to the logs, among it what `quality` reads; a loss of NaN where an answer is not finite."""
        raise NotImplementedError

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        measured = self.measure()
        if logs is not None:
            logs.update(measured)
        if math.isnan(measured[LOSS]):
            return
        reached = quality(measured)
        if self._best is None or reached > self._best:
            self._best, self._weights = reached, self.network.get_weights()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._weights:
            self.network.set_weights(self._weights)

    def get_state(self) -> list[np.ndarray]:
        """Best quality and weights so far, as a list of arrays, for a checkpoint."""
        return [] if self._best is None else [np.array(self._best), *self._weights]

    def set_state(self, arrays: list[np.ndarray]) -> None:
        """Takes up what `get_state` gave."""
        if arrays:
            best, *self._weights = arrays
            self._best = float(best[0]), float(best[1])
