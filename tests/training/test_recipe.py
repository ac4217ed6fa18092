"""keras_vitser/training/recipe.py"""

import keras
import numpy as np
import pytest

from keras_vitser.distillation import Distiller
from keras_vitser.training.recipe import adam, compile_for_labels, halving_schedule
from tests.distillation.networks import X, Y, cross_entropy, forward, network

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    ("halve_every", "rates"), [(10, {0: 1, 9: 1, 10: 0.5, 19: 0.5, 20: 0.25}), (1, {0: 1, 1: 0.5, 3: 0.125})]
)
def test_halving_schedule(halve_every, rates):
    schedule = halving_schedule(0.4, halve_every).schedule
    assert {epoch: schedule(epoch) for epoch in rates} == {epoch: 0.4 * rate for epoch, rate in rates.items()}


@pytest.mark.backends("torch")
def test_the_optimizer_decays_weights_only_where_it_is_asked_to():
    assert (float(adam().learning_rate), adam().weight_decay) == (pytest.approx(1e-4), None)
    assert (float(adam(0.1, 0.5).learning_rate), adam(0.1, 0.5).weight_decay) == (pytest.approx(0.1), 0.5)


def test_a_network_learns_by_the_loss_of_its_logits():
    model = compile_for_labels(network(1), 1e-3)
    logits = forward(model)[1]
    logs = model.fit(X, Y, batch_size=8, verbose=0).history
    assert logs["loss"][0] == pytest.approx(cross_entropy(logits).mean(), rel=1e-5)
    assert logs["accuracy"][0] == pytest.approx(np.mean(logits.argmax(axis=1) == Y))


@pytest.mark.backends("torch")
def test_a_distiller_has_the_same_recipe():
    built, model = Distiller(network(1), network(2)), compile_for_labels(network(2))
    built.compile()
    configs = [keras.optimizers.serialize(each.optimizer)["config"] | {"name": ""} for each in (built, model)]
    assert configs[0] == configs[1]
    assert built.loss.get_config() == model.loss.get_config()
