"""keras_vitser/layers/class_token.py"""

import keras
import numpy as np
import pytest

from keras_vitser.layers import ClassToken

from .layer_checks import check_layer, to_numpy

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

TOKENS = np.random.default_rng(0).standard_normal((3, 5, 8)).astype("float32")


def test_as_every_layer(tmp_path):
    # 0.04: one rounding of numbers up to about 4 to bfloat16's 8 bits.
    check_layer(ClassToken, {"name": "first"}, TOKENS, tmp_path, half_atol=0.04)


def test_token_stands_first_and_the_others_are_unchanged():
    layer = ClassToken()
    output = to_numpy(layer(TOKENS))
    np.testing.assert_array_equal(output[:, 1:], TOKENS)
    for row in output[:, 0]:
        np.testing.assert_array_equal(row, to_numpy(layer.token)[0, 0])


def test_starts_standard_normal():
    keras.utils.set_random_seed(3)
    layer = ClassToken()
    layer(np.zeros((1, 2, 4096), "float32"))
    token = to_numpy(layer.token)
    assert token.shape == (1, 1, 4096)
    # Over 4096 draws the mean's standard error is 0.016 and that of the spread 0.011: five of each.
    assert abs(token.mean()) < 0.08
    assert abs(token.std() - 1) < 0.055
    assert np.abs(token).max() > 2.5, "a truncated normal has no such tail"


def test_length_may_be_unknown():
    assert ClassToken().compute_output_shape((None, None, 8)) == (None, None, 8)
