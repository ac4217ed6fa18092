"""keras_vitser/layers/coordinate_concat.py"""

import keras
import numpy as np
import pytest

from keras_vitser.layers import CoordinateConcat

from .layer_checks import check_layer, to_numpy


def images(bands, frames, channels=1):
    return np.random.default_rng(0).uniform(0, 1, (2, bands, frames, channels)).astype("float32")


def test_as_every_layer(tmp_path):
    # 0.004: one rounding of numbers up to 1 to bfloat16's 8 bits.
    check_layer(CoordinateConcat, {"name": "where"}, images(4, 7, 2), tmp_path, half_atol=0.004)


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


def test_refuses_images_of_unknown_size():
    with pytest.raises(ValueError, match=r"fixed size.*give `shape=\(bands, frames, channels\)`"):
        CoordinateConcat()(keras.Input((None, 8, 1)))
