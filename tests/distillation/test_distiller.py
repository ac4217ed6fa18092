"""keras_vitser/distillation/distiller.py, and the training step of the backend it runs on."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_vitser.distillation import Distiller, Match, attach_teacher_features
from keras_vitser.errors import DistillationError, NonFiniteWeightsError
from keras_vitser.models import ViTSER
from tests.requirements import require

from .networks import WEIGHT, Counting, X, Y, cross_entropy, forward, network, same, weights_of

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

LOGS = {"loss", "label_loss", "feature_loss", "accuracy"}
# Losses are float32 sums of numbers of about 1; 1e-6 is a few of their roundings.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 2

    def __getitem__(self, index):
        part = slice(4 * index, 4 * index + 4)
        return self.x[part], self.y[part]


def still(distiller, **kwargs):
    """Compiled so that losses are those of the weights as they are."""
    distiller.compile(keras.optimizers.SGD(0.0), jit_compile=False, **kwargs)
    return distiller


def fit_once(distiller, *data, **kwargs):
    return {name: value[0] for name, value in distiller.fit(*data, batch_size=8, verbose=0, **kwargs).history.items()}


def stated(teacher, student, weight=1.0):
    """Label loss and feature loss in NumPy."""
    (taught, _), (feature, logits) = forward(teacher), forward(student)
    return np.mean(weight * cross_entropy(logits)), np.mean(weight * np.abs(taught - feature).mean(axis=1))


# fit, with each kind of data


@pytest.mark.parametrize("kind", ["tf.data", "numpy", "PyDataset"])
def test_fit_word_for_word(kind):
    teacher, student, x = network(1), network(2), X
    if kind == "tf.data":
        sizes = {"image_size": (8, 4), "patch_size": (8, 1), "hidden_dim": 16, "num_heads": 2, "head_dim": 4}
        teacher = ViTSER.teacher(3, depth=1, mlp_dim=8, conv_stem=False, **sizes)  # the stem takes long to compile
        student = ViTSER.student(3, depth=1, mlp_dim=8, **sizes)
        x = np.random.default_rng(0).uniform(0, 1, (8, 8, 4, 1)).astype("float32")
    before, start = weights_of(teacher), weights_of(student)
    if kind == "tf.data":
        tf = require("tensorflow")
        ds = tf.data.Dataset.from_tensor_slices((x, Y)).batch(4)
        history = Distiller(teacher, student).fit(ds)
    elif kind == "numpy":
        history = Distiller(teacher, student).fit(x, Y)
    else:
        history = Distiller(teacher, student).fit(Batches(x, Y))
    assert set(history.history) == LOGS
    assert all(np.isfinite(values).all() for values in history.history.values())
    assert same(weights_of(teacher), before)
    assert not same(weights_of(student), start)


def test_compiles_itself_as_in_the_paper():
    distiller = Distiller(network(1), network(2))
    distiller.fit(X, Y, verbose=0)
    assert type(distiller.optimizer).__name__ == "Adam"
    assert float(distiller.optimizer.learning_rate) == pytest.approx(1e-4, rel=1e-6)  # kept in float32
    assert (distiller.alpha, distiller.label_weight) == (10.0, 1.0)


def test_logs_with_validation():
    history = Distiller(network(1), network(2)).fit(X, Y, validation_data=(X, Y), verbose=0).history
    assert set(history) == LOGS | {"val_loss", "val_accuracy"}


def test_learns():
    distiller = Distiller(network(1), network(2))
    distiller.compile(keras.optimizers.Adam(0.1), jit_compile=False)
    history = distiller.fit(X, Y, batch_size=8, epochs=15, verbose=0).history
    assert history["feature_loss"][-1] < 0.5 * history["feature_loss"][0]
    assert history["label_loss"][-1] < history["label_loss"][0]


# Losses, against NumPy


@pytest.mark.parametrize(("alpha", "label_weight"), [(10.0, 1.0), (2.5, 0.5), (1.0, 0.0), (0.0, 2.0)])
def test_losses_equal_the_statement_in_numpy(alpha, label_weight):
    teacher, student = network(1), network(2)
    label_loss, feature_loss = stated(teacher, student)
    logs = fit_once(still(Distiller(teacher, student, alpha, label_weight)), X, Y)
    np.testing.assert_allclose(logs["loss"], label_weight * label_loss + alpha * feature_loss, **CLOSE)
    for name, weight, value in (("label_loss", label_weight, label_loss), ("feature_loss", alpha, feature_loss)):
        assert (name in logs) == (weight > 0)
        if weight:
            np.testing.assert_allclose(logs[name], value, **CLOSE)
    assert ("accuracy" in logs) == (label_weight > 0)
    if label_weight:
        assert logs["accuracy"] == pytest.approx(np.mean(forward(student)[1].argmax(axis=1) == Y))


@pytest.mark.parametrize("kind", ["sample_weight", "class_weight"])
def test_weights_weigh_both_losses(kind):
    teacher, student = network(1), network(2)
    classes = {0: 0.5, 1: 2.0, 2: 1.25}
    weight = WEIGHT if kind == "sample_weight" else np.array([classes[label] for label in Y])
    label_loss, feature_loss = stated(teacher, student, weight)
    given = {kind: WEIGHT if kind == "sample_weight" else classes}
    logs = fit_once(still(Distiller(teacher, student)), X, Y, **given)
    np.testing.assert_allclose(logs["label_loss"], label_loss, **CLOSE)
    np.testing.assert_allclose(logs["feature_loss"], feature_loss, **CLOSE)
    np.testing.assert_allclose(logs["loss"], label_loss + 10 * feature_loss, **CLOSE)


def test_an_epoch_s_losses_are_means_over_examples_not_batches():
    teacher, student = network(1), network(2)
    label_loss, feature_loss = stated(teacher, student)
    history = still(Distiller(teacher, student)).fit(X, Y, batch_size=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["label_loss"][0], label_loss, **CLOSE)
    np.testing.assert_allclose(history["feature_loss"][0], feature_loss, **CLOSE)
    np.testing.assert_allclose(history["loss"][0], label_loss + 10 * feature_loss, **CLOSE)


@pytest.mark.parametrize("kind", ["kernel_regularizer", "activity_regularizer"])
def test_regularisers_of_the_student_count(kind):
    teacher, student = network(1), network(2, **{kind: keras.regularizers.L2(0.1)})
    label_loss, feature_loss = stated(teacher, student)
    hidden = student.get_layer("hidden").get_weights()[0] if kind == "kernel_regularizer" else forward(student)[0]
    penalty = 0.1 * np.sum(hidden.astype("float64") ** 2)
    if kind == "activity_regularizer":
        penalty /= len(X)  # Keras' own definition
    expected = label_loss + 10 * feature_loss + penalty
    history = still(Distiller(teacher, student)).fit(X, Y, batch_size=8, epochs=2, verbose=0).history
    np.testing.assert_allclose(history["loss"], [expected, expected], **CLOSE)


def test_cached_teacher_features_give_the_same_losses():
    counting = Counting()
    teacher, student = network(1, middle=[counting]), network(2)
    distiller = still(Distiller(teacher, student), run_eagerly=True)
    features = ops.convert_to_numpy(distiller.teacher_features(X)[0])
    expected = fit_once(distiller, X, Y)
    counting.count = 0
    logs = fit_once(distiller, attach_teacher_features(X, features), Y)
    assert counting.count == 0
    assert logs == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_cached_teacher_features_are_used_as_given():
    distiller = still(Distiller(network(1), network(2)))
    features = np.full((8, 5), 3.0, "float32")
    expected = np.abs(forward(distiller.student)[0] - 3).mean()
    np.testing.assert_allclose(
        fit_once(distiller, attach_teacher_features(X, features), Y)["feature_loss"], expected, **CLOSE
    )


# Steps, against plain PyTorch


def torch_step(teacher, student, *, alpha, label_weight, projection=None, rate=0.1):
    """One step of gradient descent on the same loss; the new weights."""
    torch = require("torch")
    weights = [torch.tensor(weight, requires_grad=True) for weight in student.get_weights()]
    if projection is not None:
        weights += [torch.tensor(weight, requires_grad=True) for weight in projection.get_weights()]
    kernel, bias, head_kernel, head_bias, *map_weights = weights
    feature = torch.tanh(torch.tensor(X) @ kernel + bias)
    logits = feature @ head_kernel + head_bias
    mapped = feature @ map_weights[0] + map_weights[1] if map_weights else feature
    taught = torch.tensor(forward(teacher)[0], dtype=torch.float32)
    loss = label_weight * torch.nn.functional.cross_entropy(logits, torch.tensor(Y))
    loss = loss + alpha * (mapped - taught).abs().mean()
    loss.backward()
    return [(w - rate * w.grad).detach().numpy() if w.grad is not None else w.detach().numpy() for w in weights]


@pytest.mark.parametrize(
    ("alpha", "label_weight", "jit_compile"),
    [
        (10.0, 1.0, False),
        (1.0, 0.0, False),
        (0.0, 1.0, False),
        pytest.param(10.0, 1.0, True, marks=pytest.mark.backends("jax")),
    ],
)
def test_one_step_equals_plain_pytorch(alpha, label_weight, jit_compile):
    teacher, student = network(1), network(2)
    expected = torch_step(teacher, student, alpha=alpha, label_weight=label_weight)
    distiller = Distiller(teacher, student, alpha, label_weight)
    distiller.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    fit_once(distiller, X, Y)
    for ours, theirs in zip(student.get_weights(), expected, strict=True):
        # 1e-6: weights of about 1, one float32 gradient.
        np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)


def test_one_step_with_a_projection_equals_plain_pytorch():
    teacher, student = network(1, width=7), network(2)
    distiller = Distiller(teacher, student)
    distiller.adapters[0].projection.set_weights([np.full((5, 7), 0.2), np.arange(7) / 10])
    expected = torch_step(teacher, student, alpha=10.0, label_weight=1.0, projection=distiller.adapters[0].projection)
    distiller.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    fit_once(distiller, X, Y)
    ours = [*student.get_weights(), *distiller.adapters[0].projection.get_weights()]
    for got, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(got, theirs, atol=1e-6, rtol=0)  # as above


# How often each network runs


@pytest.mark.parametrize(("alpha", "teacher_runs"), [(10.0, 3), (0.0, 0)])
def test_each_network_runs_once_a_step(alpha, teacher_runs):
    of_teacher, of_student = Counting(), Counting()
    teacher, student = network(1, middle=[of_teacher]), network(2, middle=[of_student])
    distiller = Distiller(teacher, student, alpha)
    distiller.compile(run_eagerly=True, jit_compile=False)
    distiller.fit(X, Y, batch_size=8, verbose=0)  # Keras builds metrics with a symbolic run of its own
    of_teacher.count = of_student.count = 0
    distiller.fit(X[:6], Y[:6], batch_size=2, verbose=0)
    assert (of_teacher.count, of_student.count) == (teacher_runs, 3)


def test_the_teacher_does_not_run_in_evaluate_and_predict():
    counting = Counting()
    distiller = Distiller(network(1, middle=[counting]), network(2))
    distiller.compile(run_eagerly=True, jit_compile=False)
    counting.count = 0
    distiller.evaluate(X, Y, verbose=0)
    distiller.predict(X, verbose=0)
    assert counting.count == 0


# What changes and what does not


def normalised(seed, **kwargs):
    """With batch normalisation and dropout."""
    middle = [keras.layers.BatchNormalization(momentum=0.9, name="norm"), keras.layers.Dropout(0.5)]
    return network(seed, middle=middle, **kwargs)


def test_the_teacher_is_left_as_it_was():
    teacher, student = normalised(1), normalised(2)
    teacher.get_layer("hidden").trainable = False
    before = weights_of(teacher)
    flags = [layer.trainable for layer in teacher.layers] + [v.trainable for v in teacher.variables]
    distiller = Distiller(teacher, student)
    distiller.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    distiller.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert same(weights_of(teacher), before)
    assert [layer.trainable for layer in teacher.layers] + [v.trainable for v in teacher.variables] == flags
    assert teacher.trainable


def test_the_teacher_teaches_in_inference_mode():
    teacher = normalised(1)
    distiller = Distiller(teacher, network(2))
    feature = np.tanh(X @ teacher.get_layer("hidden").get_weights()[0] + teacher.get_layer("hidden").get_weights()[1])
    expected = feature / np.sqrt(1 + 1e-3)  # moving mean 0 and variance 1, no dropout
    np.testing.assert_allclose(ops.convert_to_numpy(distiller.teacher_features(X)[0]), expected, **CLOSE)
    logs = fit_once(still(distiller), X, Y)
    np.testing.assert_allclose(logs["feature_loss"], np.abs(expected - forward(distiller.student)[0]).mean(), **CLOSE)


@pytest.mark.parametrize("label_weight", [1.0, 0.0])
def test_batch_norm_of_the_student_moves_once_a_step(label_weight):
    student = normalised(2)
    kernel, bias = student.get_layer("hidden").get_weights()
    expected = 0.1 * np.tanh(X @ kernel + bias).mean(axis=0)
    fit_once(still(Distiller(network(1), student, label_weight=label_weight)), X, Y)
    moving_mean = ops.convert_to_numpy(student.get_layer("norm").moving_mean.value)
    np.testing.assert_allclose(moving_mean, expected, **CLOSE)


def test_matching_alone_needs_no_labels_and_leaves_the_head():
    teacher, student = network(1), network(2)
    head, hidden = (student.get_layer(name).get_weights() for name in ("logits", "hidden"))
    distiller = Distiller(teacher, student, alpha=1.0, label_weight=0.0)
    history = distiller.fit(X, verbose=0).history
    assert set(history) == {"loss", "feature_loss"}
    assert same(student.get_layer("logits").get_weights(), head)
    assert not same(student.get_layer("hidden").get_weights(), hidden)


class CalledAsAWhole(keras.Model):
    """Subclassed: nobody knows which of its layers is the head."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)
        self(X)

    def feature_map(self, inputs, training=False):
        return self.hidden(inputs)

    def call(self, inputs, training=False):
        return self.head(self.feature_map(inputs, training))


def tiny_vit_ser():
    sizes = {"image_size": (8, 4), "patch_size": (8, 1), "hidden_dim": 16, "num_heads": 2, "head_dim": 4}
    return ViTSER.student(3, depth=1, mlp_dim=8, **sizes)


@pytest.mark.parametrize("make", [CalledAsAWhole, tiny_vit_ser])
def test_matching_alone_does_not_train_the_head_of_a_network_called_as_a_whole(make, recwarn):
    student, x = make(), np.random.default_rng(0).random((8, 6) if make is CalledAsAWhole else (8, 8, 4, 1))
    head = student.layers[-1]
    before, others = head.get_weights(), len(student.trainable_variables) - 2
    distiller = Distiller(make(), student, label_weight=0.0)
    distiller.compile(keras.optimizers.Adam(0.01, weight_decay=0.1))  # the decay reaches what the optimizer knows
    distiller.fit(x.astype("float32"), batch_size=8, verbose=0)
    assert not [warning for warning in recwarn if "Gradients do not exist" in str(warning.message)]
    assert same(head.get_weights(), before)
    assert len(distiller.trainable_variables) == others
    assert not {id(v) for v in head.variables} & {id(v) for v in distiller.trainable_variables}
    assert {id(v) for v in head.variables} <= {id(v) for v in Distiller(make(), student).trainable_variables}


def test_a_frozen_layer_of_the_student_stays():
    student = network(2)
    student.get_layer("hidden").trainable = False
    before = student.get_layer("hidden").get_weights()
    Distiller(network(1), student).fit(X, Y, verbose=0)
    assert same(student.get_layer("hidden").get_weights(), before)


def test_other_widths_are_projected(tmp_path):
    teacher, student = network(1, width=7), network(2)
    parameters = student.count_params()
    distiller = Distiller(teacher, student)
    before = distiller.adapters[0].projection.get_weights()
    assert [weight.shape for weight in before] == [(5, 7), (7,)]
    trained = {id(variable) for variable in distiller.trainable_variables}
    assert {id(v) for v in distiller.adapters[0].projection.variables} | {id(v) for v in student.variables} == trained
    distiller.fit(X, Y, verbose=0)
    assert not same(distiller.adapters[0].projection.get_weights(), before)
    assert student.count_params() == parameters
    student.save(tmp_path / "student.keras")
    loaded = keras.saving.load_model(tmp_path / "student.keras")
    assert [v.path for v in loaded.variables] == [v.path for v in student.variables]


def test_equal_widths_need_no_projection():
    assert Distiller(network(1), network(2)).adapters == [None]


def test_no_variable_is_trained_and_kept_at_once():
    distiller = Distiller(normalised(1, width=7), normalised(2))
    distiller.compile()
    trained = {id(v) for v in distiller.trainable_variables}
    kept = {id(v) for v in distiller.non_trainable_variables}
    assert not trained & kept
    assert trained | kept == {id(v) for v in distiller.variables}
    assert not trained & {id(v) for v in distiller.teacher.variables}


def test_features_of_inner_layers_by_name():
    teacher, student = network(1, middle=[keras.layers.Dense(4)]), network(2, middle=[keras.layers.Dense(3)])
    kernel, bias = teacher.get_layer("hidden").get_weights()
    distiller = still(Distiller(teacher, student, alpha=10, matches=[Match("hidden", "hidden")]))
    student_kernel, student_bias = student.get_layer("hidden").get_weights()
    expected = np.abs(np.tanh(X @ kernel + bias) - np.tanh(X @ student_kernel + student_bias)).mean()
    np.testing.assert_allclose(fit_once(distiller, X, Y)["feature_loss"], expected, **CLOSE)


# Evaluation


@pytest.mark.parametrize("regularizer", [None, keras.regularizers.L2(0.1)])
def test_evaluate_is_the_student_s_in_inference_mode(regularizer):
    student = normalised(2, kernel_regularizer=regularizer)
    distiller = Distiller(network(1, kernel_regularizer=regularizer), student)
    distiller.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    distiller.fit(X, Y, batch_size=4, verbose=0)
    ours = distiller.evaluate(X, Y, verbose=0, return_dict=True)
    predicted = distiller.predict(X, verbose=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile("sgd", loss, metrics=["accuracy"], jit_compile=False)
    theirs = student.evaluate(X, Y, verbose=0, return_dict=True)
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)
    logits = ops.convert_to_numpy(student(X, training=False))
    np.testing.assert_allclose(predicted, logits, **CLOSE)
    penalty = 0.1 * np.sum(student.get_layer("hidden").get_weights()[0] ** 2) if regularizer else 0
    np.testing.assert_allclose(ours["loss"], cross_entropy(logits).mean() + penalty, **CLOSE)


# Seeds and files


def test_the_same_seed_gives_the_same_weights():
    def trained():
        keras.utils.set_random_seed(5)
        student = normalised(2)
        distiller = Distiller(network(1, width=7), student)
        distiller.compile(keras.optimizers.Adam(0.01), jit_compile=False)
        distiller.fit(X, Y, batch_size=4, epochs=2, verbose=0)
        return weights_of(distiller)

    assert same(trained(), trained())


def test_goes_on_after_a_file(tmp_path):
    distiller = Distiller(network(1, width=7), network(2), alpha=3.0, label_weight=0.5)
    distiller.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    distiller.fit(X, Y, batch_size=4, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    assert (loaded.alpha, loaded.label_weight) == (3.0, 0.5)
    assert same(weights_of(loaded.student), weights_of(distiller.student))
    assert same(weights_of(loaded.teacher), weights_of(distiller.teacher))
    assert same(weights_of(loaded.adapters[0].projection), weights_of(distiller.adapters[0].projection))
    assert int(loaded.optimizer.iterations.value) == 2
    for each in (distiller, loaded):
        each.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    for ours, theirs in zip(weights_of(loaded.student), weights_of(distiller.student), strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)


@pytest.mark.parametrize("spoiled", ["teacher", "student"])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, spoiled):
    distiller = Distiller(network(1), network(2))
    weights = getattr(distiller, spoiled).get_weights()
    getattr(distiller, spoiled).set_weights([weights[0] * np.nan, *weights[1:]])
    with pytest.raises(NonFiniteWeightsError, match=r"distiller\.keras: the layer hidden has a weight \(kernel\)"):
        distiller.save(tmp_path / "distiller.keras")
    assert not list(tmp_path.iterdir())


# Refusals


def refused(message, teacher=None, student=None, **kwargs):
    with pytest.raises(DistillationError, match=message):
        Distiller(network(1) if teacher is None else teacher, network(2) if student is None else student, **kwargs)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.backends("torch")
def test_refuses_what_is_no_model():
    refused("`teacher` must be a keras.Model. Received: str", teacher="teacher.keras")
    refused("`student` must be a keras.Model. Received: Dense", student=keras.layers.Dense(3))


@pytest.mark.backends("torch")
def test_refuses_what_cannot_be_tapped():
    refused("`student` must be a functional model.*Received: Subclassed", student=Subclassed())
    unbuilt = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(3)])
    refused(r"`teacher` must be a functional model.*start with keras.Input\(shape\)", teacher=unbuilt)


@pytest.mark.backends("torch")
def test_refuses_two_outputs():
    model = network(1)
    two = keras.Model(model.inputs, [model.output, model.get_layer("hidden").output])
    refused("must have one output, the logits.*with 2 outputs", student=two)


@pytest.mark.backends("torch")
def test_refuses_shared_weights():
    model = network(1)
    refused("share weights.*clone_model", teacher=model, student=model)
    half = keras.Model(model.inputs, keras.layers.Dense(3)(model.get_layer("hidden").output))
    refused("share weights", teacher=model, student=half)


@pytest.mark.backends("torch")
def test_refuses_other_inputs():
    refused(
        r"must take the same inputs. Received: teacher \[\(None, 4\)\], student \[\(None, 6\)\]", network(1, inputs=4)
    )


@pytest.mark.backends("torch")
def test_refuses_features_of_other_kinds():
    def sequence(length):
        inputs = keras.Input((6,))
        x = keras.layers.Reshape((length, 6 // length), name="steps")(inputs)
        return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))

    matches = [Match("steps", "steps", resize=False)]
    refused("resize=False.*allow resize=True", sequence(2), sequence(3), matches=matches)
    message = r"of one kind. Received: teacher 'steps' \(None, 2, 3\), student 'hidden' \(None, 5\)"
    refused(message, sequence(2), network(2), matches=[Match("steps", "hidden")])


@pytest.mark.backends("torch")
def test_refuses_unknown_layers():
    message = r"`teacher` .*'hiden' is no layer.*did you mean 'hidden'\? its layers are hidden, logits"
    refused(message, matches=[Match("hiden", "hidden")])
    refused("`student` .*'y' is no layer", matches=[Match("hidden", "y")])


@pytest.mark.backends("torch")
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_refuses_a_student_that_gives_probabilities(activation):
    model = network(2)
    head = keras.layers.Activation(activation)(model.output)
    refused("`student` must return logits.*activation=None", student=keras.Model(model.inputs, head))


@pytest.mark.backends("torch")
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["alpha", "label_weight"])
def test_refuses_weights_that_are_no_share(name, value):
    refused(f"`{name}` must be a number of at least 0. Received: {name}={value}", **{name: value})


@pytest.mark.backends("torch")
def test_refuses_to_learn_nothing():
    refused("`alpha` and `label_weight` are both 0", alpha=0, label_weight=0)


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.CategoricalCrossentropy(from_logits=False),
        "sparse_categorical_crossentropy",
        keras.losses.sparse_categorical_crossentropy,
    ],
)
def test_refuses_losses_on_probabilities(loss):
    with pytest.raises(DistillationError, match=r"must take logits.*from_logits=False; give it from_logits=True"):
        Distiller(network(1), network(2)).compile(loss=loss)


def test_takes_other_losses_on_logits():
    teacher, student = network(1), network(2)
    one_hot = np.eye(3, dtype="float32")[Y]
    distiller = Distiller(teacher, student)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    logs = fit_once(still(distiller, loss=loss, metrics=["categorical_accuracy"]), X, one_hot)
    np.testing.assert_allclose(logs["label_loss"], stated(teacher, student)[0], **CLOSE)
    assert "categorical_accuracy" in logs


@pytest.mark.backends("torch")
def test_refuses_data_without_labels():
    with pytest.raises(DistillationError, match=r"the data has none; give \(x, y\) batches, or .*label_weight=0"):
        Distiller(network(1), network(2)).fit(X, verbose=0)


@pytest.mark.backends("torch")
def test_refuses_to_evaluate_data_without_labels():
    with pytest.raises(DistillationError, match="the data has none"):
        Distiller(network(1), network(2)).evaluate(X, verbose=0)


@pytest.mark.backends("torch")
def test_refuses_to_evaluate_without_a_label_loss():
    distiller = Distiller(network(1), network(2), label_weight=0.0)
    with pytest.raises(DistillationError, match="`evaluate` needs the label loss"):
        distiller.evaluate(X, Y)
    with pytest.raises(DistillationError, match="`validation_data` needs the label loss"):
        distiller.fit(X, Y, validation_data=(X, Y), verbose=0)


# Labels that the loss cannot learn

EXAMPLES = np.random.default_rng(5).standard_normal((12, 6)).astype("float32")


class Labelled(keras.utils.PyDataset):
    """Three batches of `EXAMPLES`."""

    def __init__(self, labels, **kwargs):
        super().__init__(**kwargs)
        self.labels = labels

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(4 * index, 4 * index + 4)
        return EXAMPLES[part], self.labels[part]


def generated(labels):
    return (Labelled(labels)[index] for index in range(3))


def tf_dataset(labels):
    tf = require("tensorflow")
    return tf.data.Dataset.from_tensor_slices((EXAMPLES, labels)).batch(4)


def torch_loader(labels):
    torch = require("torch")
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(EXAMPLES), torch.from_numpy(labels))
    return torch.utils.data.DataLoader(dataset, batch_size=4)


DATASETS = {
    "PyDataset": Labelled,
    "PyDataset workers": lambda labels: Labelled(labels, workers=2),
    "generator": generated,
    "tf.data": tf_dataset,
    "torch": torch_loader,
}


def labels_with(label, dtype="int64"):
    labels = (np.arange(12) % 3).astype(dtype)
    labels[1] = label
    return labels


@pytest.fixture(scope="module")
def learner():
    """A compiled distiller of three classes that learned once."""
    distiller = Distiller(network(1), network(2))
    distiller.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    distiller.fit(EXAMPLES, labels_with(0), batch_size=4, verbose=0)
    return distiller


BAD = {
    "7": labels_with(7),
    "-1": labels_with(-1),
    "200": labels_with(200, "uint8"),
    "0.5": labels_with(0.5, "float32"),
    "nan": labels_with(np.nan, "float32"),
    "'calm'": np.full(12, "calm"),
    r"labels of the shape \(batch, 3\)": np.eye(3, dtype="float32")[labels_with(0)],
}


def refuses(received, call, *data, **kwargs):
    with pytest.raises(DistillationError, match=f"integers from 0 to 2, one an example, for 3 classes.*: {received}"):
        call(*data, verbose=0, **kwargs)


@pytest.mark.parametrize("received", BAD)
def test_labels_in_arrays_are_checked_before_the_first_step(learner, received):
    labels, before = BAD[received], weights_of(learner.student)
    refuses(received, learner.fit, EXAMPLES, labels, batch_size=4)
    refuses(received, learner.fit, EXAMPLES, labels, batch_size=4, cache_teacher=True)
    refuses(received, learner.fit, EXAMPLES, labels_with(0), batch_size=4, validation_data=(EXAMPLES, labels))
    refuses(received, learner.fit, EXAMPLES, ops.convert_to_tensor(labels) if labels.dtype.kind != "U" else labels)
    refuses(received, learner.evaluate, EXAMPLES, labels, batch_size=4)
    assert same(weights_of(learner.student), before)


@pytest.mark.parametrize("kind", DATASETS)
def test_labels_in_datasets_are_checked_a_batch_at_a_time(learner, kind):
    for received, labels in BAD.items():
        if kind != "torch" or labels.dtype.kind != "U":  # PyTorch has no such tensors
            refuses(received, learner.fit, DATASETS[kind](labels), shuffle=False)
    refuses("7", learner.evaluate, DATASETS[kind](BAD["7"]))
    if kind != "generator":
        refuses("7", learner.fit, DATASETS[kind](BAD["7"]), shuffle=False, cache_teacher=True)
        refuses("7", learner.fit, EXAMPLES, labels_with(0), validation_data=DATASETS[kind](BAD["7"]))


@pytest.mark.parametrize("steps", [0, 1])
def test_a_label_in_a_later_batch_leaves_the_weights_of_the_steps_before(steps):
    """On JAX, where Keras takes the values out of the variables while it trains."""
    labels = labels_with(0)
    labels[4 * (1 + steps)] = 9
    distiller = Distiller(network(1), network(2))
    distiller.compile(keras.optimizers.Adam(0.1), jit_compile=False)
    refuses("9", distiller.fit, Labelled(labels), shuffle=False)
    assert all(np.isfinite(weight).all() for weight in weights_of(distiller))
    distiller.fit(EXAMPLES, labels_with(0), batch_size=4, verbose=0)
    assert 3 <= int(distiller.optimizer.iterations) <= 3 + 1 + steps


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
@pytest.mark.parametrize(
    "kind", sorted(set(DATASETS) - {"PyDataset workers"})
)  # of which Keras itself leaves batches out
def test_a_dataset_that_is_checked_teaches_the_same(kind):
    weight = np.linspace(0.1, 2, 12).astype("float32")

    def learned(*data, **kwargs):
        distiller = Distiller(network(1), network(2))
        distiller.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        distiller.fit(*data, epochs=1 if kind == "generator" else 2, shuffle=False, verbose=0, **kwargs)
        return weights_of(distiller.student)

    def assert_close(ours, theirs):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, **CLOSE)

    labels = labels_with(1)
    assert_close(learned(DATASETS[kind](labels)), learned(EXAMPLES, labels, batch_size=4))
    if kind == "tf.data":
        weighted = DATASETS[kind](labels).unbatch().batch(12).map(lambda x, y: (x, y, weight))
        assert_close(learned(weighted), learned(EXAMPLES, labels, batch_size=12, sample_weight=weight))


def test_labels_are_those_of_the_loss():
    distiller = still(
        Distiller(network(1), network(2)),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
    )
    rows = keras.utils.to_categorical(Y, 3)
    assert fit_once(distiller, X, rows)["label_loss"] == pytest.approx(stated(network(1), network(2))[0], rel=1e-6)
    with pytest.raises(DistillationError, match=r"must be rows of 3 numbers.*shape \(batch\); .*to_categorical"):
        distiller.fit(X, Y, verbose=0)


def test_labels_that_are_not_learned_are_not_looked_at():
    Distiller(network(1), network(2), label_weight=0).fit(X, np.full(8, 99), batch_size=8, verbose=0)
