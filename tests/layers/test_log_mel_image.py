"""keras_vitser/layers/log_mel_image.py, against librosa."""

import keras
import librosa
import numpy as np
import pytest
import soundfile

from keras_vitser.layers import LogMelImage
from tests.requirements import require

from .layer_checks import check_layer, to_numpy

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

TONE = (0.3 * np.sin(0.4 * np.arange(20000))).astype("float32")
NOISE = np.random.default_rng(0).normal(0, 0.1, 30000).astype("float32")
QUIET = [
    "ravdess/Actor_20/03-01-02-02-02-02-20.flac",  # peak 0.0045
    "ravdess/Actor_20/03-01-02-02-01-02-20.flac",  # peak 0.0053
    "ravdess/Actor_09/03-01-04-01-02-02-09.flac",  # peak 0.0060
    "ravdess/Actor_09/03-01-04-01-01-01-09.flac",
]


def spectrogram_of_the_paper(waveform, samples=64000):
    """Scaled log-Mel in 0..1, `(bands, 1001)`, highest band first, with the paper's settings in librosa."""
    clip = np.zeros(samples, "float32")
    clip[: min(len(waveform), samples)] = waveform[:samples]
    power = librosa.feature.melspectrogram(
        y=clip, sr=16000, n_fft=1024, hop_length=64, win_length=512, window="hamming", n_mels=128
    )
    return (librosa.power_to_db(power, ref=np.max, top_db=80)[::-1] + 80) / 80


def image_of_the_paper(waveform):
    """The same at 128 columns: bilinear, half-pixel centres, edges clamped; `(128, 128)`."""
    spectrogram = spectrogram_of_the_paper(waveform)
    position = (np.arange(128) + 0.5) * 1001 / 128 - 0.5
    return np.stack([np.interp(position, np.arange(1001), row) for row in spectrogram])


@pytest.fixture(scope="module")
def layer():
    return LogMelImage()


@pytest.fixture(scope="module")
def images(layer):
    """One compiled function for all clips: `images(list of waveforms)` gives `(clips, 128, 128)`."""
    waveforms = keras.Input((None,))
    model = keras.Model(waveforms, layer(waveforms))

    def run(clips, length=64000):
        batch = np.zeros((len(clips), length), "float32")
        for row, clip in zip(batch, clips, strict=True):
            row[: min(len(clip), length)] = clip[:length]
        return model.predict(batch, batch_size=4, verbose=0)[..., 0]

    return run


def test_as_every_layer(tmp_path):
    arguments = {
        "sampling_rate": 8000,
        "clip_seconds": 0.5,
        "n_fft": 256,
        "win_length": 200,
        "hop_length": 50,
        "n_mels": 20,
        "fmin": 50.0,
        "fmax": 3500.0,
        "top_db": 60.0,
        "frames": 30,
        "highest_band_first": False,
        "normalize_peak": True,
    }
    waveforms = np.stack([NOISE[:4500], 0.01 * TONE[:4500], np.zeros(4500, "float32")])
    # 0.004: computed in float32, and numbers up to 1 rounded once to bfloat16's 8 bits.
    check_layer(LogMelImage, arguments, waveforms, tmp_path, half_atol=0.004)


# Against librosa


def test_real_recordings_equal_librosa(images, recordings):
    paths = [recordings / name for name in QUIET]
    for corpus, every in (("savee", 60), ("ravdess", 180), ("emodb", 50), ("crema_d", 2)):
        paths += sorted((recordings / corpus).rglob("*.flac"))[::every]
    assert len(paths) > 30
    waveforms = [soundfile.read(path, dtype="float32")[0] for path in paths]
    expected = np.stack([image_of_the_paper(waveform) for waveform in waveforms])
    difference_db = np.abs(images(waveforms) - expected).max(axis=(1, 2)) * 80
    # The promise is 0.02 dB. 0.001 dB is what two float32 transforms of 1024 samples leave at 80 dB below the maximum.
    assert difference_db.max() <= 0.001, dict(zip(paths, difference_db, strict=True))


@pytest.mark.parametrize("seconds", [0.05, 1.0, 3.999, 4.0, 4.001, 6.0])
def test_shorter_and_longer_clips_equal_librosa(layer, seconds):
    waveform = np.random.default_rng(1).normal(0, 0.1, round(16000 * seconds)).astype("float32")
    # 0.001 dB, as above.
    difference = np.abs(to_numpy(layer(waveform[None]))[0, ..., 0] - image_of_the_paper(waveform))
    assert difference.max() * 80 <= 0.001


def test_uninterpolated_equals_librosa():
    layer = LogMelImage(frames=None)
    assert layer.image_size == (128, 1001)
    image = to_numpy(layer(NOISE[None]))
    assert image.shape == (1, 128, 1001, 1)
    assert np.abs(image[0, ..., 0] - spectrogram_of_the_paper(NOISE)).max() * 80 <= 0.001  # dB, as above


def test_other_settings_equal_librosa():
    settings = {"n_fft": 512, "win_length": 400, "hop_length": 160, "fmin": 60.0, "fmax": 7600.0, "n_mels": 40}
    layer = LogMelImage(clip_seconds=1.5, top_db=60.0, frames=None, highest_band_first=False, **settings)
    power = librosa.feature.melspectrogram(y=NOISE[:24000], sr=16000, window="hamming", **settings)
    expected = (librosa.power_to_db(power, ref=np.max, top_db=60) + 60) / 60
    assert np.abs(to_numpy(layer(NOISE[None]))[0, ..., 0] - expected).max() * 60 <= 0.001  # dB, as above


def test_row_0_is_the_highest_band(layer):
    low, high = (np.sin(2 * np.pi * hz / 16000 * np.arange(64000)).astype("float32") for hz in (200, 7000))
    image = to_numpy(layer(np.stack([low, high])))[..., 0]
    assert image[0].mean(axis=1).argmax() > 110
    assert image[1].mean(axis=1).argmax() < 10


# A clip's image depends on that clip alone


def test_image_does_not_depend_on_neighbours(images):
    quiet = 1e-3 * NOISE
    alone = images([quiet])[0]
    together = images([quiet, NOISE, np.zeros(1), 1000 * quiet])
    # 1e-6: float32 may sum in another order in another batch.
    np.testing.assert_allclose(together[0], alone, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(together[2], 0)
    assert (together[1] != together[0]).any()


def test_samples_after_four_seconds_do_not_matter(layer):
    long = np.concatenate([NOISE, NOISE, NOISE])
    cut = long[:64000]
    np.testing.assert_array_equal(to_numpy(layer(long[None])), to_numpy(layer(cut[None])))


# Silence and very little


def test_no_clips_give_no_images(layer):
    assert layer(np.zeros((0, 64000), "float32")).shape == (0, 128, 128, 1)


def test_silence_is_black(images):
    np.testing.assert_array_equal(images([np.zeros(64000)]), 0)


@pytest.mark.parametrize("normalize_peak", [False, True])
def test_no_samples_and_silence_are_black(normalize_peak):
    layer = LogMelImage(normalize_peak=normalize_peak)
    for samples in (0, 1, 16000):
        image = to_numpy(layer(np.zeros((1, samples), "float32")))
        assert image.shape == (1, 128, 128, 1)
        np.testing.assert_array_equal(image, 0)


def test_noise_below_the_smallest_power_is_black(images):
    noise = 1e-7 * np.random.default_rng(2).standard_normal(64000)
    np.testing.assert_array_equal(images([noise])[0], 0)


def test_noise_a_little_above_it_equals_librosa(images):
    noise = (3e-4 * np.random.default_rng(2).standard_normal(64000)).astype("float32")
    expected = image_of_the_paper(noise)
    assert 0 < expected.max() <= 1
    assert np.abs(images([noise])[0] - expected).max() * 80 <= 0.001  # dB, as above


def test_one_sample(layer):
    click = np.full((1, 1), 0.5, "float32")
    image = to_numpy(layer(click))[0, ..., 0]
    np.testing.assert_allclose(image, image_of_the_paper(click[0]), atol=0.001 / 80, rtol=0)  # dB, as above
    assert image[:, 0].max() > 0.7  # column 0 reads frames 3 and 4, where the window is falling
    np.testing.assert_array_equal(image[:, 1:], 0)


def test_loud_clips_stay_finite_and_in_range(images):
    image = images([1e4 * NOISE])[0]
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1 + 1e-6


# The maximum


def test_maximum_is_over_all_frames_also_those_between_columns(images):
    position = (np.arange(128) + 0.5) * 1001 / 128 - 0.5
    read = {*np.floor(position).astype(int), *np.floor(position).astype(int) + 1}
    unread = next(t for t in range(500, 600) if not {t - 2, t - 1, t, t + 1, t + 2} & read)
    background = 1e-3 * np.random.default_rng(3).standard_normal(64000).astype("float32")
    clicked = background.copy()
    clicked[64 * unread] = 1.0
    image, image_without = images([clicked, background])
    np.testing.assert_allclose(image, image_of_the_paper(clicked), atol=0.001 / 80, rtol=0)  # dB, as above
    assert image_without.max() > 0.95
    assert image.max() < 1 - 3 / 80, "the click's own frame is read by no column"
    far = slice(0, 40)
    assert (image_without[:, far] - image[:, far]).mean() > 10 / 80, "and yet it darkens all others"


def test_the_maximum_is_found_wherever_it_is(images):
    """A burst in each of many places, and noise of one level, where the energies of frames tell little."""
    random = np.random.default_rng(5)
    clips = [(0.1 * random.standard_normal(64000)).astype("float32")]
    for start in random.integers(0, 63000, 11):
        clip = (1e-3 * random.standard_normal(64000)).astype("float32")
        clip[start : start + 300] += np.sin(0.3 * np.arange(300)).astype("float32")
        clips.append(clip)
    expected = np.stack([image_of_the_paper(clip) for clip in clips])
    assert np.abs(images(clips) - expected).max() * 80 <= 0.001  # dB, as above


@pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])
@pytest.mark.parametrize("settings", [{"frames": 10}, {"frames": 6, "hop_length": 100, "win_length": 250}])
def test_the_gradient_goes_to_the_loudest_frame(settings):
    """As a difference of two images says; the loudest frame is one that no column reads."""
    layer = LogMelImage(sampling_rate=8000, clip_seconds=0.5, n_fft=256, n_mels=8, **{"win_length": 200} | settings)
    clip = 0.01 * np.random.default_rng(6).standard_normal((1, 4000)).astype("float32")
    clip[0, layer.hop_length * int(layer._unread[len(layer._unread) // 2])] = 1.0
    direction = clip * (np.abs(clip) == 1)  # the click's own level
    step = 1e-2
    above, below = (to_numpy(layer(clip + sign * step * direction)).mean(dtype=float) for sign in (1, -1))
    slope = (gradient_of_the_mean(layer, clip) * direction).sum()
    assert slope < 0, "a louder click darkens the rest"
    np.testing.assert_allclose(slope, (above - below) / (2 * step), rtol=0.01)


def gradient_of_the_mean(layer, clip):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        variable = tf.Variable(clip)
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean(layer(variable))
        return tape.gradient(mean, variable).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.jit(jax.grad(lambda x: layer(x).mean()))(clip))
    import torch

    tensor = torch.tensor(clip, requires_grad=True)
    layer(tensor).mean().backward()
    return tensor.grad.numpy()


def test_peak_normalisation_takes_the_level_away():
    layer, plain = LogMelImage(normalize_peak=True), LogMelImage()
    clips = np.stack([NOISE, 1e-3 * NOISE])
    normalised = to_numpy(layer(clips))
    # 1e-4 is 0.008 dB: the second clip was rounded to float32 once more before it was scaled up.
    np.testing.assert_allclose(normalised[0], normalised[1], atol=1e-4, rtol=0)
    assert np.abs(to_numpy(plain(clips))[0] - to_numpy(plain(clips))[1]).max() > 0.01
    np.testing.assert_allclose(
        normalised[0, ..., 0], image_of_the_paper(NOISE / np.abs(NOISE).max()), atol=0.001 / 80, rtol=0
    )


# In pipelines and under policies


@pytest.mark.backends("tensorflow")
def test_runs_in_tf_data(layer):
    tf = require("tensorflow")
    ds = tf.data.Dataset.from_tensor_slices(NOISE[None]).batch(1).map(layer)
    (image,) = [element.numpy() for element in ds]
    # 1e-6: a graph may sum in another order.
    np.testing.assert_allclose(image, to_numpy(layer(NOISE[None])), atol=1e-6, rtol=0)


def test_computes_in_float32_under_a_global_half_policy():
    waveform = NOISE[None]
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        half = LogMelImage()
    finally:
        keras.config.set_dtype_policy(before)
    image = half(waveform)
    assert keras.backend.standardize_dtype(image.dtype) == "bfloat16"
    # 0.002: one rounding of numbers up to 1 to 8 bits, and no more.
    np.testing.assert_allclose(to_numpy(image), to_numpy(LogMelImage()(waveform)), atol=0.002, rtol=0)


def test_takes_integers_and_float64(layer):
    click = np.zeros((1, 2000))
    click[0, 1000] = 1
    expected = to_numpy(layer(click.astype("float32")))
    np.testing.assert_array_equal(to_numpy(layer(click.astype("int32"))), expected)
    np.testing.assert_array_equal(to_numpy(layer(click)), expected)


def test_has_no_weights(layer):
    layer(NOISE[None])
    assert layer.weights == []


# Refusals


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampling_rate": 0}, "`sampling_rate` must be positive.*sampling_rate=0"),
        ({"clip_seconds": -1.0}, "`clip_seconds` must be positive"),
        ({"n_fft": 0, "win_length": 0}, "must be positive"),
        ({"hop_length": 0}, "`hop_length` must be positive"),
        ({"n_mels": 0}, "`n_mels` must be positive"),
        ({"top_db": 0}, "`top_db` must be positive"),
        ({"frames": 0}, "`frames` must be positive"),
        ({"clip_seconds": float("nan")}, "`clip_seconds` must be positive"),
        ({"win_length": 1025}, "`win_length` must be at most `n_fft`.*win_length=1025, n_fft=1024"),
        ({"fmax": 8001.0}, "fmin < fmax <= sampling_rate / 2.*fmax=8001"),
        ({"fmin": 8000.0}, "0 <= fmin < fmax"),
        ({"fmin": -1.0}, "0 <= fmin < fmax"),
    ],
)
def test_refuses_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        LogMelImage(**arguments)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("shape", [(16000,), (1, 16000, 1)])
def test_refuses_inputs_of_another_rank(layer, shape):
    with pytest.raises(ValueError, match=r"shape \(batch, samples\); for one clip give waveform\[None\]"):
        layer(np.zeros(shape, "float32"))
