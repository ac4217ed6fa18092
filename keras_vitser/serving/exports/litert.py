"""A recognizer as a LiteRT (TensorFlow Lite) file: waveforms of the network's own length to probabilities."""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_vitser.files import strict_json
from keras_vitser.recognizer import CARD_FILE, SETTINGS_FILE, Recognizer
from keras_vitser.serving.exports.clip_graph import clip_function
from keras_vitser.serving.exports.dft_by_matrices import without_loops


def write_litert(recognizer: Recognizer, file: Path) -> None:
    """Writes a file that maps `waveform`, float32 `(batch, clip_samples)`, to `probabilities`, `(batch, classes)`.

    Args:
        recognizer: The model, on the TensorFlow backend.
        file: Path to write to.
    """
    import tensorflow as tf

    module = tf.Module()
    module.weights = [variable.value for variable in recognizer.network.variables]
    front_end = without_loops(recognizer.front_end)
    function, _ = clip_function(recognizer.network, front_end)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, {"serving_default": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        file.write_bytes(converter.convert())


def quantize_weights(file: Path, to: Path) -> None:
    """Keeps the weights in 8 bits, a scale a channel; computes in float32 as before."""
    from ai_edge_quantizer import quantizer, recipe

    job = quantizer.Quantizer(str(file))
    job.load_quantization_recipe(recipe.weight_only_wi8_afp32())
    job.quantize().export_model(str(to), overwrite=True)


def attach(file: Path, about: dict[str, Any], card: str) -> None:
    """Appends a ZIP archive, as LiteRT's metadata tools do: interpreters skip it, `zipfile` and Android read it."""
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(SETTINGS_FILE, strict_json(about, indent=1, ensure_ascii=False))
        archive.writestr("labels.txt", "\n".join(about["labels"]) + "\n")
        archive.writestr(CARD_FILE, card)


def litert_probabilities(file: Path, clips: np.ndarray) -> np.ndarray:
    """What the interpreter makes of clips.

    Args:
        file: A file that `write_litert` wrote.
        clips: float32 array `(batch, clip_samples)`.

    Returns:
        float32 array `(batch, classes)`.
    """
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(file)).get_signature_runner()(waveform=clips)["probabilities"]
