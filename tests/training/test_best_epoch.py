"""keras_vitser/training/best_epoch.py; measured on validation clips in tests/experiments/test_stages.py."""

import keras
import numpy as np
import pytest

from keras_vitser.training.best_epoch import ACCURACY, LOSS, BestWeights, quality

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")


class Told(BestWeights):
    """Measures what it is told; each epoch's weights are its number."""

    def __init__(self, rows):
        super().__init__(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)]))
        self.rows = iter(rows)

    def measure(self):
        return next(self.rows)

    def epochs(self, numbers):
        logs = []
        for number in numbers:
            self.network.set_weights([np.full((1, 1), number, "float32")])
            logs.append({"loss": 0.0})
            self.on_epoch_end(number, logs[-1])
        return logs

    @property
    def weight(self):
        return float(self.network.get_weights()[0][0, 0])


def row(accuracy, loss):
    return {ACCURACY: accuracy, LOSS: loss}


def test_accuracy_goes_before_loss_and_the_first_of_equals_is_kept():
    rows = [row(0.5, 0.1), row(0.75, 2.0), row(0.75, 1.0), row(0.75, 1.0), {LOSS: np.nan}]
    told = Told(rows)
    logs = told.epochs(range(5))
    assert logs[2] == {"loss": 0.0, **rows[2]}
    told.on_train_end()
    assert told.weight == 2
    assert max(rows[:4], key=quality) is rows[2]


def test_its_state_goes_on_in_another_process():
    first, second = Told([row(0.5, 1.0), row(0.75, 1.0)]), Told([row(0.6, 0.5)])
    first.epochs(range(2))
    second.set_state(first.get_state())
    second.epochs([2])
    second.on_train_end()
    assert second.weight == 1


def test_before_an_epoch_its_state_is_empty_and_nothing_is_changed():
    told, other = Told([]), Told([])
    before = told.weight
    told.set_state(other.get_state())
    told.on_train_end()
    assert told.weight == before
    assert other.get_state() == []
