import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from keras_vitser.evaluation import (
    bootstrap_interval,
    confusion_matrix,
    score,
    sentence,
    unweighted_accuracy,
    weighted_accuracy,
    wilson_interval,
)

from .conftest import LABELS, NAMES


@st.composite
def cases(draw):
    """Labels, probabilities and number of classes; few clips, so that classes are often missing."""
    classes = draw(st.integers(1, 6))
    clips = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(0, 4, (clips, classes)) + 0.01  # small integers, so that ties are frequent
    return rng.integers(0, draw(st.integers(1, classes)), clips), weights / weights.sum(axis=1, keepdims=True), classes


@settings(max_examples=150, deadline=None)
@given(cases())
def test_scores_are_scikit_learns(case):
    labels, probabilities, classes = case
    answers = probabilities.argmax(axis=1)
    scores = score(labels, probabilities, [str(index) for index in range(classes)])
    every, occurring = list(range(classes)), np.union1d(labels, answers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of classes that are answered and have no clip
        balanced = sklearn_metrics.balanced_accuracy_score(labels, answers)
        matrix = sklearn_metrics.confusion_matrix(labels, answers, labels=every)
    f1 = sklearn_metrics.f1_score(labels, answers, labels=occurring, average="macro", zero_division=0)
    assert scores.confusion == matrix.tolist()
    assert scores.weighted_accuracy == pytest.approx(sklearn_metrics.accuracy_score(labels, answers))
    assert scores.unweighted_accuracy == pytest.approx(balanced)
    assert scores.macro_f1 == pytest.approx(f1)
    if classes > 1:
        assert scores.log_loss == pytest.approx(sklearn_metrics.log_loss(labels, probabilities, labels=every))

    precision, recall, by_class, support = sklearn_metrics.precision_recall_fscore_support(
        labels, answers, labels=every, zero_division=np.nan
    )
    for row, *expected in zip(scores.per_class, precision, recall, by_class, support, strict=True):
        got = [math.nan if row[key] is None else row[key] for key in ("precision", "recall", "f1", "clips")]
        np.testing.assert_allclose(got, expected)


def test_scores_by_hand(scores):
    assert scores.clips == 8
    assert scores.weighted_accuracy == 6 / 8
    assert scores.unweighted_accuracy == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert scores.chance == {"largest_class": 0.5, "uniform": pytest.approx(1 / 3)}
    assert scores.confusion == [[3, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert scores.log_loss == pytest.approx(-(6 * math.log(0.8) + 2 * math.log(0.1)) / 8)
    assert scores.per_class[0] == {"label": "calm", "clips": 4, "recall": 3 / 4, "precision": 3 / 4, "f1": 3 / 4}
    assert scores.per_speaker == [
        {"speaker": "ann", "clips": 4, "weighted_accuracy": 3 / 4, "unweighted_accuracy": 3 / 4},
        {"speaker": "bo", "clips": 4, "weighted_accuracy": 3 / 4, "unweighted_accuracy": 3 / 4},
    ]


def test_intervals_are_those_of_the_answers(scores):
    answers = np.repeat(np.arange(9), np.ravel(scores.confusion)) % 3
    assert scores.weighted_accuracy_interval == wilson_interval(6, 8)
    assert scores.unweighted_accuracy_interval == bootstrap_interval(LABELS, answers, unweighted_accuracy)


def test_what_is_undefined_is_none():
    rows = score(np.array([0, 0]), np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]), ["a", "b", "c"]).per_class
    assert rows[1] == {"label": "b", "clips": 0, "recall": None, "precision": 0, "f1": 0}
    assert rows[2] == {"label": "c", "clips": 0, "recall": None, "precision": None, "f1": None}


def test_one_clip():
    scores = score(np.array([1]), np.array([[0.5, 0.5]]), ["a", "b"], ["ann"])
    assert (scores.clips, scores.weighted_accuracy, scores.unweighted_accuracy) == (1, 0, 0)  # of equals, the first
    assert scores.chance == {"largest_class": 1, "uniform": 0.5}


def test_a_sure_and_wrong_answer_has_a_finite_log_loss():
    assert score(np.array([1]), np.array([[1.0, 0.0]]), ["a", "b"]).log_loss == pytest.approx(-math.log(1e-12))


def test_scores_survive_json(scores):
    values = scores.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values) == set(scores.__dataclass_fields__)


RIGHT = {
    "labels": np.array([0, 1]),
    "probabilities": np.array([[0.9, 0.1], [0.2, 0.8]]),
    "label_names": ["a", "b"],
    "speakers": None,
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labels": np.zeros(0, int), "probabilities": np.zeros((0, 2))}, r"at least one clip.* labels \(0,\)"),
        ({"probabilities": np.full((2, 3), 1 / 3)}, r"probabilities \(2, 3\), 2 label names"),
        ({"probabilities": np.array([0.9, 0.1])}, r"probabilities \(2,\)"),
        ({"labels": np.array([0, 2])}, "ints from 0 to 1. Received: int64 from 0 to 2"),
        ({"labels": np.array([-1, 1])}, "Received: int64 from -1 to 1"),
        ({"labels": np.array([0.0, 1.0])}, "Received: float64"),
        ({"probabilities": np.array([[0.9, 0.1], [np.nan, 0.8]])}, r"NaN .* the first is row 1: \[nan, 0.8\]"),
        ({"probabilities": np.array([[0.9, 0.1], [-3.0, 4.0]])}, r"softmax.* row 1, \[-3.0, 4.0\]"),
        ({"probabilities": np.array([[2.0, 1.0], [0.2, 0.8]])}, "softmax.* row 0"),
        ({"speakers": ["ann"]}, "Received: 1 names for 2 clips"),
        ({"speakers": ["ann", None]}, "Received: 1 names for 2 clips"),
    ],
)
def test_score_refuses_what_cannot_be_measured(wrong, message):
    score(**RIGHT)
    with pytest.raises(ValueError, match=message):
        score(**RIGHT | wrong)


def test_confusion_matrix_has_rows_of_the_true_class():
    matrix = confusion_matrix(np.array([0, 0, 2], np.uint8), np.array([1, 1, 2], np.int32), 3)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("labels", "predictions"), [([0, 1], [0]), ([0, 3], [0, 0]), ([0, 0], [0, 3]), ([0, 0], [0, -1]), ([0.0], [0.0])]
)
def test_confusion_matrix_refuses_what_are_no_classes(labels, predictions):
    with pytest.raises(ValueError, match="Received: "):
        confusion_matrix(labels, predictions, 3)


def test_accuracies_of_several_matrices():
    matrices = np.array([[[3, 0], [1, 0]], [[0, 0], [1, 3]]])
    np.testing.assert_allclose(weighted_accuracy(matrices), [0.75, 0.75])
    np.testing.assert_allclose(unweighted_accuracy(matrices), [0.5, 0.75])


def test_sentence(scores):
    assert sentence(scores, "random", leaky=False) == (
        "UA 75.0 % (chance 33.3 %), WA 75.0 % (chance 50.0 %), 8 clips, random"
    )


def test_sentence_of_a_leaky_protocol_says_so_in_the_same_line(scores):
    line = sentence(scores, "paper", leaky=True)
    assert line.startswith("UA 75.0 % (chance 33.3 %)")
    assert "LEAKY protocol `paper`: copies of test clips were trained on" in line
    assert "\n" not in line


def test_label_names_are_kept_in_order(scores):
    assert [row["label"] for row in scores.per_class] == NAMES
