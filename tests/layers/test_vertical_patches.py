"""keras_vitser/layers/vertical_patches.py"""

import keras
import numpy as np
import pytest

from keras_vitser.layers import VerticalPatches

from .layer_checks import check_layer, run

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

IMAGES = np.random.default_rng(0).uniform(0, 1, (2, 16, 16, 3)).astype("float32")


def layer_norm(x, gamma, beta):
    mean = x.mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + 1e-5) * gamma + beta


def flattened(image, height, width):
    """Patches row-major over the image; in a patch: row, column, channel."""
    bands, frames, channels = image.shape
    patches = []
    for top in range(0, bands, height):
        for left in range(0, frames, width):
            patches.append(
                [
                    image[top + row, left + column, channel]
                    for row in range(height)
                    for column in range(width)
                    for channel in range(channels)
                ]
            )
    return np.array(patches, "float64")


def test_as_every_layer(tmp_path):
    # 0.1: normalised numbers up to about 3 through two normalisations and a product in 8 bits.
    check_layer(VerticalPatches, {"patch_size": (8, 2), "hidden_dim": 12}, IMAGES, tmp_path, half_atol=0.1)


@pytest.mark.parametrize("patch_size", [(1, 1), (2, 4), (16, 16), (16, 1), (1, 16)])
def test_equals_the_statement_in_numpy(patch_size):
    layer = VerticalPatches(patch_size, hidden_dim=10)
    layer.build(IMAGES.shape)
    generator = np.random.default_rng(1)
    weights = [generator.normal(0, 0.5, weight.shape) for weight in layer.get_weights()]
    layer.set_weights(weights)
    gamma, beta, kernel, bias, token_gamma, token_beta = weights
    tokens = np.stack([flattened(image, *patch_size) for image in IMAGES])
    expected = layer_norm(layer_norm(tokens, gamma, beta) @ kernel + bias, token_gamma, token_beta)
    # 2e-5 at numbers of about 1: float32, and a token of 10 numbers may have a small spread to divide by.
    np.testing.assert_allclose(run(layer, IMAGES), expected, atol=2e-5, rtol=0)


def test_a_whole_column_is_one_token():
    layer = VerticalPatches((16, 1), hidden_dim=4)
    before = run(layer, IMAGES)
    changed = IMAGES.copy()
    changed[:, 3, 5] += 1
    differs = (run(layer, changed) != before).any(axis=(0, 2))
    assert list(np.flatnonzero(differs)) == [5]


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("image_size", [(16, 15), (15, 16), (None, 16), (16, None)])
def test_refuses_patches_that_do_not_fill_the_image(image_size):
    with pytest.raises(ValueError, match=r"must divide the image.*patch_size=\(4, 2\)"):
        VerticalPatches((4, 2))(keras.Input((*image_size, 1)))


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("patch_size", [(4,), (4, 2, 1), (0, 2)])
def test_refuses_a_patch_size_that_is_no_pair(patch_size):
    with pytest.raises(ValueError, match="two positive ints"):
        VerticalPatches(patch_size)
