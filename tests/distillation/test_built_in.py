"""What keras.distillation.Distiller leaves to be wished for, and how keras_vitser.distillation.Distiller does it.

One test for each row of README's table of the two, in its order, about both sides: when a new Keras no longer has a
shortcoming, its test fails, and the row goes.
"""

import keras
import numpy as np
import pytest
from keras import ops

from keras_vitser.distillation import Distiller, Match, SoftLabels, transfer
from keras_vitser.errors import DistillationError

from .networks import WEIGHT, Counting, X, Y, forward, network, same, weights_of

# Keras says so of the inner models that its own distiller makes.
pytestmark = [
    pytest.mark.more,
    pytest.mark.backends("tensorflow"),  # what Keras' own does is told here; ours is tested on each in its own files
    pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match"),
]

CLOSE = {"rel": 1e-5, "abs": 1e-6}  # a few roundings of float32
CLASS_WEIGHT = {0: 0.5, 1: 2.0, 2: 1.25}


def built_in(teacher, student, *losses, still=False):
    """The one of Keras, by default with its right logits loss (see the first test)."""
    losses = list(losses) or [keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence())]
    return compiled(keras.distillation.Distiller(teacher, student, losses), still)


def ours(teacher, student, *matches, still=False):
    return compiled(Distiller(teacher, student, matches=list(matches) or None), still)


def compiled(distiller, still):
    """Run eagerly, so that runs can be counted; with a learning rate of 0, losses are those of the weights as given."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.0 if still else 0.1)
    distiller.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False, run_eagerly=True)
    return distiller


def features(teacher_layer="hidden", student_layer="hidden"):
    return keras.distillation.FeatureDistillation("mae", teacher_layer, student_layer)


def loss_of(distiller, **kwargs):
    return distiller.fit(X, Y, batch_size=8, verbose=0, **kwargs).history["loss"][0]


def fit_counted(distiller, counting, epochs=1, **kwargs):
    """How often a network runs in `fit`, in batches of 4 of 8 examples."""
    distiller.fit(X[:1], Y[:1], verbose=0)  # Keras builds metrics with a run of its own
    counting.count = 0
    distiller.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, **kwargs)
    return counting.count


def within(model):
    """A network around another one, which is its layer `inner`."""
    inner = keras.Model(model.inputs, model.output, name="inner")
    return keras.Sequential([keras.Input((6,)), inner, keras.layers.Dense(3, name="head")])


def of_dtype(model, dtype):
    return keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": dtype})
    )


def softmax_head(model):
    return keras.Model(model.inputs, keras.layers.Softmax(name="probabilities")(model.output))


# Losses


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def divergence(of_teacher, of_student):
    """Kullback-Leibler, the mean over a batch."""
    return np.mean(np.sum(of_teacher * np.log(of_teacher / of_student), axis=1))


def test_soft_labels_are_kl_divergence():
    """The default of Keras' LogitsDistillation leaves out softmax and the squared temperature."""
    teacher, student = np.array([[2.0, 1.0, -1.0]], "float32"), np.array([[-1.0, 0.5, 2.0]], "float32")
    right = 3.0**2 * divergence(softmax(teacher / 3), softmax(student / 3))
    clipped = divergence(*(np.clip(logits / 3, 1e-7, 1) for logits in (teacher, student)))
    default = keras.distillation.LogitsDistillation(temperature=3.0)
    assert float(default.compute_loss(teacher, student)) == pytest.approx(clipped, **CLOSE)
    assert clipped != pytest.approx(right, rel=0.5)
    assert float(default.compute_loss(-np.abs(teacher), -np.abs(student))) == pytest.approx(0.0, abs=1e-6)
    repaired = keras.distillation.LogitsDistillation(temperature=3.0, loss=keras.losses.KLDivergence())
    assert float(repaired.compute_loss(teacher, student)) == pytest.approx(right, **CLOSE)

    assert float(SoftLabels(temperature=3.0)(teacher, student)) == pytest.approx(right, **CLOSE)


def test_sample_weights_and_class_weights_count():
    for given in ({"sample_weight": WEIGHT}, {"class_weight": CLASS_WEIGHT}):
        theirs = [loss_of(built_in(network(1), network(2), still=True), **kwargs) for kwargs in ({}, given)]
        assert theirs[0] == pytest.approx(theirs[1], **CLOSE)

        mine = [loss_of(ours(network(1), network(2), still=True), **kwargs) for kwargs in ({}, given)]
        assert mine[0] != pytest.approx(mine[1], rel=0.01)


@keras.saving.register_keras_serializable(package="tests")
class AddsLoss(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(7.0 + 0.0 * ops.sum(inputs))
        return inputs


def test_regularisers_and_added_losses_count():
    def students():
        return [
            network(2),
            network(2, kernel_regularizer=keras.regularizers.L2(0.5)),
            network(2, middle=[AddsLoss()]),
        ]

    kernel = network(2).get_layer("hidden").get_weights()[0]
    penalties = [0.5 * np.sum(kernel**2), 7.0]
    plain, *others = [loss_of(built_in(network(1), student, still=True)) for student in students()]
    assert others == pytest.approx([plain, plain], **CLOSE)

    plain, *others = [loss_of(ours(network(1), student, still=True)) for student in students()]
    assert [other - plain for other in others] == pytest.approx(penalties, rel=1e-5)


def test_features_alone_need_no_labels():
    with pytest.raises(ValueError, match="'loss' cannot be `None`"):
        keras.distillation.Distiller(network(1), network(2), [features()]).compile("sgd", loss=None)

    history = Distiller(network(1), network(2), label_weight=0.0).fit(X, verbose=0).history
    assert set(history) == {"loss", "feature_loss"}


# Features


def test_features_inside_nested_models_can_be_named():
    for name in ("inner/hidden", "hidden"):
        with pytest.raises(ValueError, match=f"No such layer: {name}"):
            built_in(within(network(1)), within(network(2)), features(name, name))

    teacher, student = network(1), network(2)
    distiller = ours(within(teacher), within(student), Match("inner/hidden", "inner/hidden"), still=True)
    expected = np.abs(forward(teacher)[0] - forward(student)[0]).mean()
    logs = distiller.fit(X, Y, batch_size=8, verbose=0).history
    assert logs["feature_loss"][0] == pytest.approx(expected, **CLOSE)


def test_both_features_must_be_named():
    """Where the teacher's layer is not named, Keras takes the outputs of both and leaves out the student's layer."""
    loss = [
        loss_of(built_in(network(1), network(2), features(None, student_layer), still=True))
        for student_layer in ("hidden", None)
    ]
    assert loss[0] == pytest.approx(loss[1], **CLOSE)

    with pytest.raises(TypeError, match="student"):
        Match("hidden")
    with pytest.raises(DistillationError, match="`teacher` of a Match must name a layer"):
        Match(None, "hidden")


def test_widths_may_differ():
    with pytest.raises(Exception, match=r"(?i)shape|size|broadcast|dimension"):
        loss_of(built_in(network(1, width=7), network(2), features()))

    distiller = ours(network(1, width=7), network(2))
    assert np.isfinite(loss_of(distiller))
    assert distiller.adapters[0].projection.units == 7


def test_dtypes_may_differ():
    pairs = [("float32", "mixed_float16"), ("mixed_float16", "float32")]
    for dtypes in pairs:
        teacher, student = (of_dtype(network(seed), dtype) for seed, dtype in enumerate(dtypes))
        with pytest.raises(ValueError, match="output dtypes must match"):
            built_in(teacher, student)

        assert np.isfinite(loss_of(ours(teacher, student)))


def test_a_softmax_head_is_refused():
    """Keras applies softmax a second time: the loss is not that of the logits."""
    kl = keras.distillation.LogitsDistillation(temperature=1.0, loss=keras.losses.KLDivergence())
    teacher, student = network(1), network(2)
    logs = built_in(softmax_head(teacher), softmax_head(student), kl, still=True).fit(X, Y, batch_size=8, verbose=0)
    of_teacher, of_student = (softmax(forward(model)[1]) for model in (teacher, student))
    twice = divergence(softmax(of_teacher), softmax(of_student))
    assert logs.history["distillation_loss"][0] == pytest.approx(twice, **CLOSE)
    assert twice != pytest.approx(divergence(of_teacher, of_student), rel=0.1)

    logits = Match("logits", "logits", loss=SoftLabels(temperature=1.0))
    with pytest.raises(DistillationError, match="`student` must return logits"):
        Distiller(teacher, softmax_head(student))
    with pytest.raises(DistillationError, match="`teacher` must return logits"):
        Distiller(softmax_head(teacher), student, matches=[logits])


# Runs


def normalised(counting):
    return network(2, middle=[keras.layers.BatchNormalization(momentum=0.9, name="norm"), counting])


def test_the_student_runs_once_a_step():
    """With a feature loss, Keras runs it twice, and batch normalisation moves twice."""
    counting = Counting()
    assert fit_counted(built_in(network(1), normalised(counting), features()), counting) == 4
    counting = Counting()
    assert fit_counted(ours(network(1), normalised(counting)), counting) == 2

    batch_mean = forward(network(2))[0].mean(axis=0)
    for distiller, moved in (
        (built_in(network(1), normalised(Counting()), features(), still=True), 0.1 + 0.9 * 0.1),
        (ours(network(1), normalised(Counting()), still=True), 0.1),
    ):
        loss_of(distiller)
        moving_mean = ops.convert_to_numpy(distiller.student.get_layer("norm").moving_mean.value)
        np.testing.assert_allclose(moving_mean, moved * batch_mean, rtol=1e-5, atol=1e-6)


def test_evaluate_leaves_the_student_as_it_is():
    """With a feature loss, Keras runs it in training mode there too."""
    for distiller, stays in (
        (built_in(network(1), normalised(Counting()), features()), False),
        (ours(network(1), normalised(Counting())), True),
    ):
        before = weights_of(distiller.student)
        distiller.evaluate(X, Y, verbose=0)
        assert same(weights_of(distiller.student), before) == stays


def test_evaluate_runs_no_teacher():
    for make, runs in ((built_in, 2), (ours, 0)):
        counting = Counting()
        distiller = make(network(1, middle=[counting]), network(2))
        distiller.evaluate(X[:1], Y[:1], verbose=0)
        counting.count = 0
        distiller.evaluate(X, Y, batch_size=4, verbose=0)
        assert counting.count == runs


def test_the_teacher_can_run_once_an_example():
    """Nothing in Keras keeps what the teacher said: it runs for each of 2 batches in each of 3 epochs."""
    counting = Counting()
    distiller = built_in(network(1, middle=[counting]), network(2))
    assert fit_counted(distiller, counting, epochs=3) == 6

    counting = Counting()
    distiller = ours(network(1, middle=[counting]), network(2))
    distiller.teacher_feature_model.run_eagerly = True
    assert fit_counted(distiller, counting, epochs=3, cache_teacher=True) == 2


# Around it


def test_the_teacher_stays_trainable():
    for make, stays in ((built_in, False), (ours, True)):
        teacher = network(1)
        make(teacher, network(2))
        assert teacher.trainable == stays
        assert len(teacher.trainable_variables) == (4 if stays else 0)


def test_a_reloaded_distiller_trains_on(tmp_path):
    distiller = built_in(network(1), network(2))
    loss_of(distiller)
    distiller.save(tmp_path / "built_in.keras")
    with pytest.warns(UserWarning, match=r"`compile\(\)` was not called"):
        reloaded = keras.saving.load_model(tmp_path / "built_in.keras")
    with pytest.raises(AttributeError, match="'Distiller' object has no attribute"):
        loss_of(reloaded)

    distiller = ours(network(1), network(2))
    loss_of(distiller)
    distiller.save(tmp_path / "ours.keras")
    reloaded = keras.saving.load_model(tmp_path / "ours.keras")
    assert loss_of(reloaded) == pytest.approx(loss_of(distiller), **CLOSE)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return X, Y


def test_both_stages_are_one_call():
    assert {name for name in dir(keras.distillation) if not name.startswith("_")} == {
        "Distiller",
        "DistillationLoss",
        "FeatureDistillation",
        "LogitsDistillation",
    }

    histories = transfer(network(1), network(2), Batches(), matching_epochs=1, tuning_epochs=2, verbose=0)
    assert set(histories["matching"].history) >= {"loss", "feature_loss"}
    assert "label_loss" not in histories["matching"].history
    assert len(histories["student"].history["label_loss"]) == 2
