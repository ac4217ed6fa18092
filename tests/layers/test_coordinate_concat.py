"""keras_vitser/layers/coordinate_concat.py"""

import keras
import numpy as np
import pytest

from keras_vitser.layers import CoordinateConcat

from .layer_checks import check_layer, to_numpy

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")


def images(bands, frames, channels=1):
    return np.random.default_rng(0).uniform(0, 1, (2, bands, frames, channels)).astype("float32")


def test_as_every_layer(tmp_path):
    # 0.004: one rounding of numbers up to 1 to bfloat16's 8 bits.
    check_layer(CoordinateConcat, {"name": "where"}, images(4, 7, 2), tmp_path, half_atol=0.004)
    # 0.008: columns up to 3.
    check_layer(CoordinateConcat, {"published_scale": True}, images(4, 7, 2), tmp_path, half_atol=0.008)


@pytest.mark.parametrize(("bands", "frames"), [(8, 8), (4, 11), (11, 4), (1, 3), (3, 1)])
def test_equals_the_statement_in_numpy(bands, frames):
    batch = images(bands, frames)
    output = to_numpy(CoordinateConcat()(batch))
    for row in range(bands):
        for column in range(frames):
            vertical = 2 * row / (bands - 1) - 1 if bands > 1 else 0.0
            horizontal = 2 * column / (frames - 1) - 1 if frames > 1 else 0.0
            np.testing.assert_array_equal(output[:, row, column, :1], batch[:, row, column])
            # 1e-7: one float32 rounding of numbers up to 1.
            np.testing.assert_allclose(output[0, row, column, 1:], [vertical, horizontal], atol=1e-7, rtol=0)
    np.testing.assert_array_equal(output[0, ..., 1:], output[1, ..., 1:])


def test_first_row_is_minus_one_and_last_row_one():
    output = to_numpy(CoordinateConcat()(images(5, 9)))
    assert set(output[:, 0, :, 1].ravel()) == {-1.0}
    assert set(output[:, -1, :, 1].ravel()) == {1.0}
    assert set(output[:, :, 0, 2].ravel()) == {-1.0}
    assert set(output[:, :, -1, 2].ravel()) == {1.0}


@pytest.mark.parametrize(("bands", "frames"), [(128, 1001), (4, 11), (11, 4), (1, 3)])
def test_published_scale_divides_by_the_other_axis(bands, frames):
    output = to_numpy(CoordinateConcat(published_scale=True)(images(bands, frames)))
    vertical = np.arange(bands) * 2 / max(frames - 1, 1) - 1
    horizontal = np.arange(frames) * 2 / (bands - 1) - 1 if bands > 1 else np.zeros(frames)
    # 1e-6: one float32 rounding of numbers up to 15.
    np.testing.assert_allclose(output[0, :, 0, 1], vertical, atol=1e-6, rtol=0)
    np.testing.assert_allclose(output[0, 0, :, 2], horizontal, atol=1e-6, rtol=0)
    assert (output[..., 1] == output[:1, :, :1, 1]).all()
    assert (output[..., 2] == output[:1, :1, :, 2]).all()


def test_published_scale_of_the_authors_long_images():
    output = to_numpy(CoordinateConcat(published_scale=True)(images(128, 1001)))
    assert (output[0, 0, 0, 1], round(float(output[0, -1, 0, 1]), 3)) == (-1, -0.746)
    assert (output[0, 0, 0, 2], round(float(output[0, 0, -1, 2]), 2)) == (-1, 14.75)


def test_published_scale_is_the_same_on_square_images():
    batch = images(9, 9)
    ours, theirs = (to_numpy(CoordinateConcat(published_scale=published)(batch)) for published in (False, True))
    np.testing.assert_array_equal(ours, theirs)


def test_refuses_images_of_unknown_size():
    with pytest.raises(ValueError, match=r"fixed size.*give `shape=\(bands, frames, channels\)`"):
        CoordinateConcat()(keras.Input((None, 8, 1)))
