"""keras_vitser/distillation/transfer.py"""

import keras
import pytest

from keras_vitser.distillation import halving_schedule, transfer

from .networks import X, Y, network, same, weights_of


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[4 * index : 4 * index + 4], Y[4 * index : 4 * index + 4]


@pytest.mark.parametrize(
    ("halve_every", "rates"), [(10, {0: 1, 9: 1, 10: 0.5, 19: 0.5, 20: 0.25}), (1, {0: 1, 1: 0.5, 3: 0.125})]
)
def test_halving_schedule(halve_every, rates):
    schedule = halving_schedule(0.4, halve_every).schedule
    assert {epoch: schedule(epoch) for epoch in rates} == {epoch: 0.4 * rate for epoch, rate in rates.items()}


def test_both_stages_run_with_their_own_halved_rate():
    teacher, student = network(1), network(2)
    before = weights_of(teacher)
    start = weights_of(student)
    histories = transfer(
        teacher, student, Batches(), matching_epochs=12, tuning_epochs=11, learning_rate=0.01, verbose=0
    )
    assert list(histories) == ["matching", "student"]
    matching, tuning = (histories[stage].history for stage in histories)
    assert set(matching) == {"loss", "feature_loss", "learning_rate"}
    assert set(tuning) == {"loss", "label_loss", "feature_loss", "accuracy", "learning_rate"}
    # 1e-6 of the rate: it is kept in float32.
    assert matching["learning_rate"] == pytest.approx([0.01] * 10 + [0.005] * 2, rel=1e-6)
    assert tuning["learning_rate"] == pytest.approx([0.01] * 10 + [0.005], rel=1e-6)
    assert matching["feature_loss"][-1] < matching["feature_loss"][0]
    assert matching["loss"] == pytest.approx(matching["feature_loss"], rel=1e-6)  # alpha is 1 in stage (b)
    assert tuning["loss"][0] == pytest.approx(tuning["label_loss"][0] + 10 * tuning["feature_loss"][0], rel=1e-6)
    assert same(weights_of(teacher), before)
    assert not same(weights_of(student), start)


def test_alpha_is_that_of_the_second_stage():
    histories = transfer(network(1), network(2), Batches(), matching_epochs=1, tuning_epochs=1, alpha=3.0, verbose=0)
    tuning = histories["student"].history
    assert tuning["loss"][0] == pytest.approx(tuning["label_loss"][0] + 3 * tuning["feature_loss"][0], rel=1e-6)
