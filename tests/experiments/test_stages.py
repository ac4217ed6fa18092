"""The three stages on tiny networks: who is trained, who is not, and which epoch is kept."""

import keras
import numpy as np
import pytest
import scipy.special

from keras_vitser.distillation import Distiller
from keras_vitser.errors import DivergedError
from keras_vitser.experiments.config import StageSection
from keras_vitser.experiments.config.vit_ser import StudentStage, TeacherStage
from keras_vitser.experiments.stages import BestEpoch, Lesson, Part, Watcher, in_full_batches
from keras_vitser.experiments.systems.vit_ser import VitSer
from keras_vitser.training.batches import Batches, Shift
from tests.experiments.made_up import network

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])

STAGES = {stage.name: stage for stage in VitSer.stages}
CLASSES = 3
CLIPS = 24
MEASURED = {"validation_loss", "validation_weighted_accuracy", "validation_unweighted_accuracy"}
ALWAYS = {"stage", "epoch", "loss", "learning_rate", "seconds", "clips_per_second"}


def part(seed, count=CLIPS):
    """Images with a bright band where the label says, so that something can be learned."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % CLASSES
    images = generator.uniform(0, 0.3, (count, 16, 16, 1)).astype("float32")
    for image, label in zip(images, labels, strict=True):
        image[5 * label : 5 * label + 5] += 0.7
    return Part(images, labels)


def teach(stage, networks, train, validation, settings, watcher=Watcher(), augment=()):  # noqa: B008 it is frozen
    """Trains one stage of ViT-SER."""
    STAGES[stage].train(Lesson(stage, settings, train, validation, 0, watcher, augment=augment), networks)


def weights(model):
    return [weight.copy() for weight in model.get_weights()]


def same(first, second):
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def feature_loss(teacher, student, images):
    features = [keras.ops.convert_to_numpy(network.feature_map(images)) for network in (teacher, student)]
    return float(np.abs(features[0] - features[1]).mean())


class Trained:
    """The three stages once, with what was seen on the way."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        self.rows, self.steps = [], []
        watcher = Watcher(self.rows.append, lambda *step: self.steps.append(step))
        self.train, self.validation = part(0), part(1)
        self.teacher, self.student = network("teacher", CLASSES), network("student", CLASSES)
        settings = {"batch_size": 8, "learning_rate": 3e-3, "halve_every": 2}
        both = {"teacher": self.teacher, "student": self.student}
        parts = self.train, self.validation
        teach("teacher", both, *parts, TeacherStage(epochs=3, **settings), watcher)
        self.teacher_after_a = weights(self.teacher)
        self.student_at_first = weights(self.student)
        self.loss_before = feature_loss(self.teacher, self.student, self.train.x)
        self.head_before = self.student.get_layer("head").get_weights()
        teach("matching", both, *parts, StageSection(epochs=6, **settings), watcher)
        self.loss_after = feature_loss(self.teacher, self.student, self.train.x)
        self.head_after = self.student.get_layer("head").get_weights()
        self.teacher_after_b = weights(self.teacher)
        self.student_after_b = weights(self.student)
        teach("student", both, *parts, StudentStage(epochs=2, **settings), watcher)
        self.teacher_after_c = weights(self.teacher)

    def of(self, stage):
        return [row for row in self.rows if row["stage"] == stage]


@pytest.fixture(scope="module")
def trained():
    return Trained()


def test_the_teacher_stays_as_stage_a_left_it(trained):
    assert same(trained.teacher_after_b, trained.teacher_after_a)
    assert same(trained.teacher_after_c, trained.teacher_after_a)
    assert trained.teacher.trainable


def test_matching_brings_the_feature_maps_together(trained):
    assert trained.loss_after < 0.7 * trained.loss_before
    losses = [row["feature_loss"] for row in trained.of("matching")]
    assert losses[-1] < losses[0]


def test_matching_leaves_the_head_and_trains_all_else(trained):
    assert same(trained.head_after, trained.head_before)
    changed = [not np.array_equal(a, b) for a, b in zip(trained.student_at_first, trained.student_after_b, strict=True)]
    assert sum(changed) == len(changed) - len(trained.head_before)


def test_tuning_trains_the_head_too(trained):
    assert not same(trained.student.get_layer("head").get_weights(), trained.head_after)


@pytest.mark.parametrize(
    ("stage", "epochs", "more"),
    [
        ("teacher", 3, {"accuracy", *MEASURED}),
        ("matching", 6, {"feature_loss"}),
        ("student", 2, {"accuracy", "feature_loss", "label_loss", *MEASURED}),
    ],
)
def test_each_epoch_is_told_with_its_numbers(trained, stage, epochs, more):
    rows = trained.of(stage)
    assert [row["epoch"] for row in rows] == list(range(1, epochs + 1))
    for row in rows:
        assert set(row) == ALWAYS | more
        assert all(np.isfinite(value) for key, value in row.items() if key != "stage")
        assert CLIPS / row["clips_per_second"] == pytest.approx(row["seconds"], rel=0.01, abs=0.001)


def test_the_stages_come_in_order_with_each_batch_told(trained):
    assert [row["stage"] for row in trained.rows] == ["teacher"] * 3 + ["matching"] * 6 + ["student"] * 2
    batches = CLIPS // 8
    expected = [
        (stage, step, epochs * batches)
        for stage, epochs in (("teacher", 3), ("matching", 6), ("student", 2))
        for step in range(1, epochs * batches + 1)
    ]
    assert [step for step in trained.steps if step[0] not in ("teacher features", "validation")] == expected
    told = [step for step in trained.steps if step[0] == "teacher features"]
    assert told == 2 * [("teacher features", step, batches) for step in range(1, batches + 1)]


def test_validation_is_told_after_each_epoch_that_it_measures(trained):
    epoch = CLIPS // 8
    before = [trained.steps[index - 1] for index, step in enumerate(trained.steps) if step == ("validation", 1, 1)]
    teacher = [("teacher", epoch * number, 3 * epoch) for number in (1, 2, 3)]
    assert before == teacher + [("student", epoch * number, 2 * epoch) for number in (1, 2)]


def test_the_learning_rate_is_halved_as_the_stage_says(trained):
    rates = [row["learning_rate"] for row in trained.of("matching")]
    np.testing.assert_allclose(rates, [3e-3, 3e-3, 1.5e-3, 1.5e-3, 7.5e-4, 7.5e-4], rtol=1e-5)


def test_the_students_loss_is_the_papers(trained):
    for row in trained.of("student"):
        assert row["loss"] == pytest.approx(row["label_loss"] + 10 * row["feature_loss"], rel=1e-4)


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_the_best_epoch_is_kept(trained, stage):
    """The network measures as well as the best row told: highest UA, then lowest loss."""
    model = trained.teacher if stage == "teacher" else trained.student
    logits = in_full_batches(model, trained.validation.x)
    probability = scipy.special.softmax(logits, axis=1)
    labels = trained.validation.labels
    right = logits.argmax(axis=1) == labels
    accuracy = np.mean([right[labels == label].mean() for label in range(CLASSES)])
    loss = -np.log(probability[np.arange(len(labels)), labels]).mean()
    told = [(row["validation_unweighted_accuracy"], -row["validation_loss"]) for row in trained.of(stage)]
    assert (accuracy, -loss) == pytest.approx(max(told), abs=1e-6)


def test_in_full_batches_is_predict(trained):
    """40 images are no multiple of the 32 that are worked on at a time, and 24 are fewer."""
    for count in (24, 40):
        images = part(2, count).x
        expected = trained.student.predict(images, batch_size=count, verbose=0)
        answers = in_full_batches(trained.student, images)
        assert answers.shape == (count, CLASSES)
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, expected, atol=1e-5)


class TestBestEpoch:
    """On a network whose answer is its bias: the epochs can be made as good or bad as wanted."""

    VALIDATION = Part(np.zeros((4, 1), "float32"), np.array([0, 0, 0, 1]))

    @pytest.fixture
    def model(self):
        images = keras.Input((1,))
        return keras.Model(images, keras.layers.Dense(2, name="head")(images))

    def epochs(self, model, biases):
        callback = BestEpoch(model, self.VALIDATION)
        logs = []
        for number, bias in enumerate(biases):
            model.set_weights([np.zeros((1, 2), "float32"), np.array(bias, "float32")])
            logs.append({})
            callback.on_epoch_end(number, logs[-1])
        callback.on_train_end()
        return logs, model.get_weights()[1].tolist()

    def test_of_equal_accuracies_the_lowest_loss_is_kept(self, model):
        # Each answers one class for all, so UA is 1/2 whatever WA says.
        logs, kept = self.epochs(model, [[0.0, 3.0], [0.5, 0.0], [9.0, 0.0], [0.0, 0.1]])
        assert [row["validation_unweighted_accuracy"] for row in logs] == [0.5] * 4
        assert [row["validation_weighted_accuracy"] for row in logs] == [0.25, 0.75, 0.75, 0.25]
        assert kept == [0.5, 0.0]

    def test_the_first_of_equals_is_kept(self, model):
        _, kept = self.epochs(model, [[1.0, 0.0], [2.0, 1.0]])
        assert kept == [1.0, 0.0]

    def test_the_loss_is_the_cross_entropy(self, model):
        logs, _ = self.epochs(model, [[1.0, 0.0]])
        of_first = np.exp(1) / (np.exp(1) + 1)
        expected = -(3 * np.log(of_first) + np.log(1 - of_first)) / 4
        assert logs[0]["validation_loss"] == pytest.approx(expected, rel=1e-5)

    def test_accuracy_goes_before_loss(self, model):
        # The images now tell the classes apart; the second epoch is right about all and very unsure.
        part = Part(np.array([[1.0], [1.0], [1.0], [-1.0]], "float32"), self.VALIDATION.labels)
        callback = BestEpoch(model, part)
        for number, kernel in enumerate([[[0.0, 0.0]], [[1e-3, 0.0]], [[0.0, 0.0]]]):
            bias = [1.1, 0.0] if number != 1 else [0.0, 0.0]
            model.set_weights([np.array(kernel, "float32"), np.array(bias, "float32")])
            logs = {}
            callback.on_epoch_end(number, logs)
        callback.on_train_end()
        np.testing.assert_array_equal(model.get_weights()[0], np.array([[1e-3, 0.0]], "float32"))

    def test_answers_that_are_not_finite_have_no_score_and_are_no_best(self, model):
        logs, kept = self.epochs(model, [[1.0, 0.0], [np.inf, 0.0], [np.nan, 0.0]])
        assert [list(row) for row in logs[1:]] == [["validation_loss"]] * 2
        assert np.isnan([row["validation_loss"] for row in logs]).tolist() == [False, True, True]
        assert kept == [1.0, 0.0]

    def test_without_an_epoch_nothing_is_changed(self, model):
        before = weights(model)
        BestEpoch(model, self.VALIDATION).on_train_end()
        assert same(before, weights(model))


@pytest.mark.parametrize(("stage", "what"), [("teacher", "the validation loss"), ("matching", "an answer")])
def test_a_stage_whose_only_step_is_too_large_has_diverged(trained, stage, what):
    """Its one loss is finite, and so are its weights."""
    rows, settings = [], TeacherStage(epochs=1, batch_size=CLIPS, learning_rate=1e30)
    networks = {"teacher": trained.teacher, "student": network("student", CLASSES)}
    if stage == "teacher":
        networks["teacher"] = network("teacher", CLASSES)
    with pytest.raises(DivergedError, match=rf"stage {stage} diverged: {what} of epoch 1 is nan, at .* 1e\+30"):
        teach(stage, networks, trained.train, trained.validation, settings, Watcher(epoch=rows.append))
    assert rows == []


def test_no_epochs_train_nothing():
    teacher, student = network("teacher", CLASSES), network("student", CLASSES)
    before = weights(teacher) + weights(student)
    rows, train = [], part(0)
    watcher = Watcher(epoch=rows.append)
    for stage, section in (("teacher", TeacherStage), ("matching", StageSection), ("student", StudentStage)):
        teach(stage, {"teacher": teacher, "student": student}, train, train, section(epochs=0), watcher)
    assert same(before, weights(teacher) + weights(student))
    assert rows == []


def test_without_matching_the_teacher_is_not_asked(trained, monkeypatch):
    """With alpha 0 the student learns from labels alone, whatever the teacher says."""

    def fail(*args, **kwargs):
        raise AssertionError("the teacher was asked")

    monkeypatch.setattr(Distiller, "teacher_feature_model", property(fail))
    student = network("student", CLASSES)
    before = weights(student)
    settings = StudentStage(epochs=1, batch_size=8, alpha=0)
    rows = []
    networks = {"teacher": trained.teacher, "student": student}
    teach("student", networks, trained.train, trained.validation, settings, Watcher(epoch=rows.append))
    assert not same(before, weights(student))
    assert rows[0]["loss"] == pytest.approx(rows[0]["label_loss"], rel=1e-5)


def test_moved_images_are_what_the_teacher_is_asked_about():
    """In each epoch anew: its features must be those of the image that the student sees, so none are kept."""
    train = part(0)
    teacher, student = network("teacher", CLASSES), network("student", CLASSES)
    still = StageSection(epochs=3, batch_size=4, learning_rate=1e-9)
    rows = []
    teach(
        "matching", {"teacher": teacher, "student": student}, train, train, still, Watcher(rows.append), [Shift(3, 3)]
    )
    batches = Batches(train.x, None, 4, seed=0, augment=[Shift(3, 3)])
    for row in rows:
        moved = np.concatenate([batches[index][0] for index in range(len(batches))])
        assert row["feature_loss"] == pytest.approx(feature_loss(teacher, student, moved), rel=1e-4)
        batches.on_epoch_end()
    assert len({round(row["feature_loss"], 4) for row in rows}) == 3
