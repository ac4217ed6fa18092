"""keras_vitser/distillation/taps.py"""

import keras
import numpy as np
import pytest
from keras import ops

from keras_vitser.distillation.taps import Tap, check_returns_logits
from keras_vitser.errors import DistillationError
from keras_vitser.models import ViTSER

from .networks import Counting, X, forward, network


def test_gives_logits_and_the_input_of_the_last_layer():
    model = network(1)
    feature, logits = forward(model)
    outputs = Tap(model, None, "student", with_logits=True).model(X)
    # 1e-6 at numbers of about 1, in float32.
    np.testing.assert_allclose(ops.convert_to_numpy(outputs["feature"]), feature, atol=1e-6, rtol=0)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs["logits"]), logits, atol=1e-6, rtol=0)


def test_both_come_from_one_forward_pass():
    counting = Counting()
    tap = Tap(network(1, middle=[counting]), None, "student", with_logits=True)
    counting.count = 0
    tap.model(X)
    assert counting.count == 1


def test_without_logits_the_head_is_no_part():
    tap = Tap(network(1), None, "teacher", with_logits=False)
    assert [layer.name for layer in tap.model.layers][1:] == ["hidden"]


def test_a_layer_may_be_named():
    model = network(1, middle=[keras.layers.Dense(4, name="late")])
    assert Tap(model, "hidden", "student", True).feature_spec.shape == (None, 5)
    assert Tap(model, None, "student", True).feature_spec.shape == (None, 4)


def test_feature_of_vit_ser_is_its_feature_map():
    model = ViTSER.student(3, image_size=(4, 4), patch_size=(4, 1), hidden_dim=8, depth=1, head_dim=4, mlp_dim=8)
    assert Tap(model, None, "student", True).feature_spec is model.get_layer("feature_map").output


def test_weights_are_the_network_s_own():
    model = network(1)
    tap = Tap(model, None, "student", with_logits=True)
    assert [id(v) for v in tap.model.variables] == [id(v) for v in model.variables]


def test_a_built_sequential_model_will_do():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(2)])
    assert Tap(model, None, "student", True).feature_spec.shape == (None, 4)


def test_a_network_of_one_layer_has_no_feature():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    with pytest.raises(DistillationError, match=r"no feature can be taken .*name a layer with `student_feature`"):
        Tap(model, None, "student", True)


def test_a_network_that_ends_in_a_network_needs_a_name():
    inner = network(1)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, inner(keras.layers.Dense(6, name="first")(inputs)))
    with pytest.raises(DistillationError, match="name a layer with `teacher_feature`"):
        Tap(model, None, "teacher", True)
    assert Tap(model, "first", "teacher", True).feature_spec.shape == (None, 6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("as_layer", [False, True])
def test_probabilities_are_no_logits(activation, as_layer):
    inputs = keras.Input((6,))
    if as_layer:
        last = keras.layers.Activation(activation)(keras.layers.Dense(3)(inputs))
    else:
        last = keras.layers.Dense(3, activation)(inputs)
    with pytest.raises(DistillationError, match=rf"must return logits.*probabilities \({activation}\)"):
        check_returns_logits(keras.Model(inputs, last), "student")


def test_a_softmax_layer_gives_no_logits():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(3)(inputs)))
    with pytest.raises(DistillationError, match="must return logits"):
        check_returns_logits(model, "student")


def test_logits_are_logits():
    check_returns_logits(network(1), "student")
