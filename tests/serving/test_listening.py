"""What is heard over a recording, against the recognizer asked by hand."""

import warnings

import keras
import numpy as np
import pytest

from keras_vitser.errors import AudioError
from keras_vitser.recognizer import Recognizer
from keras_vitser.serving.listening import heard_figure, heard_sentence, listen
from tests.audio.unheard_sounds import lsb_noise, tone
from tests.serving.conftest import make_recognizer

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])

RATE = 16000


@pytest.fixture(scope="module")
def noise():
    """11 s whose loudness changes."""
    samples = np.random.default_rng(0).normal(0, 0.1, 11 * RATE)
    return (samples * (1 + np.sin(np.arange(len(samples)) / RATE))).astype(np.float32)


def test_the_answer_is_to_the_first_seconds_and_the_timeline_to_each_window(recognizer, noise):
    length = recognizer.front_end.clip_samples
    heard = listen(recognizer, noise)
    assert heard.starts.tolist() == [0.5 * number for number in range(15)]
    assert (heard.seconds, heard.clip_seconds) == (11.0, length / RATE)
    windows = [noise[round(start * RATE) :][:length] for start in heard.starts]
    expected = [recognizer.predict(window, sampling_rate=RATE).probabilities for window in windows]
    np.testing.assert_allclose(heard.timeline, expected, atol=1e-5)
    np.testing.assert_allclose(heard.answer.probabilities, expected[0], atol=1e-5)
    assert np.ptp(heard.timeline, axis=0).max() > 1e-3


def test_a_short_recording_is_one_window(recognizer, noise):
    heard = listen(recognizer, noise[:RATE])
    assert (heard.timeline.shape, heard.seconds) == ((1, 3), 1.0)
    assert heard_figure(heard).axes[2].get_xlim() == (0, 1.0)


def test_it_is_said_whether_anything_is_heard(recognizer):
    late = np.concatenate([lsb_noise(5 * RATE), tone(np.full(RATE, 0.1))]).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        silent, loud = listen(recognizer, late), listen(recognizer, late[-2 * RATE :])
    assert silent.answer.heard == 0
    assert heard_sentence(silent).startswith("**Nothing was heard** in the 4 s that the answer is to: ")
    assert heard_sentence(loud) == "Sound was heard in 25.0 % of the 4 s that the answer is to."


def test_a_very_long_recording_is_heard_for_two_minutes(recognizer):
    assert listen(recognizer, np.zeros(300 * RATE, np.float32)).starts[-1] == 119.5


def test_the_image_and_the_attention_are_those_of_the_first_seconds(recognizer, noise):
    heard = listen(recognizer, noise)
    images = recognizer.front_end(noise[None, : recognizer.front_end.clip_samples])
    np.testing.assert_allclose(heard.image, keras.ops.convert_to_numpy(images)[0, :, :, 0], atol=1e-6)
    weights = keras.ops.convert_to_numpy(recognizer.network.attention_weights(images)[-1])[0, :, 0, 1:].mean(axis=0)
    columns = weights.reshape(recognizer.network.patch_grid).sum(axis=0)
    np.testing.assert_allclose(heard.attention, columns / columns.sum(), atol=1e-6)


def test_a_network_of_ones_own_tells_no_attention(noise):
    front_end = make_recognizer().front_end
    layers = [keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    heard = listen(Recognizer(keras.Sequential(layers), ["calm", "upset"], front_end), noise)
    assert heard.attention is None
    assert "does not tell" in heard_figure(heard).axes[0].texts[0].get_text()


def test_a_file_is_read_and_a_bad_one_refused(recognizer, recordings, tmp_path):
    file = next(iter(sorted((recordings / "original_samples").rglob("*.wav"))))
    assert listen(recognizer, file).answer.label == recognizer.predict(file).label
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"text\.wav"):
        listen(recognizer, tmp_path / "text.wav")
