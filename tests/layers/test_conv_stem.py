"""keras_vitser/layers/conv_stem.py"""

from itertools import pairwise

import keras
import numpy as np
import pytest
from scipy.signal import correlate2d
from scipy.special import erf

from keras_vitser.layers import ConvStem, conv_stem, device

from .layer_checks import check_layer, run, to_numpy

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

IMAGES = np.random.default_rng(0).uniform(0, 1, (2, 12, 9, 1)).astype("float32")


def stem_of_the_paper(images, kernels, biases):
    """3x3 convolution of padding 1, instance normalisation (biased variance, 1e-5), exact GELU; each time."""
    x = images.astype("float64")
    for kernel, bias in zip(kernels, biases, strict=True):
        x = np.stack([one_convolution(image, kernel, bias) for image in x])
        mean = x.mean(axis=(1, 2), keepdims=True)
        variance = ((x - mean) ** 2).mean(axis=(1, 2), keepdims=True)
        x = (x - mean) / np.sqrt(variance + 1e-5)
        x = x * 0.5 * (1 + erf(x / np.sqrt(2)))
    return x


def one_convolution(image, kernel, bias):
    channels = []
    for output in range(kernel.shape[-1]):
        planes = [correlate2d(image[..., i], kernel[:, :, i, output], mode="same") for i in range(kernel.shape[2])]
        channels.append(sum(planes) + bias[output])
    return np.stack(channels, axis=-1)


def built(channels=(4, 8, 1), **kwargs):
    layer = ConvStem(channels, **kwargs)
    layer.build(IMAGES.shape)
    generator = np.random.default_rng(1)
    layer.set_weights([generator.normal(0, 0.3, weight.shape) for weight in layer.get_weights()])
    return layer


def test_as_every_layer(tmp_path):
    arguments = {"channels": (4, 8, 2), "epsilon": 1e-3}
    # 0.1: normalised numbers up to about 4, three convolutions of 8-bit (bfloat16) products.
    # A bias before instance normalisation is taken away again, so it has no gradient.
    check_layer(ConvStem, arguments, IMAGES, tmp_path, half_atol=0.1, gradient_free=r"conv_\d/bias")


@pytest.mark.parametrize("channels", [(4, 8, 1), (16, 32, 64, 32, 16, 1)])
def test_equals_the_statement_in_numpy(channels):
    layer = built(channels)
    weights = layer.get_weights()
    expected = stem_of_the_paper(IMAGES, weights[0::2], weights[1::2])
    # 2e-5: numbers up to 4 in float32 (5e-7 a rounding), renormalised after each of up to six convolutions.
    np.testing.assert_allclose(run(layer, IMAGES), expected, atol=2e-5, rtol=0)


def test_a_long_image_half_of_silence_equals_the_statement_in_numpy():
    """Sums of a hundred thousand equal numbers drift in float32 where they are taken one after another."""
    image = np.random.default_rng(2).uniform(0, 1, (1, 128, 1001, 1)).astype("float32")
    image[:, :, 500:] = 0
    layer = built((4, 4, 1))
    weights = layer.get_weights()
    expected = stem_of_the_paper(image, weights[0::2], weights[1::2])
    # 1e-4: a row of a thousand equal numbers rounds the same way each time. One sum of all drifts by 4e-3.
    np.testing.assert_allclose(run(layer, image), expected, atol=1e-4, rtol=0)


def test_has_six_convolutions_by_default():
    layer = ConvStem()
    layer.build(IMAGES.shape)
    shapes = [weight.shape for weight in layer.get_weights()[0::2]]
    counts = [1, 16, 32, 64, 32, 16, 1]
    assert shapes == [(3, 3, a, b) for a, b in pairwise(counts)]


def test_is_the_same_in_training():
    layer = built()
    np.testing.assert_array_equal(to_numpy(layer(IMAGES, training=True)), to_numpy(layer(IMAGES, training=False)))


def trained(images, targets):
    """Weights after a step down the gradient."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([built()])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.train_on_batch(images, targets)
    return model.get_weights()


def test_a_few_images_at_a_time_train_as_a_batch_at_once(monkeypatch):
    generator, counts, stem = np.random.default_rng(3), [], ConvStem._stem
    images, targets = generator.uniform(0, 1, (2, 5, 12, 9, 1)).astype("float32")

    def counted(layer, images):
        counts.append(images.shape[0])
        return stem(layer, images)

    monkeypatch.setattr(ConvStem, "_stem", counted)
    monkeypatch.setattr(conv_stem, "computes_on_cpu", lambda: False)
    at_once = trained(images, targets)
    assert counts[-1] == 5
    monkeypatch.setattr(conv_stem, "computes_on_cpu", lambda: True)
    monkeypatch.setattr(conv_stem, "_NUMBERS_AT_A_TIME", 2 * 12 * 9 * 8)
    in_parts = trained(images, targets)
    assert counts[-2:] == [2, 3]
    untrained = built().get_weights()
    assert all(np.abs(after - before).max() > 1e-4 for after, before in zip(at_once[::2], untrained[::2], strict=True))
    for one, other in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)  # sums of gradients in another order


@pytest.mark.parametrize(("count", "parts"), [(0, 1), (1, 1), (7, 1), (8, 2), (11, 2), (64, 16), (70, 16), (1000, 16)])
def test_parts_are_of_four_or_more_and_not_many(monkeypatch, count, parts):
    sizes = []
    monkeypatch.setattr(conv_stem, "computes_on_cpu", lambda: True)
    monkeypatch.setattr(conv_stem, "_NUMBERS_AT_A_TIME", 4 * 8)
    monkeypatch.setattr(ConvStem, "_stem", lambda layer, images: sizes.append(images.shape[0]) or images)
    numbers = np.arange(count, dtype="float32").reshape(count, 1, 1, 1)
    np.testing.assert_array_equal(to_numpy(built()(numbers, training=True)), numbers)
    assert (len(sizes), max(sizes) - min(sizes) <= 1) == (parts, True)


@pytest.mark.parametrize(("channels", "bands", "parts"), [((4, 4), 64, 1), ((4, 4), 256, 2), ((64, 1), 128, 8)])
def test_parts_are_as_large_as_the_caches_hold(monkeypatch, channels, bands, parts):
    sizes = []
    monkeypatch.setattr(conv_stem, "computes_on_cpu", lambda: True)
    monkeypatch.setattr(ConvStem, "_stem", lambda layer, images: sizes.append(images.shape[0]) or images)
    stem = ConvStem(channels)
    stem.build((None, bands, bands, 1))
    stem(np.zeros((32, bands, bands, 1), "float32"), training=True)
    assert len(sizes) == parts


def test_knows_where_it_runs():
    assert device.computes_on_cpu() == ("cpu" in str(keras.ops.ones(1).device).lower())


def test_black_images_stay_finite():
    assert np.isfinite(run(built(), np.zeros_like(IMAGES))).all()


def test_float16_survives_a_large_bright_image():
    layer = ConvStem((4, 1), dtype="mixed_float16")
    assert np.isfinite(run(layer, np.ones((1, 128, 1001, 1), "float32"))).all()
