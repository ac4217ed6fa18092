"""keras_vitser/distillation/matches.py"""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import softmax
from scipy.stats import entropy

from keras_vitser.distillation import AttentionTransfer, Distiller, FeatureMatching, Match, SoftLabels
from keras_vitser.distillation.matches import Adapter, interpolation
from keras_vitser.errors import DistillationError
from keras_vitser.models import ViTSER
from tests.requirements import require

from .networks import WEIGHT, X, Y, cross_entropy, forward, network, weights_of

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

CLOSE = {"atol": 1e-6, "rtol": 1e-6}
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.random((4, 8, 8, 1)).astype("float32")


def vit_ser(**kwargs):
    sizes = {"image_size": (8, 8), "patch_size": (8, 1), "hidden_dim": 8, "depth": 1, "head_dim": 4, "mlp_dim": 8}
    return ViTSER.student(3, **{**sizes, **kwargs})


def first_logs(distiller, x, y, **kwargs):
    """Losses of the first step, before anything was learned."""
    distiller.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    history = distiller.fit(x, y, batch_size=len(y), shuffle=False, verbose=0, **kwargs)
    return {name: values[0] for name, values in history.history.items()}


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


# The losses


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_several_matches_are_weighed_and_added(weight):
    teacher, student = network(1), network(2)
    (teacher_feature, teacher_logits), (feature, logits) = forward(teacher), forward(student)
    share = np.ones(8) if weight is None else weight
    temperature = 3.0
    of_features = (np.abs(teacher_feature - feature).mean(axis=1) * share).mean()
    divergence = entropy(softmax(teacher_logits / temperature, axis=1), softmax(logits / temperature, axis=1), axis=1)
    of_logits = (temperature**2 * divergence * share).mean()
    squared = (np.square(teacher_feature - feature).mean(axis=1) * share).mean()
    of_labels = (cross_entropy(logits) * share).mean()
    matches = [
        Match("hidden", "hidden", weight=2.0),
        Match("logits", "logits", loss=SoftLabels(temperature), weight=0.5, name="soft"),
        Match("hidden", "hidden", loss="mean_squared_error", weight=0.0, name="watched"),
    ]
    logs = first_logs(Distiller(teacher, student, alpha=0.7, matches=matches), X, Y, sample_weight=weight)
    assert logs["hidden_loss"] == pytest.approx(of_features, rel=1e-6)
    assert logs["soft_loss"] == pytest.approx(of_logits, rel=1e-6)
    assert logs["watched_loss"] == pytest.approx(squared, rel=1e-6)
    assert logs["label_loss"] == pytest.approx(of_labels, rel=1e-6)
    assert logs["feature_loss"] == pytest.approx(2 * of_features + 0.5 * of_logits, rel=1e-6)
    assert logs["loss"] == pytest.approx(of_labels + 0.7 * (2 * of_features + 0.5 * of_logits), rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    ["mean_squared_error", keras.losses.mean_squared_error, keras.losses.MeanSquaredError(), keras.losses.Huber(0.1)],
)
def test_any_loss_of_keras_over_any_places(loss):
    teacher, student = GENERATOR.standard_normal((2, 8, 3, 4, 5)).astype("float32")
    difference = np.abs(teacher.astype("float64") - student)
    expected = np.square(difference)
    if isinstance(loss, keras.losses.Huber):
        expected = np.where(difference <= 0.1, expected / 2, 0.1 * difference - 0.005)
    got = float(Match("a", "b", loss=loss).value(teacher, student, ops.convert_to_tensor(WEIGHT)))
    assert got == pytest.approx((expected.mean(axis=(1, 2, 3)) * WEIGHT).mean(), rel=1e-6)


def test_without_matches_alpha_is_the_paper_s_and_with_them_1():
    assert Distiller(network(1), network(2)).alpha == 10
    assert Distiller(network(1), network(2), matches=[Match("hidden", "hidden")]).alpha == 1


def test_one_match_is_logged_as_the_feature_loss_alone():
    distiller = Distiller(network(1), network(2), matches=[Match("hidden", "hidden")])
    assert set(first_logs(distiller, X, Y)) == {"loss", "label_loss", "feature_loss", "accuracy"}


def test_soft_labels_alone_need_no_labels():
    teacher, student = network(1), network(2)
    match = Match("logits", "logits", loss=SoftLabels(2.0))
    distiller = Distiller(teacher, student, matches=[match], label_weight=0)
    distiller.compile(keras.optimizers.SGD(0.1))
    losses = distiller.fit(X, epochs=3, verbose=0).history["loss"]
    assert losses[2] < losses[0]


@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_all_tokens_and_attention_of_the_paper_s_networks():
    # JAX takes half a minute to compile the stem, which comes before all that is tapped.
    stem = keras.backend.backend() != "jax"
    teacher, student = vit_ser(depth=2, conv_stem=stem, coordinates=True), vit_ser()
    matches = [
        Match("all_tokens", "all_tokens"),
        Match("encoder_block_1/attention", "encoder_block_0/attention", loss=AttentionTransfer(), name="attention"),
        Match("class_token", "class_token"),
    ]
    tokens, of_student = numpy(teacher.tokens(IMAGES)), numpy(student.tokens(IMAGES))
    attention = [numpy(net.attention_weights(IMAGES)[-1]).transpose(0, 2, 3, 1) for net in (teacher, student)]
    logs = first_logs(Distiller(teacher, student, matches=matches), IMAGES, Y[:4])
    assert logs["all_tokens_loss"] == pytest.approx(np.abs(tokens - of_student).mean(), rel=1e-5)
    assert logs["class_token_loss"] == pytest.approx(np.abs(tokens - of_student)[:, 0].mean(), rel=1e-5)
    assert logs["attention_loss"] == pytest.approx(float(AttentionTransfer()(*attention)), rel=1e-5)


def test_each_match_teaches_and_the_teacher_stays():
    teacher, student = vit_ser(num_heads=3), vit_ser()
    before = weights_of(teacher)
    matches = [
        Match("encoder_block_0", "encoder_block_0", weight=3),
        Match("encoder_block_0/attention", "encoder_block_0/attention", loss=AttentionTransfer(), name="attention"),
    ]
    distiller = Distiller(teacher, student, matches=matches, label_weight=0)
    distiller.compile(keras.optimizers.Adam(0.003))
    history = distiller.fit(IMAGES, epochs=12, verbose=0).history
    assert history["encoder_block_0_loss"][-1] < history["encoder_block_0_loss"][0]
    assert history["attention_loss"][-1] < history["attention_loss"][0]
    assert all(np.array_equal(*pair) for pair in zip(weights_of(teacher), before, strict=True))


# Widths and places that differ


@pytest.mark.backends("torch")
@pytest.mark.parametrize(("source", "target"), [(4, 9), (9, 4), (5, 5), (1, 3), (3, 1), (64, 128)])
def test_interpolation_is_that_of_jax_image_resize(source, target):
    """Half-pixel centres, a triangle that widens where the grid shrinks: jax.image.resize(..., "linear")."""
    jax = require("jax")
    signal = GENERATOR.standard_normal(source).astype("float32")
    expected = np.asarray(jax.image.resize(signal, (target,), "linear", antialias=True))
    np.testing.assert_allclose(interpolation(source, target) @ signal, expected, atol=1e-6)


def test_pixels_are_resized_axis_by_axis():
    features = GENERATOR.standard_normal((2, 3, 5, 4)).astype("float32")
    layer = Adapter(resizes=[interpolation(3, 6), interpolation(5, 2)])
    expected = np.einsum("bhwc,Hh,Ww->bHWc", features, interpolation(3, 6), interpolation(5, 2))
    np.testing.assert_allclose(numpy(layer(features)), expected, **CLOSE)


@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_the_student_s_places_become_the_teacher_s():
    def images(stride, width):
        inputs = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(width, 3, stride, padding="same", name="conv")(inputs)
        return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))

    teacher, student = images(1, 6), images(2, 4)
    distiller = Distiller(teacher, student, matches=[Match("conv", "conv")])
    layer = distiller.adapters[0]
    kernel, bias = layer.projection.get_weights()
    conv = [numpy(net.get_layer("conv")(IMAGES)) for net in (teacher, student)]
    resized = np.einsum("bhwc,Hh,Ww->bHWc", conv[1] @ kernel + bias, interpolation(4, 8), interpolation(4, 8))
    logs = first_logs(distiller, IMAGES, Y[:4])
    assert logs["feature_loss"] == pytest.approx(np.abs(conv[0] - resized).mean(), rel=1e-5)


@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_class_tokens_stay_apart_when_patches_are_resized():
    teacher, student = vit_ser(), vit_ser(patch_size=(8, 2))
    distiller = Distiller(teacher, student, matches=[Match("all_tokens", "all_tokens")])
    tokens = numpy(student.tokens(IMAGES))
    adapted = numpy(distiller.adapters[0](tokens))
    np.testing.assert_allclose(adapted[:, 0], tokens[:, 0], **CLOSE)
    np.testing.assert_allclose(adapted[:, 1:], np.einsum("btw,Tt->bTw", tokens[:, 1:], interpolation(4, 8)), **CLOSE)


def test_patches_are_resized_as_the_image_that_they_are():
    """4 x 2 patches of the student to 2 x 8 of the teacher: over bands and frames, not along one line."""
    teacher, student = vit_ser(patch_size=(4, 1)), vit_ser(patch_size=(2, 4))
    layer = Distiller(teacher, student, matches=[Match("patches", "patches")]).adapters[0]
    patches = numpy(student.get_layer("patches")(IMAGES))
    grid = patches.reshape(4, 4, 2, 8)
    expected = np.einsum("brcw,Rr,Cc->bRCw", grid, interpolation(4, 2), interpolation(2, 8)).reshape(4, 16, 8)
    np.testing.assert_allclose(numpy(layer(patches)), expected, **CLOSE)


def test_resized_attention_still_sums_to_1():
    teacher, student = vit_ser(num_heads=3), vit_ser(patch_size=(8, 2))
    match = Match("encoder_block_0/attention", "encoder_block_0/attention", loss=AttentionTransfer())
    layer = Distiller(teacher, student, matches=[match]).adapters[0]
    attention = numpy(student.attention_weights(IMAGES)[0]).transpose(0, 2, 3, 1)
    adapted = numpy(layer(attention))
    assert adapted.shape == (4, 9, 9, 5)
    np.testing.assert_allclose(adapted.sum(axis=2), 1, atol=1e-5)
    assert layer.projection is None  # its loss does not compare head with head


# Refusals


def refused(message, teacher, student, *matches):
    with pytest.raises(DistillationError, match=message):
        Distiller(teacher, student, matches=list(matches))


@pytest.mark.backends("torch")
def test_a_projection_that_is_turned_off():
    match = Match("hidden", "hidden", project=False, resize=False)
    refused("widths of a Match differ and project=False.*project=True", network(1, width=7), network(2), match)
    Distiller(network(1), network(2), matches=[match])


@pytest.mark.backends("torch")
def test_a_resize_that_is_turned_off():
    match = Match("all_tokens", "all_tokens", resize=False)
    refused("places of a Match differ in number and resize=False", vit_ser(), vit_ser(patch_size=(8, 2)), match)


@pytest.mark.backends("torch")
def test_logits_of_other_classes():
    refused("same classes", network(1, classes=4), network(2), Match("logits", "logits"))


@pytest.mark.backends("torch")
def test_features_of_another_kind():
    message = r"of one kind. Received: teacher 'all_tokens' \(None, 9, 8\), student 'class_token' \(None, 8\)"
    refused(message, vit_ser(), vit_ser(), Match("all_tokens", "class_token"))


@pytest.mark.backends("torch")
def test_sizes_that_are_not_known():
    def images(size):
        inputs = keras.Input((size, size, 1))
        x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))

    Distiller(images(None), images(None), matches=[Match("conv", "conv")])  # equal at run time, whatever they are


@pytest.mark.backends("torch")
def test_a_teacher_whose_logits_are_probabilities():
    model = network(1)
    teacher = keras.Model(model.inputs, keras.layers.Softmax()(model.get_layer("hidden").output))
    refused("`teacher` must return logits", teacher, network(2, width=5, classes=5), Match("logits", "logits"))


@pytest.mark.backends("torch")
@pytest.mark.parametrize("path", [None, "", "a//b", "/a", 3])
def test_names_that_are_none(path):
    with pytest.raises(DistillationError, match="`student` of a Match must name a layer"):
        Match("a", path)


@pytest.mark.backends("torch")
def test_losses_that_are_no_mean():
    with pytest.raises(DistillationError, match=r"its reduction must be 'sum_over_batch_size'. Received: 'sum'"):
        Match("a", "b", loss=FeatureMatching(reduction="sum"))


@pytest.mark.backends("torch")
@pytest.mark.parametrize("weight", [-1, float("nan")])
def test_weights_that_are_none(weight):
    with pytest.raises(DistillationError, match="`weight` must be a number of at least 0"):
        Match("a", "b", weight=weight)


@pytest.mark.backends("torch")
def test_names_of_the_logs_are_unique():
    twice = [Match("hidden", "hidden"), Match("logits", "hidden")]
    refused("needs a name of its own.*'hidden', 'hidden'", network(1), network(2), *twice)
    refused("needs a name", network(1), network(2), Match("hidden", "hidden", name="label"), Match("hidden", "hidden"))


@pytest.mark.backends("torch")
@pytest.mark.parametrize("matches", [[], ["hidden"]])
def test_a_list_that_is_none(matches):
    with pytest.raises(DistillationError, match="`matches` must be a list of at least one"):
        Distiller(network(1), network(2), matches=matches)


# Files


def test_a_distiller_with_matches_goes_through_a_file(tmp_path):
    matches = [Match("hidden", "hidden", weight=2), Match("logits", "logits", loss=SoftLabels(3.0), resize=False)]
    distiller = Distiller(network(1, width=7), network(2), matches=matches)
    distiller.fit(X, Y, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    assert [match.get_config() for match in loaded.matches] == [match.get_config() for match in matches]
    logs = [first_logs(each, X, Y) for each in (distiller, loaded)]
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)
