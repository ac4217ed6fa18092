"""keras_vitser/distillation/taught.py"""

import keras
import numpy as np
import pytest
from keras import ops

import keras_vitser as kv
from keras_vitser.distillation import Distiller, Match, SoftLabels, Taught, transfer
from keras_vitser.distillation.taught import resampled
from keras_vitser.errors import CheckpointError, DistillationError
from keras_vitser.models import ViTSER
from tests.requirements import require

from .networks import X, Y, network

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")
once = pytest.mark.backends("torch")

CLOSE = {"atol": 1e-5, "rtol": 0}  # of weights and losses of about 1, in float32
VECTOR = Taught(features=(7,), logits=3)
IMAGES = np.random.default_rng(2).random((4, 8, 6, 1)).astype("float32")


def matches():
    return [Match("feature_map", "feature_map"), Match("logits", "logits", SoftLabels(), weight=0.5)]


def distiller(teacher, student=None, **arguments):
    """With a projection from width 5 to 7, drawn alike each time."""
    keras.utils.set_random_seed(0)
    built = Distiller(teacher, student or network(2), **{"matches": matches(), **arguments})
    built.compile(keras.optimizers.Adam(0.01))
    return built


def stored(teacher=None):
    feature, logits = distiller(teacher or network(1, width=7)).teacher_features(X)
    return {"features": ops.convert_to_numpy(feature), "logits": ops.convert_to_numpy(logits)}


def given(inputs=X, **said):
    return {"inputs": inputs, "teacher": stored() | said}


def numpy(variables):
    return [ops.convert_to_numpy(variable.value) for variable in variables]


def batches(x):
    return [(keras.tree.map_structure(lambda array, i=i: array[i : i + 4], x), Y[i : i + 4]) for i in (0, 4)]


class Batches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.batches = batches(x)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def of_tensorflow(x):
    return require("tensorflow").data.Dataset.from_tensor_slices((x, Y)).batch(4)


KINDS = {
    "arrays": lambda x: {"x": x, "y": Y, "batch_size": 4},
    "PyDataset": lambda x: {"x": Batches(x)},
    "generator": lambda x: {"x": (batch for batch in batches(x) * 2), "steps_per_epoch": 2},
    "tf.data": lambda x: {"x": of_tensorflow(x)},
}
ON_EACH = [pytest.param(kind, marks=() if kind in ("arrays", "tf.data") else once) for kind in KINDS]


# As a teacher that is there


@pytest.mark.parametrize("kind", ON_EACH)
def test_it_teaches_as_the_teacher_does_that_it_was_stored_of(kind):
    live, taught = distiller(network(1, width=7)), distiller(VECTOR)
    histories = [
        each.fit(**KINDS[kind](x), epochs=2, shuffle=False, verbose=0).history
        for each, x in ((live, X), (taught, given()))
    ]
    assert histories[0].keys() == histories[1].keys()
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, **CLOSE)
    for one, other in zip(numpy(live.trainable_variables), numpy(taught.trainable_variables), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)
    assert len(taught.trainable_variables) == 6  # of student and projection


def test_features_alone_without_labels():
    live, taught = (distiller(teacher, label_weight=0.0, matches=None) for teacher in (network(1, width=7), VECTOR))
    for each, x in ((live, X), (taught, given())):
        each.fit(x, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(numpy(live.student.weights), numpy(taught.student.weights), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_transfer_takes_it():
    students, histories = [], []
    settings = {"matching_epochs": 1, "tuning_epochs": 2, "batch_size": 4, "learning_rate": 0.01, "verbose": 0}
    for teacher, x in ((network(1, width=7), X), (VECTOR, given())):
        keras.utils.set_random_seed(0)
        students.append(network(2))
        histories.append(transfer(teacher, students[-1], (x, Y), matches=matches(), **settings))
    for stage in ("matching", "student"):
        for name, values in histories[0][stage].history.items():
            np.testing.assert_allclose(histories[1][stage].history[name], values, **CLOSE)
    for one, other in zip(numpy(students[0].weights), numpy(students[1].weights), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


@once
def test_a_transfer_s_checkpoints_belong_to_what_was_stored(tmp_path):
    settings = {"matching_epochs": 1, "tuning_epochs": 1, "checkpoints": tmp_path, "verbose": 0}
    student, again = network(2), network(3)
    transfer(VECTOR, student, (given(), Y), **settings)
    transfer(VECTOR, again, (given(), Y), **settings)
    for one, other in zip(numpy(student.weights), numpy(again.weights), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(CheckpointError, match="of another job: data was"):
        transfer(VECTOR, again, (given(features=np.ones((8, 7), "float32")), Y), **settings)


def test_it_is_measured_and_asked_by_its_inputs_alone():
    taught = distiller(VECTOR)
    history = taught.fit(given(), Y, validation_data=({"inputs": X}, Y), verbose=0).history
    measured = taught.evaluate({"inputs": X}, Y, verbose=0, return_dict=True)
    assert measured["loss"] == pytest.approx(history["val_loss"][0], abs=1e-6)
    np.testing.assert_allclose(
        taught.predict({"inputs": X}, verbose=0), ops.convert_to_numpy(taught.student(X)), atol=1e-6
    )


@once
def test_a_cache_of_the_teacher_changes_nothing():
    one, other = distiller(VECTOR), distiller(VECTOR)
    one.fit(given(), Y, shuffle=False, verbose=0)
    other.fit(given(), Y, shuffle=False, verbose=0, cache_teacher=True)
    for left, right in zip(numpy(one.variables), numpy(other.variables), strict=True):
        np.testing.assert_array_equal(left, right)


@once
@pytest.mark.parametrize("taught", [VECTOR, Taught({"feature_map": (7,)}, 3), Taught((None, 7), 3), Taught(logits=3)])
def test_it_is_saved_with_the_distiller(taught, tmp_path):
    assert Taught.from_config(taught.get_config()).get_config() == taught.get_config()
    if taught is VECTOR:
        built = distiller(taught)
        built.fit(given(), Y, verbose=0)
        built.save(tmp_path / "distiller.keras")
        loaded = kv.load_model(tmp_path / "distiller.keras")
        assert loaded.teacher.get_config() == taught.get_config()
        loaded.fit(given(), Y, verbose=0)


# Inputs that are dicts


def dicts(names, seed=0):
    inputs = {name: keras.Input((6,), name=name) for name in names}
    x = keras.layers.Dense(5, "tanh", name="hidden")(keras.layers.Add()(list(inputs.values())))
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(0, 0.5, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("cached", [False, pytest.param(True, marks=once)])
@pytest.mark.parametrize("names", [("inputs", "teacher"), ("inputs", "teacher_features"), ("inputs",)])
def test_a_student_s_own_dict_is_never_taken_for_ours(names, cached):
    """With a teacher that is there."""
    x = {name: X * (1 + place) for place, name in enumerate(names)}
    teacher, student, other = dicts(names, 1), dicts(names, 2), dicts(names, 2)
    own, renamed = distiller(teacher, student), distiller(dicts("ab"[: len(names)], 1), dicts("ab"[: len(names)], 2))
    own.fit(x, Y, shuffle=False, verbose=0, cache_teacher=cached)
    renamed.fit(dict(zip("ab", x.values(), strict=False)), Y, shuffle=False, verbose=0)
    for one, other in zip(numpy(own.student.weights), numpy(renamed.student.weights), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)
    np.testing.assert_allclose(own.predict(x, verbose=0), ops.convert_to_numpy(own.student(x)), atol=1e-6)


@pytest.mark.parametrize("names", [("inputs", "teacher"), ("inputs",)])
def test_a_dict_stands_in_a_dict(names):
    x = dict.fromkeys(names, X)
    built = distiller(VECTOR, dicts(names))
    history = built.fit(given(x), Y, verbose=0, validation_data=({"inputs": x}, Y)).history
    assert np.isfinite(history["val_loss"]).all()
    assert built.predict({"inputs": x}, verbose=0).shape == (8, 3)


# Tokens


def interpolated(tokens, target, lengths):
    """`numpy.interp` of each clip's own tokens, in float64."""
    found = np.zeros((len(tokens), target, tokens.shape[2]))
    for clip, length in enumerate(lengths):
        centres = (np.arange(target) + 0.5) * length / target - 0.5
        for channel in range(tokens.shape[2]):
            found[clip, :, channel] = np.interp(centres, np.arange(length), tokens[clip, :length, channel])
    return found


@pytest.mark.parametrize(("count", "target"), [(5, 12), (12, 5), (7, 7), (1, 4), (4, 1), (1499, 128)])
def test_tokens_are_interpolated_as_numpy_does(count, target):
    tokens = np.random.default_rng(0).standard_normal((3, count, 2)).astype("float32")
    found = ops.convert_to_numpy(resampled(tokens, target))
    np.testing.assert_allclose(found, interpolated(tokens, target, [count] * 3), atol=1e-5, rtol=0)
    if count == target:
        np.testing.assert_array_equal(found, tokens)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
def test_padding_is_not_read(dtype):
    lengths = [1, 4, 9]
    tokens = np.random.default_rng(0).standard_normal((3, 9, 2)).astype("float32")
    mask = np.arange(9) < np.array(lengths)[:, None]
    expected = interpolated(tokens, 6, lengths)
    found = resampled(np.where(mask[:, :, None], tokens, np.nan), 6, mask.astype(dtype))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-5, rtol=0)


def vit_ser():
    sizes = {"image_size": (8, 6), "patch_size": (8, 1), "hidden_dim": 4, "depth": 1, "head_dim": 4, "mlp_dim": 8}
    return ViTSER.student(3, **sizes)


@pytest.mark.parametrize(("kind", "masked"), [("arrays", False), ("arrays", True), ("tf.data", True)])
@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_a_student_s_tokens_are_matched_with_stored_ones_of_another_length(kind, masked):
    keras.utils.set_random_seed(0)
    student = vit_ser()
    lengths = np.array([9, 5, 1, 9] if masked else [9] * 4)
    mask = np.arange(9) < lengths[:, None]
    tokens = np.random.default_rng(1).standard_normal((4, 9, 4)).astype("float32")
    said = {"features": np.where(mask[:, :, None], tokens, np.nan)} | ({"mask": mask} if masked else {})
    built = Distiller(Taught(features=(None, 4)), student, matches=[Match("feature_map", "patch_tokens")])
    of_student = ops.convert_to_numpy(student.tokens(IMAGES))[:, 1:]
    x, y = {"inputs": IMAGES, "teacher": said}, np.array([0, 1, 2, 0])
    if kind == "tf.data":
        x, y = require("tensorflow").data.Dataset.from_tensor_slices((x, y)).batch(4), None
    history = built.fit(x, y, verbose=0).history
    expected = np.abs(of_student - interpolated(tokens, 6, lengths)).mean()
    assert history["feature_loss"][0] == pytest.approx(expected, rel=1e-5)


@once
def test_widths_that_differ_are_projected_or_refused():
    taught = Taught(features={"layer_6": (9, 12)})
    built = Distiller(taught, vit_ser(), matches=[Match("layer_6", "patch_tokens")])
    assert built.adapters[0].projection.kernel.shape == (4, 12)
    said = {"features": {"layer_6": np.zeros((4, 9, 12), "float32")}}
    assert "feature_loss" in built.fit({"inputs": IMAGES, "teacher": said}, np.zeros(4, int), verbose=0).history
    refused("widths of a Match differ and project=False", taught, Match("layer_6", "patch_tokens", project=False))


# Refusals


def refused(message, taught, match, student=None):
    with pytest.raises(DistillationError, match=message):
        Distiller(taught, student or vit_ser(), matches=[match])


@once
def test_features_that_cannot_be_matched():
    tokens = Taught(features=(9, 4))
    refused("'patches' is not stored; there are feature_map$", tokens, Match("patches", "patch_tokens"))
    refused(r"did you mean 'feature_map'\? there are feature_map, logits", VECTOR, Match("feature_mop", "class_token"))
    refused(r"of one kind. Received: teacher 'feature_map' \(None, 9, 4\)", tokens, Match("feature_map", "class_token"))
    refused("moments in time.*name 'patch_tokens'", tokens, Match("feature_map", "all_tokens"))
    refused("resize=False", tokens, Match("feature_map", "patch_tokens", resize=False))
    refused("with the same classes", Taught(logits=7), Match("logits", "logits"))
    sequences = keras.Input((None, 3))
    x = keras.layers.Dense(4, name="tokens")(sequences)
    of_any_length = keras.Model(sequences, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(x)))
    refused("only features of known size", tokens, Match("feature_map", "tokens"), of_any_length)


@once
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"features": 256},
        {"features": ()},
        {"features": (3, 4, 5)},
        {"features": (256, None)},
        {"features": (0,)},
        {"features": {"a": (2.0,)}},
        {"logits": 0},
        {"logits": (7,)},
        {"features": {"logits": (7,)}, "logits": 7},
    ],
)
def test_shapes_that_are_none(arguments):
    with pytest.raises(DistillationError, match="Taught"):
        Taught(**arguments)


NOT_FINITE = np.where(np.arange(56).reshape(8, 7) == 45, np.inf, 0).astype("float32")
WRONG = {
    "plain inputs": (lambda: X, "with a Taught.*give x as {'inputs': .*Received: a (ndarray|TensorSpec)"),
    "another dict": (lambda: {"inputs": X, "teecher": X}, "Received: a dict of 'inputs', 'teecher'"),
    "nothing stored": (lambda: {"inputs": X}, "Received: no 'teacher'"),
    "no dict": (
        lambda: {"inputs": X, "teacher": X},
        "a dict with 'features' and 'logits'.*Received: a (ndarray|TensorSpec) as",
    ),
    "a key missing": (lambda: {"inputs": X, "teacher": {"logits": X}}, "must hold 'features'.*Received: 'logits'"),
    "an unknown key": (lambda: given(masks=X), "holds 'features' and 'logits'.*Received: 'masks'"),
    "a dict of features": (lambda: given(features={"a": X}), "'features' of x must be one tensor"),
    "another width": (lambda: given(features=X), r"'feature_map'.*must be \(batch, 7\). Received: \((8|4|None), 6\)"),
    "another rank": (lambda: given(logits=Y), r"logits of the teacher must be \(batch, 3\). Received: \((8|4|None),\)"),
    "not finite": (lambda: given(features=NOT_FINITE), "'feature_map' of the teacher must be finite. Received:"),
}
REFUSED_ON_EACH = [("arrays", "not finite"), ("tf.data", "not finite"), ("tf.data", "another width")]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        pytest.param(kind, wrong, marks=() if (kind, wrong) in REFUSED_ON_EACH else once)
        for kind in KINDS
        for wrong in WRONG
    ],
)
def test_data_that_is_not_as_announced(kind, wrong):
    make, message = WRONG[wrong]
    with pytest.raises(DistillationError, match=message):
        distiller(VECTOR).fit(**KINDS[kind](make()), verbose=0)


@once
def test_the_index_of_a_number_that_is_not_finite_is_told():
    with pytest.raises(DistillationError, match="Received: inf at index 6"):
        distiller(VECTOR).fit(given(features=NOT_FINITE), Y, verbose=0)
    with pytest.raises(DistillationError, match="Received: inf at index 6"):
        transfer(VECTOR, network(2), (given(features=NOT_FINITE), Y), verbose=0)


@once
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, 0, 1, 0], r"mask of 'feature_map' must be 1 .* Received: \[1, 0, 1, 0\] at index 2"),
        ([0, 0, 0, 0], r"Received: \[0, 0, 0, 0\] at index 2"),
        ([1, 1, 1], r"mask of 'feature_map' of the teacher must be \(batch, 4\). Received: \(4, 3\)"),
    ],
)
def test_masks_that_are_none(row, message):
    mask = np.ones((4, len(row)), int)
    mask[2] = row
    said = {"features": np.zeros((4, 4, 4), "float32"), "mask": mask}
    built = Distiller(Taught(features=(4, 4)), vit_ser(), matches=[Match("feature_map", "patch_tokens")])
    with pytest.raises(DistillationError, match=message):
        built.fit({"inputs": IMAGES, "teacher": said}, np.zeros(4, int), verbose=0)


@once
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"features": {"a": X[:, :2]}}, r"'features' of x must hold 'b'\. Received: a"),
        ({"features": X[:, :2]}, r"'features' of x must be a dict of a, b, as in Taught\. Received: a ndarray"),
        ({"features": {"b": X[:, :2]}, "mask": {"c": Y}}, r"'mask' of x holds a, b\. Received: 'c'"),
        ({"features": {"b": X[:, :2]}, "mask": {"b": Y}}, "mask of 'b': a feature of one vector a clip has none"),
    ],
)
def test_features_by_name_that_are_not_as_announced(said, message):
    taught = Taught(features={"a": (2,), "b": (2,)})
    built = Distiller(taught, network(1, width=2), matches=[Match("b", "feature_map")])
    with pytest.raises(DistillationError, match=message):
        built.fit({"inputs": X, "teacher": said}, Y, verbose=0)


@once
def test_a_feature_may_be_called_logits():
    built = Distiller(Taught({"logits": (9,)}), network(1, width=2), matches=[Match("logits", "feature_map")])
    assert built.adapters[0].projection.kernel.shape == (2, 9)
