"""SavedModels with the signatures of an exported run, made of a plain `tf.Module`: quick to write, load and run."""

import io
import wave
from pathlib import Path

import numpy as np

LABELS = ("anger", "calm", "sadness")
RATE = 16000
SAMPLES = 16000  # of a clip that the signature `wav` reads, cut or padded


def write_version(folder, number, has_heard=True):
    """Writes `folder/number/saved_model.pb`; versions differ in their weights, and earlier ones do not tell `heard`."""
    import tensorflow as tf

    def weights(*shape):
        return tf.Variable(random.normal(size=shape) / np.sqrt(shape[0]), dtype=tf.float32)

    class Small(tf.Module):
        def __init__(self):
            self.frames = weights(400, 8)
            self.layer = weights(8, 8)
            self.head = weights(8, len(LABELS))

        def features(self, waveform):
            finite = tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(waveform)), ["a sample is NaN or infinite"])
            with tf.control_dependencies([finite]):
                hidden = tf.signal.frame(waveform, 400, 160, pad_end=True) @ self.frames  # (batch, frames, width)
            return tf.nn.tanh(hidden @ self.layer)

        def answers(self, waveform):
            probabilities = tf.nn.softmax(10.0 * tf.reduce_mean(tf.abs(self.features(waveform)), 1) @ self.head)
            label = tf.gather(tf.constant(LABELS), tf.argmax(probabilities, 1))
            answers = {"probabilities": probabilities, "label": label, "score": tf.reduce_max(probabilities, 1)}
            heard = tf.reduce_mean(tf.cast(tf.abs(waveform) > 1e-3, tf.float32), 1)
            return answers | ({"heard": heard} if has_heard else {})

        @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32, "waveform")])
        def serving_default(self, waveform):
            return self.answers(waveform)

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "audio_bytes")])
        def wav(self, audio_bytes):
            def decode(data):
                return tf.audio.decode_wav(data, desired_channels=1, desired_samples=SAMPLES).audio[:, 0]

            return self.answers(tf.map_fn(decode, audio_bytes, fn_output_signature=tf.float32))

        @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32, "waveform")])
        def explain(self, waveform):
            return {"attention": tf.nn.softmax(tf.reduce_sum(tf.abs(self.features(waveform)), 2))}

        @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32, "waveform")])
        def embed(self, waveform):
            return {"feature_map": tf.reduce_mean(self.features(waveform), 1)}

    random = np.random.default_rng(number)
    small = Small()
    names = ("serving_default", "wav", "explain", "embed")
    path = Path(folder) / str(number)
    tf.saved_model.save(small, str(path), signatures={name: getattr(small, name) for name in names})
    return path


def tone(number=0, seconds=1.0):
    """float32 samples of a tone."""
    return np.sin(2 * np.pi * (200 + 50 * number) * np.arange(round(seconds * RATE)) / RATE).astype("float32") / 2


def wav_file(samples, rate=RATE):
    """The bytes of a 16-bit mono WAV file, written by Python's own `wave`."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    return file.getvalue()
