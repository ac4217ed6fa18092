"""keras_vitser/layers/bounded_search.py, against NumPy's argmax over everything."""

import numpy as np
import pytest
from keras import ops

from keras_vitser.layers.bounded_search import bounded_argmax

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")


def search(values, bounds, so_far, at_a_time):
    """The places found, and how many values of a row were computed."""
    computed = []

    def values_of(places):
        computed.append(places.shape[1])
        return ops.take_along_axis(ops.convert_to_tensor(values), places, axis=1)

    places = bounded_argmax(ops.convert_to_tensor(bounds), ops.convert_to_tensor(so_far), values_of, at_a_time)
    return ops.convert_to_numpy(places), sum(computed)


@pytest.mark.parametrize("at_a_time", [1, 3, 16, 50])
@pytest.mark.parametrize("slack", [0.0, 0.5, 100.0])
def test_the_largest_is_found(at_a_time, slack):
    random = np.random.default_rng(at_a_time)
    values = random.random((4, 50), dtype="float32")
    bounds = values + slack * random.random((4, 50), dtype="float32")
    places, _ = search(values, bounds, np.zeros(4, "float32"), at_a_time)
    np.testing.assert_array_equal(places, values.argmax(axis=1))


def test_where_nothing_passes_it_is_0():
    values = np.random.default_rng(0).random((2, 20), dtype="float32")
    places, _ = search(values, values + 1, np.full(2, 1.0, "float32"), 8)
    np.testing.assert_array_equal(places, 0)


def test_rows_with_bounds_that_say_nothing_are_searched_to_the_end():
    """The second row's largest has the lowest bound of all."""
    values = np.zeros((2, 21), "float32")
    bounds = np.full((2, 21), 9.0, "float32")
    values[0, 3] = values[1, 20] = 8.0
    bounds[1, 20] = 8.5
    np.testing.assert_array_equal(search(values, bounds, np.zeros(2, "float32"), 4)[0], [3, 20])


@pytest.mark.backends("tensorflow", "torch")  # JAX traces a loop once, so its rounds cannot be counted from outside
def test_what_a_bound_rules_out_is_not_computed():
    values = np.linspace(0, 1, 100, dtype="float32")[None]
    places, computed = search(values, values + 0.1, np.zeros(1, "float32"), 4)
    assert places == [99]
    assert computed == 12, "the bounds of 11 values pass the largest of the first four"
