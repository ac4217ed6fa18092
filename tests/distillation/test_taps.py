"""keras_vitser/distillation/taps.py"""

import keras
import numpy as np
import pytest
from keras import ops

from keras_vitser.distillation.taps import Tap, check_network, check_returns_logits
from keras_vitser.errors import DistillationError
from keras_vitser.models import ViTSER

from .networks import Counting, X, forward, network

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

CLOSE = {"atol": 1e-6, "rtol": 0}  # numbers of about 1, in float32
IMAGES = np.random.default_rng(1).random((2, 4, 6, 1)).astype("float32")


def vit_ser(**kwargs):
    sizes = {"image_size": (4, 6), "patch_size": (4, 1), "hidden_dim": 8, "depth": 2, "head_dim": 4, "mlp_dim": 8}
    return ViTSER.student(3, **{**sizes, **kwargs})


def tapped(model, *paths, with_logits=True, x=X):
    outputs = Tap(model, list(paths), "student", with_logits).model(x)
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


def nested(middle=()):
    """`first -> backbone (hidden, ...) -> head`, with the backbone a network in a network in a network."""
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "tanh", name="hidden"), *middle], name="inner")
    images = keras.Input((4,))
    backbone = keras.Model(images, keras.layers.Dense(3, name="after")(inner(images)), name="backbone")
    inputs = keras.Input((6,))
    x = backbone(keras.layers.Dense(4, name="first")(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(x))


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, calls=1, hidden=None, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.head = hidden or keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)
        self.calls = calls

    def feature_map(self, inputs, training=False):
        return self.hidden(inputs)

    def call(self, inputs, training=False):
        feature = self.hidden(inputs)
        for _ in range(self.calls):
            feature = self.feature_map(inputs, training=training)
        return self.head(feature)

    def get_config(self):
        return {**super().get_config(), "calls": self.calls}


# What is given


def test_gives_logits_and_the_input_of_the_last_layer():
    model = network(1)
    feature, logits = forward(model)
    outputs = tapped(model, "feature_map")
    np.testing.assert_allclose(outputs["features"][0], feature, **CLOSE)
    np.testing.assert_allclose(outputs["logits"], logits, **CLOSE)


def test_all_come_from_one_forward_pass():
    counting = Counting()
    tap = Tap(network(1, middle=[counting]), ["feature_map", "hidden", "logits"], "student", True)
    counting.count = 0
    tap.model(X)
    assert counting.count == 1


def test_one_forward_pass_also_of_nested_and_subclassed_models():
    counting = Counting()
    tap = Tap(nested([counting]), ["backbone/inner/hidden"], "student", True)
    counting.count = 0
    tap.model(X)
    assert counting.count == 1
    model = Subclassed(hidden=counting)
    tap = Tap(model, ["feature_map"], "student", True, [keras.Input((6,))])
    counting.count = 0
    tap.model(X)
    assert counting.count == 2  # once by itself, once in `feature_map`, as that network is written


def test_without_logits_the_head_is_no_part():
    tap = Tap(network(1), ["feature_map"], "teacher", False)
    assert [layer.name for layer in tap.model.layers][1:] == ["hidden"]
    assert set(tap.model.output) == {"features"}


def test_weights_are_the_network_s_own():
    for model in (network(1), nested()):
        tap = Tap(model, ["logits"], "student", True)
        assert [id(v) for v in tap.model.variables] == [id(v) for v in model.variables]


def test_a_built_sequential_model_will_do():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(2)])
    assert Tap(model, ["feature_map"], "student", True).features[0].shape == (None, 4)


def test_inputs_keep_their_structure():
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((3,), name="b")}
    x = keras.layers.Dense(4, name="hidden")(keras.layers.Concatenate()([inputs["a"], inputs["b"]]))
    tap = Tap(keras.Model(inputs, keras.layers.Dense(2)(x)), ["hidden"], "student", False)
    assert set(tap.model.input) == {"a", "b"}
    assert tap.model({"b": np.zeros((1, 3)), "a": np.zeros((1, 2))})["features"][0].shape == (1, 4)


def test_a_compiled_network_with_a_loss_of_its_own():
    model = network(1)
    model.compile("sgd", loss=lambda y, logits: 0.0)
    assert tapped(model, "hidden")["features"][0].shape == (8, 5)


# Names


def test_a_layer_may_be_named():
    model = network(1, middle=[keras.layers.Dense(4, name="late")])
    tap = Tap(model, ["hidden", "feature_map"], "student", True)
    assert [feature.shape for feature in tap.features] == [(None, 5), (None, 4)]


def test_a_path_leads_into_nested_models():
    model = nested()
    backbone = model.get_layer("backbone")
    inner, first = backbone.get_layer("inner"), model.get_layer("first")
    outputs = tapped(model, "first", "backbone/inner/hidden", "backbone/after", "backbone", "backbone/feature_map")
    after_first = first(X)
    hidden = inner.get_layer("hidden")(after_first)
    after = backbone.get_layer("after")(hidden)
    for got, expected in zip(outputs["features"], (after_first, hidden, after, after, hidden), strict=True):
        np.testing.assert_allclose(got, ops.convert_to_numpy(expected), **CLOSE)
    np.testing.assert_allclose(outputs["logits"], ops.convert_to_numpy(model(X)), **CLOSE)


def test_logits_by_name_and_a_layer_of_that_name_comes_first():
    model = network(1)  # whose last layer is called so
    np.testing.assert_array_equal(tapped(model, "logits")["features"][0], tapped(model, "logits")["logits"])
    softmax = keras.Model(model.inputs, keras.layers.Softmax(name="probabilities")(model.output))
    outputs = tapped(softmax, "logits")
    np.testing.assert_allclose(outputs["features"][0], forward(model)[1], **CLOSE)
    assert not np.allclose(outputs["features"][0], outputs["logits"])


@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_names_of_vit_ser():
    model = vit_ser()
    tokens = ops.convert_to_numpy(model.tokens(IMAGES))
    outputs = tapped(model, "all_tokens", "class_token", "feature_map", "encoder_block_1", x=IMAGES)
    np.testing.assert_allclose(outputs["features"][0], tokens, **CLOSE)
    np.testing.assert_allclose(outputs["features"][1], tokens[:, 0], **CLOSE)
    np.testing.assert_allclose(outputs["features"][2], tokens[:, 0], **CLOSE)
    assert outputs["features"][3].shape == (2, 7, 8)


@pytest.mark.backends("torch")
def test_all_tokens_cost_more_than_the_feature_map():
    """In the last block of a ViTSER only the class token is worked out, where nothing else is asked for."""
    model, lengths = vit_ser(), []
    block = model.get_layer("encoder_block_1")
    call = block.call
    block.call = lambda *args, **kwargs: lengths.append(kwargs.get("listeners")) or call(*args, **kwargs)
    for names, listeners in ((["feature_map"], 1), (["all_tokens", "feature_map"], None)):
        lengths.clear()
        tapped(model, *names, x=IMAGES)
        assert set(lengths) == {listeners}


@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
@pytest.mark.parametrize("name", ["encoder_block_0", "encoder_block_0/attention", "feature_map", "all_tokens"])
def test_of_vit_ser_without_logits_only_what_a_feature_reads_is_trained(name):
    model = vit_ser()
    tap = Tap(model, [name], "student", False)
    read = model.layers[: 4 if name.startswith("encoder") else -1]
    expected = [variable for layer in read for variable in layer.trainable_variables]
    if name.endswith("attention"):  # goes no further than queries and keys
        assert {id(variable) for variable in tap.trainable_variables} <= {id(variable) for variable in expected}
    else:
        assert [id(variable) for variable in tap.trainable_variables] == [id(variable) for variable in expected]


def test_class_token_where_the_feature_map_is_the_mean():
    model = vit_ser(pooling="mean")
    tokens = ops.convert_to_numpy(model.tokens(IMAGES))
    outputs = tapped(model, "class_token", "feature_map", x=IMAGES)
    np.testing.assert_allclose(outputs["features"][0], tokens[:, 0], **CLOSE)
    np.testing.assert_allclose(outputs["features"][1], tokens.mean(axis=1), **CLOSE)


def test_vit_ser_inside_another_network():
    inner = vit_ser(name="backbone")
    inputs = keras.Input((4, 6, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(inner(inputs)))
    tap = Tap(model, ["backbone/all_tokens", "backbone/encoder_block_0/attention"], "student", False)
    tokens, attention = tap.model(IMAGES)["features"]
    np.testing.assert_allclose(ops.convert_to_numpy(tokens), ops.convert_to_numpy(inner.tokens(IMAGES)), **CLOSE)
    assert tuple(attention.shape) == (2, 7, 7, 5)
    assert tap.features[0].grid == (1, 6)


def test_attention_weights_with_heads_last():
    model = vit_ser()
    expected = [ops.convert_to_numpy(weights) for weights in model.attention_weights(IMAGES)]
    outputs = tapped(model, "encoder_block_1/attention", "encoder_block_0/attention", "all_tokens", x=IMAGES)
    for got, weights in zip(outputs["features"], reversed(expected), strict=False):
        np.testing.assert_allclose(got, weights.transpose(0, 2, 3, 1), **CLOSE)
    np.testing.assert_allclose(outputs["logits"], ops.convert_to_numpy(model(IMAGES)), **CLOSE)


def test_attention_weights_of_keras_own_layer():
    inputs = keras.Input((3, 4))
    layer = keras.layers.MultiHeadAttention(2, 4, name="attend")
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(layer(inputs, inputs))))
    x = IMAGES.reshape(2, -1)[:, :12].reshape(2, 3, 4)
    _, weights = layer(x, x, return_attention_scores=True)
    got = tapped(model, "attend/attention", x=x)["features"][0]
    np.testing.assert_allclose(got, ops.convert_to_numpy(weights).transpose(0, 2, 3, 1), **CLOSE)


# Subclassed models


def test_a_subclassed_model_is_tapped_through_its_feature_map():
    model = Subclassed()
    logits = ops.convert_to_numpy(model(X))
    outputs = keras.tree.map_structure(
        ops.convert_to_numpy, Tap(model, ["feature_map", "logits"], "student", True, [keras.Input((6,))]).model(X)
    )
    np.testing.assert_allclose(outputs["features"][0], ops.convert_to_numpy(model.hidden(X)), **CLOSE)
    np.testing.assert_allclose(outputs["logits"], logits, **CLOSE)
    assert "feature_map" not in vars(model)  # the network is as before


def test_a_subclassed_model_inside_another_network():
    model = Subclassed(name="backbone")
    inputs = keras.Input((6,))
    outer = keras.Model(inputs, keras.layers.Dense(2)(model(inputs)))
    got = tapped(outer, "backbone/feature_map")["features"][0]
    np.testing.assert_allclose(got, ops.convert_to_numpy(model.hidden(X)), **CLOSE)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("calls", [0, 2])
def test_a_feature_map_that_is_not_on_the_way_once(calls):
    with pytest.raises(
        DistillationError, match=rf"must call its own method `feature_map` once.*Received: {calls} call"
    ):
        Tap(Subclassed(calls), ["feature_map"], "student", True, [keras.Input((6,))])


@pytest.mark.backends("torch")
def test_only_two_names_in_a_subclassed_model():
    with pytest.raises(DistillationError, match=r"`student` .*subclassed.*only 'feature_map'.*Received: \['dense'\]"):
        Tap(Subclassed(), ["dense"], "student", True, [keras.Input((6,))])


@pytest.mark.backends("torch")
def test_a_subclassed_model_whose_inputs_nobody_knows():
    with pytest.raises(DistillationError, match="its inputs are not known yet; call it once on a batch"):
        Tap(Subclassed(), ["feature_map"], "student", True)


@pytest.mark.backends("torch")
def test_what_is_no_network():
    class Plain(keras.Model):
        pass

    for network_ in (Plain(), keras.Sequential([keras.layers.Dense(2)])):
        with pytest.raises(
            DistillationError, match="functional model, a Sequential one that is built, or a subclassed"
        ):
            check_network(network_, "teacher")
    with pytest.raises(DistillationError, match=r"`teacher` must be a keras.Model. Received: str"):
        check_network("teacher.keras", "teacher")


# Refusals


def refused(message, model, path):
    with pytest.raises(DistillationError, match=message):
        Tap(model, [path], "teacher", True)


@pytest.mark.backends("torch")
def test_unknown_names():
    message = r"`teacher` .*'inner' is no layer of 'backbone'|'hiden' is no layer of 'inner'; did you mean 'hidden'\?"
    refused(message, nested(), "backbone/inner/hiden")
    refused("'backbon' is no layer of .* did you mean 'backbone'", nested(), "backbon/inner")
    refused("'x' is no layer of .*; its layers are first, backbone, head", nested(), "x")
    refused("did you mean 'all_tokens'", vit_ser(), "all_token")


@pytest.mark.backends("torch")
def test_nothing_inside_a_plain_layer():
    refused("nothing can be taken inside 'first', a Dense. Received: 'first/kernel'", nested(), "first/kernel")
    refused("inside 'first', a Dense.*whose call takes return_attention or", nested(), "first/attention")


@pytest.mark.backends("torch")
def test_a_layer_that_is_called_twice():
    shared = keras.layers.Dense(6, name="shared")
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(2)(shared(shared(inputs))))
    refused("'shared' is called 2 times", model, "shared")


@pytest.mark.backends("torch")
def test_a_layer_that_gives_several_tensors():
    inputs = keras.Input((3, 4))
    x = keras.layers.LSTM(5, return_state=True, name="lstm")(inputs)
    refused("'lstm' gives several tensors", keras.Model(inputs, keras.layers.Dense(2)(x[0])), "lstm")


@pytest.mark.backends("torch")
def test_a_network_of_one_layer_has_no_feature():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    refused("no feature map before its last layer.*name a layer", model, "feature_map")


@pytest.mark.backends("torch")
def test_a_network_that_ends_in_a_network_needs_a_name():
    inner = network(1)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, inner(keras.layers.Dense(6, name="first")(inputs)))
    refused("no feature map before its last layer.*or a path into it", model, "feature_map")
    assert Tap(model, ["first"], "teacher", True).features[0].shape == (None, 6)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("way", ["in the layer", "as a layer", "as an operation", "in a nested model"])
def test_probabilities_are_no_logits(activation, way):
    inputs = keras.Input((6,))
    x = keras.layers.Dense(3, activation if way in ("in the layer", "in a nested model") else None)(inputs)
    if way == "as a layer":
        x = keras.layers.Activation(activation)(x)
    if way == "as an operation":
        x = getattr(ops, activation)(x)
    model = keras.Model(inputs, x)
    if way == "in a nested model":
        outer = keras.Input((6,))
        model = keras.Model(outer, model(outer))
    with pytest.raises(DistillationError, match=rf"must return logits.*probabilities \({activation}\)"):
        check_returns_logits(model, "student")


@pytest.mark.backends("torch")
def test_a_softmax_layer_gives_no_logits():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(3)(inputs)))
    with pytest.raises(DistillationError, match="must return logits"):
        check_returns_logits(model, "student")


@pytest.mark.backends("torch")
def test_logits_are_logits():
    check_returns_logits(network(1), "student")
    check_returns_logits(keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)]), "student")
