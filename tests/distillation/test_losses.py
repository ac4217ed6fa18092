"""keras_vitser/distillation/losses.py, against NumPy and SciPy statements in float64."""

import keras
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from keras_vitser.distillation import AttentionTransfer, FeatureMatching, SoftLabels

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

GENERATOR = np.random.default_rng(0)
TEACHER, STUDENT = GENERATOR.standard_normal((2, 5, 7)).astype("float32")
WEIGHT = GENERATOR.uniform(0.1, 2, 5).astype("float32")
CLOSE = {"atol": 1e-6, "rtol": 1e-6}


def l1(teacher, student):
    return np.abs(teacher.astype("float64") - student).mean(axis=tuple(range(1, teacher.ndim)))


def soft_labels(teacher, student, temperature):
    return temperature**2 * entropy(
        softmax(teacher.astype("float64") / temperature, axis=1),
        softmax(student.astype("float64") / temperature, axis=1),
        axis=1,
    )


def attention_transfer(teacher, student):
    def attention(feature):
        seen = (feature.astype("float64") ** 2).mean(axis=-1).reshape(len(feature), -1)
        return seen / np.linalg.norm(seen, axis=1, keepdims=True)

    return ((attention(teacher) - attention(student)) ** 2).sum(axis=1)


@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 7), (5, 2, 3, 4)])
def test_feature_matching_is_the_mean_absolute_difference(shape):
    teacher, student = GENERATOR.standard_normal((2, *shape)).astype("float32")
    np.testing.assert_allclose(float(FeatureMatching()(teacher, student)), l1(teacher, student).mean(), **CLOSE)
    weighted = float(FeatureMatching()(teacher, student, WEIGHT))
    np.testing.assert_allclose(weighted, (l1(teacher, student) * WEIGHT).mean(), **CLOSE)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_soft_labels_are_the_divergence_times_the_square_of_the_temperature(temperature):
    expected = soft_labels(TEACHER, STUDENT, temperature)
    np.testing.assert_allclose(float(SoftLabels(temperature)(TEACHER, STUDENT)), expected.mean(), **CLOSE)
    weighted = float(SoftLabels(temperature)(TEACHER, STUDENT, WEIGHT))
    np.testing.assert_allclose(weighted, (expected * WEIGHT).mean(), **CLOSE)


def test_soft_labels_of_large_logits_are_finite():
    teacher, student = np.array([[1000.0, -1000.0]], "float32"), np.array([[-1000.0, 1000.0]], "float32")
    assert float(SoftLabels(1.0)(teacher, student)) == pytest.approx(2000)
    assert float(SoftLabels(1.0)(teacher, teacher)) == 0


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_soft_labels_need_a_positive_temperature(temperature):
    with pytest.raises(ValueError, match=r"`temperature` must be a positive number. Received"):
        SoftLabels(temperature)


@pytest.mark.parametrize("widths", [(4, 4), (4, 9)])
@pytest.mark.parametrize("places", [(6,), (2, 3)])
def test_attention_transfer_compares_where_networks_look(widths, places):
    teacher, student = (GENERATOR.standard_normal((5, *places, width)).astype("float32") for width in widths)
    expected = attention_transfer(teacher, student)
    np.testing.assert_allclose(float(AttentionTransfer()(teacher, student)), expected.mean(), **CLOSE)
    assert float(AttentionTransfer()(teacher, 3 * teacher)) == pytest.approx(0, abs=1e-6)


def test_attention_of_nothing_is_no_nan():
    zeros = np.zeros((2, 3, 4), "float32")
    assert float(AttentionTransfer()(zeros, zeros)) == 0


@pytest.mark.parametrize("loss", [FeatureMatching(), SoftLabels(2.5), AttentionTransfer()])
def test_losses_are_rebuilt_from_their_config(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    features = GENERATOR.standard_normal((2, 5, 3, 4)).astype("float32")
    assert float(again(*features)) == float(loss(*features))
