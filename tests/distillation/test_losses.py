"""keras_vitser/distillation/losses.py"""

import keras
import numpy as np
import pytest

from keras_vitser.distillation import FeatureMatching

GENERATOR = np.random.default_rng(0)
FIRST, SECOND = GENERATOR.standard_normal((2, 4, 3, 5)).astype("float32")


def test_is_the_mean_absolute_difference():
    # 1e-6 here and below: float32 sums of numbers of about 1.
    np.testing.assert_allclose(float(FeatureMatching()(FIRST, SECOND)), np.abs(FIRST - SECOND).mean(), rtol=1e-6)


def test_sample_weights_weigh_examples():
    weights = np.array([0.0, 1.0, 2.0, 0.5], "float32")
    expected = (np.abs(FIRST - SECOND).mean(axis=(1, 2)) * weights).mean()
    np.testing.assert_allclose(float(FeatureMatching()(FIRST, SECOND, weights)), expected, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_other_reductions(reduction):
    examples = np.abs(FIRST - SECOND).mean(axis=(1, 2))
    expected = examples.sum() if reduction == "sum" else examples
    loss = keras.ops.convert_to_numpy(FeatureMatching(reduction=reduction)(FIRST, SECOND))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_config_round_trip():
    loss = FeatureMatching(reduction="sum", name="other")
    clone = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(clone) is FeatureMatching
    assert (clone.reduction, clone.name) == ("sum", "other")
