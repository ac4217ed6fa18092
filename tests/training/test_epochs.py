"""keras_vitser/training/epochs.py"""

import re
import threading

import keras
import numpy as np
import pytest

from keras_vitser.distillation import transfer
from keras_vitser.errors import DistillationError
from keras_vitser.training.epochs import epochs_of, known_length
from tests.distillation.networks import X, Y, network
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")


def lists(epoch):
    return [(np.full((2, 6), epoch + step / 10, "float32"), np.array([0, 1])) for step in range(3)]


def generators(epoch):
    yield from lists(epoch)


class Batches(keras.utils.PyDataset):
    def __init__(self, count=3, **settings):
        super().__init__(**settings)
        self.count = count
        self.threads = set()

    def __len__(self):
        return self.count

    @property
    def num_batches(self):
        return self.count

    def __getitem__(self, index):
        self.threads.add(threading.get_ident())
        return lists(0)[index]


def test_arrays_are_shuffled_by_seed_and_epoch_and_no_example_is_left_out():
    batches = epochs_of((X, Y), batch_size=3, seed=5)
    for epoch in (0, 1, 7):
        batches.begin(epoch)
        order = np.random.default_rng((5, epoch)).permutation(8)
        assert np.array_equal(np.concatenate([x for x, _ in batches]), X[order])
        assert np.array_equal(np.concatenate([y for _, y in batches]), Y[order])


def test_arrays_may_be_nested_and_of_any_framework():
    x = {"a": keras.ops.convert_to_tensor(X), "b": [X.astype("float64"), X[:, :2]]}
    batches = epochs_of((x, Y, None), batch_size=8, seed=0)
    (found, labels), order = batches[0], np.random.default_rng((0, 0)).permutation(8)
    assert np.array_equal(found["a"], X[order])
    assert found["b"][0].dtype == "float32"  # as `fit` itself would cast them
    assert labels.dtype == Y.dtype


@pytest.mark.parametrize("make", [lists, generators])
def test_any_batch_of_a_callable_can_be_asked_for_in_any_order(make):
    batches = epochs_of(make, batch_size=None, seed=0)
    assert len(batches) == 3
    for epoch in (0, 4):
        batches.begin(epoch)
        for index in (0, 1, 2, 0, 1, 0, 2, 1):
            assert np.array_equal(batches[index][0], lists(epoch)[index][0])


def test_a_rest_of_an_epoch_is_counted_from_its_step():
    batches = epochs_of(generators, batch_size=None, seed=0)
    batches.epoch, batches.step = 2, 1
    assert len(batches) == 2
    assert [float(x[0, 0]) for x, _ in batches] == pytest.approx([2.1, 2.2])


def test_a_generator_is_not_held_in_memory():
    batches = epochs_of(generators, batch_size=None, seed=0)
    assert len(batches) == 3
    for index in range(3):
        batches[index]
    assert len(batches._kept) == 2


def test_workers_of_a_dataset_read_ahead_in_threads():
    source = Batches(workers=2, max_queue_size=2)
    batches = epochs_of(source, batch_size=None, seed=0)
    for epoch in range(2):
        batches.begin(epoch)
        assert [float(x[0, 0]) for x, _ in batches] == pytest.approx([0.0, 0.1, 0.2])
        batches.end()
    assert source.threads
    assert threading.get_ident() not in source.threads


@pytest.mark.backends("torch")
def test_lengths():
    assert known_length(Batches(4)) == 4
    assert known_length(generators(0)) is None
    with pytest.raises(DistillationError, match="has no end"):
        known_length(Batches(None))


@pytest.mark.backends("torch")
def test_data_without_end_is_refused():
    tf = require("tensorflow")
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).repeat()
    with pytest.raises(DistillationError, match="leave out `repeat`"):
        transfer(network(1), network(2), lambda epoch: endless, verbose=0)


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    ("ds", "message"),
    [
        (X, "(x, y) or (x, y, sample_weight). Received: 1 parts"),
        ([X, X], "labels are needed"),
        ((X,), "(x, y) or (x, y, sample_weight)"),
        ((X, None), "labels are needed"),
        ((X, Y, Y, Y), "Received: 4 parts"),
        ((X, Y[:3]), "arrays of one length"),
        ((X[:0], Y[:0]), "at least 1"),
        ((X, 3), "arrays of one length"),
        (lambda epoch: 3, "must return the batches of an epoch"),
        (lambda epoch: [], "gave no batches"),
        (lambda epoch: lists(epoch)[: 3 - epoch], "same number of batches. Received: 2 in epoch 1, and 3 before"),
        (lambda epoch: iter(lists(epoch)[: 3 - epoch]), "same number of batches. Received: 2 in epoch 1, and 3"),
        (lambda epoch: iter(lists(epoch) * (1 + epoch)), "Received: more than 3 in epoch 1, and 3 before"),
    ],
)
def test_data_that_cannot_be_taught_from_is_refused(ds, message):
    with pytest.raises(DistillationError, match=re.escape(message)):
        transfer(network(1), network(2), ds, matching_epochs=1, tuning_epochs=1, verbose=0)
