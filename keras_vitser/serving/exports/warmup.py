"""Requests that TensorFlow Serving sends to a new version before it serves it, so that no user waits for first uses.

The file is an uncompressed TFRecord of `PredictionLog` messages (`tensorflow_serving/apis/prediction_log.proto`). Of
these only four nested fields are needed, which are written here, so that `tensorflow-serving-api` is not: it requires
the large `tensorflow`.
"""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

FILE = Path("assets.extra", "tf_serving_warmup_requests")
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
            writer.write(_prediction_log(model_name, signature, name, tensor.SerializeToString()))


def _prediction_log(model_name: str, signature: str, input_name: str, tensor: bytes) -> bytes:
    """A `PredictionLog`; the numbers are those of the fields."""
    model = _field(1, model_name.encode()) + _field(3, signature.encode())  # ModelSpec: name, signature_name
    entry = _field(1, input_name.encode()) + _field(2, tensor)  # of a map: key, value
    request = _field(1, model) + _field(2, entry)  # PredictRequest: model_spec, inputs
    return _field(6, _field(1, request))  # PredictionLog: predict_log; PredictLog: request


def _field(number: int, payload: bytes) -> bytes:
    """A field with a length, in protocol buffers' wire format."""
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
