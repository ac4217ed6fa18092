"""keras_vitser/labels.py; on the backends' own data: tests/distillation/test_distiller.py."""

import keras
import numpy as np
import pytest

from keras_vitser.errors import DistillationError
from keras_vitser.labels import LabelCheck, checked_call

pytestmark = pytest.mark.backends("tensorflow")

SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
ONE_HOT = keras.losses.CategoricalCrossentropy(from_logits=True)
X = np.zeros((3, 2), "float32")


def check(loss=SPARSE, classes=7):
    return LabelCheck(loss, (None, classes))


@pytest.mark.parametrize(
    ("labels", "received"),
    [
        (np.array([0, 7, 3]), "7 at index 1"),
        (np.array([0, 3, -1]), "-1 at index 2"),
        (np.array([[0], [9], [3]]), "9 at index 1"),
        (np.array([0, 255, 3], "uint8"), "255 at index 1"),
        (np.array([0.0, 1.5, 3.0]), "1.5 at index 1"),
        (np.array([0.0, np.nan, 3.0], "float32"), "nan at index 1"),
        (np.array([0.0, np.inf, 3.0], "float16"), "inf at index 1"),
        (np.array(["calm", "angry", "sad"]), "'calm'"),
        (np.array([b"calm", b"angry", b"sad"]), "'calm'"),
        (np.array(["calm", None, 3], object), "'calm'"),
        (np.eye(7)[:3], r"labels of the shape \(batch, 7\).*argmax"),
        (np.zeros((3, 2, 1), int), r"labels of the shape \(batch, 2, 1\)"),
    ],
)
def test_class_indices(labels, received):
    with pytest.raises(DistillationError, match=f"integers from 0 to 6, one an example, for 7 classes.*: {received}"):
        check().data(X, labels)


@pytest.mark.parametrize(
    ("labels", "received"),
    [
        (np.array([0, 1, 2]), r"labels of the shape \(batch\).*to_categorical"),
        (np.eye(3), r"labels of the shape \(batch, 3\)"),
        (np.diag([1.0, -0.5, 1, 1, 1, 1, 1]), "-0.5 at index 1"),
        (np.diag([1.0, 1, np.nan, 1, 1, 1, 1]), "nan at index 2"),
        (np.full((3, 7), "calm"), "'calm'"),
    ],
)
def test_rows(labels, received):
    for loss in (ONE_HOT, keras.losses.CategoricalFocalCrossentropy(from_logits=True), "categorical_crossentropy"):
        with pytest.raises(DistillationError, match=f"rows of 7 numbers of at least 0, for 7 classes.*: {received}"):
            check(loss).data(X, labels)


@pytest.mark.parametrize(
    "labels",
    [np.array([0, 6, 3]), np.array([0.0, 6.0]), np.array([[0], [6]], "uint8"), np.array([True, False]), [np.arange(7)]],
)
def test_what_can_be_learned_is_taken(labels):
    assert check().data(X, labels) is X
    assert check("sparse_categorical_crossentropy").data(X, {"head": labels}) is X


def test_probabilities_are_rows():
    check(ONE_HOT).data(X, np.full((3, 7), 1 / 7))
    check(ONE_HOT).data(X, np.eye(7, dtype=bool))


def test_a_label_that_the_loss_ignores_is_taken():
    ignoring = check(keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1))
    ignoring.data(X, np.array([0, -1, 6]))
    with pytest.raises(DistillationError, match=r"to 6, one an example \(or -1, which the loss ignores\).*: -2 at"):
        ignoring.data(X, np.array([0, -1, -2]))


@pytest.mark.parametrize("loss", ["mse", keras.losses.KLDivergence(), lambda y, logits: logits, None, [SPARSE, SPARSE]])
def test_other_losses_may_take_any_labels(loss):
    check(loss).data(X, np.array([-1.5, np.nan, 99]))


def test_logits_of_each_position_are_left_to_the_loss():
    LabelCheck(SPARSE, (None, 5, 7)).data(X, np.full((3, 5), 9))


def test_the_first_error_is_kept_for_a_backend_that_wraps_it():
    kept = check()
    with pytest.raises(DistillationError):
        kept.batch((X, np.array([8]), np.ones(1)))
    with pytest.raises(DistillationError, match="Received: 8;"), kept.own_words():
        raise RuntimeError("a graph failed")


def test_an_error_from_another_process_is_told_by_its_text():
    text = "Traceback ...\nkeras_vitser.errors.DistillationError: labels must be integers\n\t [[node]]"
    with pytest.raises(DistillationError, match=r"^labels must be integers$"), check().own_words():
        raise RuntimeError(text)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="disk"), check().own_words():
        raise RuntimeError("disk")


def test_validation_data_is_checked_before_the_call():
    def fit(x=None, y=None, validation_data=None):
        raise AssertionError("was called")

    for validation in ((X, np.array([7])), (X, np.array([7]), np.ones(1))):
        with pytest.raises(DistillationError, match="Received: 7 at index 0"):
            checked_call(fit, check(), (X, np.array([0])), {"validation_data": validation})


@pytest.mark.parametrize("names", [("anger", "fear"), [np.bytes_(b"anger"), np.bytes_(b"fear")]])
def test_names_as_a_torch_loader_collates_them(names):
    with pytest.raises(DistillationError, match="Received: 'anger'; give each name's index"):
        LabelCheck(SPARSE, (None, 3)).batch((np.zeros((2, 4)), names))


def test_a_dataset_whose_labels_have_no_known_rank():
    import tensorflow as tf

    def dataset(labels):
        spec = (tf.TensorSpec((2, 4)), tf.TensorSpec(None, tf.int64))
        return tf.data.Dataset.from_generator(lambda: [(np.zeros((2, 4), "float32"), labels)], output_signature=spec)

    check = LabelCheck(SPARSE, (None, 3))
    assert [y.numpy().tolist() for _, y in check.data(dataset([0, 2]))] == [[0, 2]]
    with pytest.raises(DistillationError, match="Received: 3;"), check.own_words():
        list(check.data(dataset([0, 3])))
