"""keras_vitser/layers/probability.py against SciPy."""

import numpy as np
import pytest
import scipy.special
from keras import ops

from keras_vitser.layers.probability import probabilities

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

LOGITS = np.random.default_rng(0).normal(0, 5, (6, 7)).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_it_is_the_softmax_of_scipy(temperature):
    given = ops.convert_to_numpy(probabilities(LOGITS, temperature))
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, scipy.special.softmax(LOGITS / temperature, axis=1), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(given.sum(axis=1), 1, rtol=1e-6)


def test_rows_known_by_hand():
    logits = np.array([[0.0, np.log(3)], [1000.0, 0.0], [-1000.0, -1000.0]], "float32")
    given = ops.convert_to_numpy(probabilities(logits))
    np.testing.assert_allclose(given, [[0.25, 0.75], [1, 0], [0.5, 0.5]], atol=1e-6)


def test_large_logits_and_half_precision():
    given = ops.convert_to_numpy(probabilities(ops.cast([[0.0, 30000.0]], "float16")))
    assert (given.dtype, given.tolist()) == (np.float32, [[0.0, 1.0]])


def test_nan_is_never_hidden():
    assert np.isnan(ops.convert_to_numpy(probabilities([[0.0, np.nan]]))).any()
