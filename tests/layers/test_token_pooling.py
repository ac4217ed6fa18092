"""keras_vitser/layers/token_pooling.py"""

import numpy as np
import pytest

from keras_vitser.layers import TokenPooling

from .layer_checks import check_layer, to_numpy

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

TOKENS = np.random.default_rng(0).standard_normal((3, 5, 8)).astype("float32")


@pytest.mark.parametrize("pooling", ["class_token", "mean"])
def test_as_every_layer(tmp_path, pooling):
    # 0.02: numbers up to about 2.5 rounded to bfloat16's 8 bits.
    check_layer(TokenPooling, {"pooling": pooling}, TOKENS, tmp_path, half_atol=0.02)


def test_class_token_is_the_first():
    np.testing.assert_array_equal(to_numpy(TokenPooling()(TOKENS)), TOKENS[:, 0])


def test_mean_counts_all_tokens():
    # 1e-6: a float32 sum of five numbers of about 1.
    np.testing.assert_allclose(to_numpy(TokenPooling("mean")(TOKENS)), TOKENS.mean(axis=1), atol=1e-6, rtol=0)


def test_refuses_another_pooling():
    with pytest.raises(ValueError, match=r"'class_token' or 'mean'.*pooling='max'"):
        TokenPooling("max")
