"""Requests that TensorFlow Serving sends to a new version before it serves it, so that no user waits for first uses.

The file is an uncompressed TFRecord of `PredictionLog` messages.
"""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from keras_vitser.serving.prediction_log import FILE, prediction_log

_FILE_RATE = 44100  # Hz, so that a resampler is warm
_SECONDS = 1.0


def write_warmup(folder: Path, signatures: Iterable[str], model_name: str, sampling_rate: int) -> None:
    """Writes one request a signature into the SavedModel in `folder`.

    Args:
        folder: The SavedModel.
        signatures: Names; `wav` takes `audio_bytes`, all others `waveform`.
        model_name: What the model is called.
        sampling_rate: Hz, of waveforms.
    """
    import tensorflow as tf

    noise = np.random.default_rng(0).normal(0, 0.1, round(_SECONDS * _FILE_RATE)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, noise, _FILE_RATE, format="WAV", subtype="PCM_16")
    inputs = {"wav": ("audio_bytes", tf.make_tensor_proto([file.getvalue()]))}
    waveform = ("waveform", tf.make_tensor_proto(noise[None, : round(_SECONDS * sampling_rate)]))
    (folder / FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
        for signature in signatures:
            name, tensor = inputs.get(signature, waveform)
            writer.write(_request(model_name, signature, name, tensor.SerializeToString()))


def _request(model_name: str, signature: str, input_name: str, tensor: bytes) -> bytes:
    log = prediction_log()()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = model_name, signature
    request.inputs.add(key=input_name, value=tensor)
    return log.SerializeToString()
