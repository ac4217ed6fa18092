"""keras_vitser/models/vit_ser/vit_ser.py"""

import importlib.util
import itertools
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_vitser as kv
from keras_vitser.errors import DistillationError
from keras_vitser.models import ViTSER
from tests.requirements import lacking, require

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

SMALL = {"image_size": (16, 12), "patch_size": (16, 1), "hidden_dim": 32, "num_heads": 2, "head_dim": 8, "mlp_dim": 24}
IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 16, 12, 1)).astype("float32")
LOAD_AND_PREDICT = """
import sys
import numpy as np
import keras_vitser as kv
model = kv.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


def to_numpy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def drawn(model, seed=1):
    """The model with every weight drawn, biases and scales too."""
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(0, 0.5, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def teacher():
    return drawn(ViTSER.teacher(4, depth=2, **SMALL))


@pytest.fixture(scope="module")
def student():
    return drawn(ViTSER.student(4, depth=2, **SMALL))


# Architecture


@pytest.mark.parametrize(
    ("build", "classes", "parameters"),
    [
        (ViTSER.teacher, 6, 2_911_943),
        (ViTSER.teacher, 7, 2_912_200),
        (ViTSER.student, 6, 1_417_734),
        (ViTSER.student, 7, 1_417_991),
    ],
)
def test_parameter_counts_are_the_published_ones(build, classes, parameters):
    assert build(num_classes=classes).count_params() == parameters


@pytest.mark.parametrize(("classes", "parameters"), [(6, 11_180_231), (7, 11_180_488)])
def test_parameter_counts_of_the_large_teacher(classes, parameters):
    assert ViTSER.teacher(classes, depth=12, num_heads=12).count_params() == parameters


def test_layer_names(teacher, student):
    common = ["patches", "class_token", "encoder_block_0", "encoder_block_1", "encoder_norm", "feature_map", "head"]
    assert [layer.name for layer in student.layers] == ["image", *common]
    assert [layer.name for layer in teacher.layers] == ["image", "conv_stem", "coordinates", *common]
    assert (teacher.name, student.name) == ("teacher", "student")


def test_default_shapes():
    student = ViTSER.student(7, depth=1)
    assert student.input_shape == (None, 128, 128, 1)
    assert student.output_shape == (None, 7)
    assert student.get_layer("class_token").output.shape == (None, 129, 256)


# Numbers


# Each role, pooling and size on each backend, and all of them together on one.
ON_EACH = [
    ("teacher", ((16, 16), (16, 1)), "class_token"),
    ("teacher", ((12, 20), (4, 2)), "mean"),
    ("student", ((16, 12), (16, 1)), "mean"),
    ("student", ((12, 20), (4, 2)), "class_token"),
]
SIZES = [((16, 16), (16, 1)), ((16, 12), (16, 1)), ((12, 20), (4, 2))]


@pytest.mark.parametrize(
    ("role", "sizes", "pooling"),
    [
        pytest.param(*case, marks=() if case in ON_EACH else pytest.mark.backends("tensorflow"))
        for case in itertools.product(("teacher", "student"), SIZES, ("class_token", "mean"))
    ],
)
def test_equals_plain_pytorch(role, sizes, pooling):
    require("torch")
    from .reference_vit_ser import reference, weights_of

    image_size, patch_size = sizes
    settings = SMALL | {"image_size": image_size, "patch_size": patch_size, "pooling": pooling}
    model = drawn(getattr(ViTSER, role)(4, depth=2, **settings))
    images = np.random.default_rng(2).uniform(0, 1, (2, *image_size, 1)).astype("float32")
    logits, feature = reference(
        weights_of(model),
        images,
        patch_size=patch_size,
        depth=2,
        heads=2,
        width=8,
        coordinates=role == "teacher",
        mean_pooling=pooling == "mean",
    )
    both = keras.Model(model.input, [model.output, model.get_layer("feature_map").output])
    # 1e-5 at numbers of about 1: two float32 networks that sum in different orders.
    for ours, theirs in zip(both.predict(images, verbose=0), (logits, feature), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


def test_one_head_as_wide_as_a_token_equals_plain_pytorch():
    require("torch")
    from .reference_vit_ser import reference, weights_of

    model = drawn(ViTSER.student(4, depth=1, **SMALL | {"num_heads": 1, "head_dim": 32}))
    weights = weights_of(model)
    assert not [name for name in weights if "attention_output" in name]
    logits, _ = reference(weights, IMAGES, patch_size=(16, 1), depth=1, heads=1, width=32)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), logits, atol=1e-5, rtol=0)  # as above


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_inner_values_are_those_of_the_graph(role, request):
    model = request.getfixturevalue(role)
    taps = [model.get_layer(name).output for name in ("encoder_norm", "feature_map", "head")]
    tokens, feature, logits = keras.Model(model.input, taps)(IMAGES)
    # 1e-6 at numbers of about 1: a graph may fuse operations.
    close = {"atol": 1e-6, "rtol": 0}
    np.testing.assert_allclose(to_numpy(model.tokens(IMAGES)), to_numpy(tokens), **close)
    np.testing.assert_allclose(to_numpy(model.feature_map(IMAGES)), to_numpy(feature), **close)
    np.testing.assert_allclose(to_numpy(model.get_layer("head")(model.feature_map(IMAGES))), to_numpy(logits), **close)
    np.testing.assert_allclose(to_numpy(model(IMAGES)), to_numpy(logits), **close)


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_one_pass_gives_all_that_can_be_named(pooling):
    model = drawn(ViTSER.teacher(4, depth=2, pooling=pooling, **SMALL))
    out = {name: to_numpy(tensor) for name, tensor in model.named_outputs(IMAGES, model.nameable_outputs).items()}
    assert list(out) == [
        *("all_tokens", "class_token", "patch_tokens", "conv_stem", "coordinates", "patches"),
        *("encoder_block_0", "encoder_block_1", "encoder_norm", "feature_map", "head", "logits"),
        *("encoder_block_0/attention", "encoder_block_1/attention", "pooled_attention"),
    ]
    layers = [name for name in out if name in {layer.name for layer in model.layers} - {"class_token"}]
    graph = keras.Model(model.input, [model.get_layer(name).output for name in layers])
    close = {"atol": 1e-5, "rtol": 0}  # at logits of about 10: a graph may fuse operations
    for name, expected in zip(layers, graph(IMAGES), strict=True):
        np.testing.assert_allclose(out[name], to_numpy(expected), **close)
    np.testing.assert_array_equal(out["class_token"], out["all_tokens"][:, 0])
    np.testing.assert_array_equal(out["patch_tokens"], out["all_tokens"][:, 1:])
    np.testing.assert_array_equal(out["logits"], out["head"])
    pooled = slice(1) if pooling == "class_token" else slice(None)
    np.testing.assert_array_equal(out["pooled_attention"], out["encoder_block_1/attention"][:, :, pooled])


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    ("names", "queries", "last"),
    [
        (["logits", "feature_map", "class_token", "pooled_attention", "encoder_block_0"], 1, "head"),
        (["logits", "all_tokens"], None, "head"),
        (["logits", "encoder_block_1"], None, "head"),
        (["encoder_block_1/attention"], None, "encoder_block_1"),
        (["feature_map"], 1, "feature_map"),
        (["patches"], "not run", "patches"),
    ],
)
def test_no_more_is_computed_than_is_named(names, queries, last, monkeypatch):
    model, calls = drawn(ViTSER.student(4, depth=2, **SMALL)), {}
    for layer in model.layers[1:]:

        def recorded(*args, layer=layer, call=layer.call, **kwargs):
            calls[layer.name] = kwargs.get("listeners")
            return call(*args, **kwargs)

        monkeypatch.setattr(layer, "call", recorded)
    out = model.named_outputs(IMAGES, names)
    assert set(out) == set(names)
    assert list(calls)[-1] == last
    assert calls.get("encoder_block_1", "not run") == queries


@pytest.mark.backends("torch")
def test_an_output_that_is_none():
    with pytest.raises(ValueError, match=r"`names` must be among all_tokens.*Received: 'encoder_block_2'"):
        ViTSER.student(4, depth=2, **SMALL).named_outputs(IMAGES, ["logits", "encoder_block_2"])


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_takes_images_as_every_functional_model_does(pooling, dtype):
    model = drawn(ViTSER.student(4, depth=2, pooling=pooling, **SMALL))
    images = (IMAGES * 9).astype(dtype)
    graph = keras.Model(model.input, model.output)
    expected = to_numpy(graph(images))
    # 1e-5 at logits of about 10: a product of one row sums in another order than one of thirteen.
    close = {"atol": 1e-5, "rtol": 0}
    for given in (images, {"image": images}, [images], images[..., 0]):
        np.testing.assert_allclose(to_numpy(model(given)), expected, **close)


@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_dropout_falls_in_training_alone():
    model = drawn(ViTSER.student(4, depth=2, dropout=0.5, **SMALL))
    np.testing.assert_array_equal(to_numpy(model(IMAGES)), to_numpy(model(IMAGES, training=False)))
    assert np.abs(to_numpy(model(IMAGES, training=True)) - to_numpy(model(IMAGES))).max() > 0.01


def test_attention_weights_are_those_of_the_blocks(teacher):
    attention = [to_numpy(weights) for weights in teacher.attention_weights(IMAGES)]
    assert [weights.shape for weights in attention] == [(3, 2, 13, 13)] * 2
    block = teacher.get_layer("encoder_block_1")
    before = keras.Model(teacher.input, teacher.get_layer("encoder_block_0").output)(IMAGES)
    _, expected = block(before, return_attention=True)
    np.testing.assert_allclose(attention[1], to_numpy(expected), atol=1e-6, rtol=0)  # as above
    for weights in attention:
        # 1e-6: a float32 sum of 13 numbers that make 1.
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6, rtol=0)
        assert weights.std() > 0.01


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
def test_attention_over_time_is_what_the_pooled_tokens_listen_to(pooling):
    model = drawn(ViTSER.student(4, depth=2, pooling=pooling, **SMALL))
    weights = to_numpy(model.attention_weights(IMAGES)[-1])
    listening = weights[:, :, 0] if pooling == "class_token" else weights.mean(axis=2)
    columns = listening.mean(axis=1)[:, 1:].reshape(len(IMAGES), *model.patch_grid).sum(axis=1)
    expected = columns / columns.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(to_numpy(model.attention_over_time(IMAGES)), expected, atol=1e-6, rtol=0)


def test_inner_values_are_those_of_inference():
    model = drawn(ViTSER.student(4, depth=1, dropout=0.5, **SMALL))
    np.testing.assert_array_equal(to_numpy(model.feature_map(IMAGES)), to_numpy(model.feature_map(IMAGES)))


def test_student_has_no_sense_of_position_and_the_teacher_has(teacher, student):
    swapped = IMAGES[:, :, ::-1]
    # 1e-5: the same float32 sums in another order.
    np.testing.assert_allclose(to_numpy(student(swapped)), to_numpy(student(IMAGES)), atol=1e-5, rtol=0)
    assert np.abs(to_numpy(teacher(swapped)) - to_numpy(teacher(IMAGES))).max() > 1e-3


def test_channels_first_changes_nothing(student):
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        teacher = ViTSER.teacher(4, depth=2, **SMALL)
        same = ViTSER.student(4, depth=2, **SMALL)
        same.set_weights(student.get_weights())
        outputs = [to_numpy(network(IMAGES)) for network in (same, teacher)]
    finally:
        keras.config.set_image_data_format(before)
    np.testing.assert_array_equal(outputs[0], to_numpy(student(IMAGES)))
    np.testing.assert_array_equal(outputs[1], to_numpy(teacher(IMAGES)))
    assert teacher.get_layer("conv_stem").output.shape == (None, 16, 12, 1)


# Configuration and files


@pytest.mark.parametrize("stem", [True, (2, 3)])
def test_config_brings_the_same_network_back(stem):
    arguments = SMALL | {"pooling": "mean", "dropout": 0.1, "conv_stem": stem, "coordinates": True, "name": "odd"}
    model = ViTSER(5, depth=1, **arguments)
    assert model.get_config().items() >= {"num_classes": 5, "depth": 1, **arguments}.items()
    through_json = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    for clone in (ViTSER.from_config(model.get_config()), keras.saving.deserialize_keras_object(through_json)):
        assert type(clone) is ViTSER
        assert clone.get_config() == model.get_config()
        clone.set_weights(model.get_weights())
        np.testing.assert_array_equal(to_numpy(clone(IMAGES)), to_numpy(model(IMAGES)))


@pytest.mark.parametrize("as_object", [False, True])
def test_config_keeps_the_dtype_policy(as_object, tmp_path):
    policy = keras.DTypePolicy("mixed_bfloat16") if as_object else "mixed_bfloat16"
    model = ViTSER.student(4, depth=1, dtype=policy, **SMALL)
    clone = ViTSER.from_config(model.get_config())
    model.save(tmp_path / "model.keras")
    for network in (model, clone, kv.load_model(tmp_path / "model.keras")):
        policies = {layer.dtype_policy.name for layer in network.layers[1:]}
        assert policies == {"mixed_bfloat16"}
        assert network.get_layer("head").compute_dtype == "bfloat16"
        assert all(variable.dtype == "float32" for variable in network.weights)


def test_keeps_trainable_through_a_file(tmp_path):
    model = ViTSER.student(4, depth=1, **SMALL)
    model.trainable = False
    model.save(tmp_path / "model.keras")
    assert not kv.load_model(tmp_path / "model.keras").trainable


def run_elsewhere(code, *arguments, backend):
    """Runs Python code in a fresh process on a backend."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.more
def test_a_fresh_process_gives_identical_predictions(teacher, tmp_path):
    teacher.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    paths = [tmp_path / name for name in ("model.keras", "images.npy", "out.npy")]
    run_elsewhere(LOAD_AND_PREDICT, *paths, backend=keras.backend.backend())
    np.testing.assert_array_equal(np.load(paths[2]), teacher.predict(IMAGES, verbose=0))


OTHERS = sorted({"tensorflow", "jax", "torch"} - {keras.backend.backend()})


@pytest.mark.more
@pytest.mark.parametrize("backend", OTHERS)
def test_another_backend_reads_the_file(backend, teacher, tmp_path):
    if importlib.util.find_spec(backend) is None:
        lacking(backend, f"{backend} is not installed")
    teacher.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    paths = [tmp_path / name for name in ("model.keras", "images.npy", "out.npy")]
    run_elsewhere(LOAD_AND_PREDICT, *paths, backend=backend)
    # 1e-5 at numbers of about 1: two float32 networks that sum in different orders.
    np.testing.assert_allclose(np.load(paths[2]), teacher.predict(IMAGES, verbose=0), atol=1e-5, rtol=0)


# Training


def test_learns_to_tell_two_images_apart():
    keras.utils.set_random_seed(0)
    model = ViTSER.student(2, depth=1, **SMALL)
    images = np.zeros((8, 16, 12, 1), "float32")
    images[::2, :4] = 1
    labels = np.arange(8) % 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    history = model.fit(images, labels, batch_size=8, epochs=15, verbose=0).history
    assert history["accuracy"][-1] == 1
    assert history["loss"][-1] < 0.5 * history["loss"][0]


# Refusals


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("name", ["num_classes", "hidden_dim", "depth", "num_heads", "head_dim", "mlp_dim"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3"])
def test_refuses_sizes_that_are_no_positive_int(name, value):
    arguments = {"num_classes": 4, **SMALL, name: value}
    with pytest.raises(ValueError, match=f"`{name}` must be a positive int. Received: {name}={value!r}"):
        ViTSER(**arguments)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize(
    ("stem", "words"),
    [
        ((), r"must be a bool or a tuple of channels. Received: conv_stem=\(\)"),
        (None, "must be a bool or a tuple of channels. Received: conv_stem=None"),
        (4, "must be a bool or a tuple of channels. Received: conv_stem=4"),
        ([4, 0], r"`conv_stem\[1\]` must be a positive int. Received: conv_stem\[1\]=0"),
    ],
)
def test_refuses_a_stem_without_channels(stem, words):
    with pytest.raises(ValueError, match=words):
        ViTSER(4, conv_stem=stem, **SMALL)


def test_a_stem_of_other_convolutions():
    stem = ViTSER.teacher(4, **SMALL | {"conv_stem": [3, 2]}).get_layer("conv_stem")
    assert [tuple(kernel.shape) for kernel in stem.weights[::2]] == [(3, 3, 1, 3), (3, 3, 3, 2)]


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("dropout", [1.0, -0.1, float("nan")])
def test_refuses_a_dropout_that_is_no_share(dropout):
    with pytest.raises(ValueError, match=r"`dropout` must be in \[0, 1\)"):
        ViTSER(4, dropout=dropout, **SMALL)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("coordinates", ["own", 2, None])
def test_refuses_unknown_coordinates(coordinates):
    with pytest.raises(ValueError, match=f"`coordinates` must be a bool or 'published'.*{coordinates!r}"):
        ViTSER(4, coordinates=coordinates, **SMALL)


def test_published_coordinates_come_back_from_a_file_and_differ_where_the_image_is_no_square(tmp_path):
    model = drawn(ViTSER.teacher(4, depth=1, coordinates="published", **SMALL))
    own = ViTSER.teacher(4, depth=1, **SMALL)
    own.set_weights(model.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = kv.load_model(tmp_path / "model.keras")
    assert loaded.coordinates == "published"
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    assert np.abs(to_numpy(own(IMAGES)) - to_numpy(model(IMAGES))).max() > 1e-3


@pytest.mark.backends("tensorflow")
def test_refuses_patches_that_do_not_fill_the_image():
    with pytest.raises(ValueError, match=r"must divide the image. Received: image of 16 bands and 12 frames"):
        ViTSER(4, **SMALL | {"patch_size": (16, 5)})


@pytest.mark.backends("tensorflow")
def test_refuses_an_unknown_pooling():
    with pytest.raises(ValueError, match=r"'class_token' or 'mean'"):
        ViTSER(4, **SMALL, pooling="max")


# Labels


@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
def test_labels_beyond_the_classes_are_refused():
    network = ViTSER.student(4, depth=1, **SMALL)
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    before = network.get_weights()
    with pytest.raises(DistillationError, match=r"from 0 to 3, one an example, for 4 classes.*: 4 at index 1"):
        network.fit(IMAGES, np.array([0, 4, 1]), verbose=0)
    batches = ((IMAGES, np.array(labels)) for labels in ([0, 1, 2], [0, 1, -2]))
    with pytest.raises(DistillationError, match="Received: -2;"):
        network.evaluate(batches, verbose=0)
    assert all(np.array_equal(*pair) for pair in zip(network.get_weights(), before, strict=True))
    history = network.fit(IMAGES, np.array([0, 3, 1]), 3, 1, 0)  # batch size, epochs and verbosity by their place
    assert history.params["epochs"] == 1
