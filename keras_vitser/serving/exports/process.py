"""The process that exports: Keras is on TensorFlow here, whatever it is in the process that asked.

`python -m keras_vitser.serving.exports.process JOB`; job and answer are JSON, the answer the last line that is printed.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras_vitser
from keras_vitser.errors import ExportError, KerasViTSERError, ModelFolderError
from keras_vitser.files import strict_json

if TYPE_CHECKING:
    from keras_vitser.recognizer import Recognizer


def do(job: dict[str, Any]) -> dict[str, Any]:
    """Exports; see `keras_vitser.serving.export` for what a job holds."""
    from keras_vitser.models import register_front_end
    from keras_vitser.recognizer import Recognizer

    unknown = []
    for place in job.get("front_ends", ()):  # those that the process that asks has registered
        module, _, name = place.partition(":")
        try:
            register_front_end(getattr(importlib.import_module(module), name))
        except (ImportError, AttributeError):  # defined in a function or a notebook; most models do without
            unknown.append(place)
    try:
        recognizer = Recognizer.load(job["model"])
    except ModelFolderError as error:
        if not unknown:
            raise
        raise ExportError(
            f"{error}; a process of its own exports, which cannot import {', '.join(unknown)}: define it in a module"
        ) from None
    front_end = recognizer.front_end
    if not front_end.exportable or front_end.clip_samples is None:
        why = "takes recordings of any length" if front_end.exportable else "is no graph of Keras alone"
        raise ExportError(f"{job['model']}: its front end, {type(front_end).__name__}, {why}, and cannot be exported")
    about, card = _about(job, recognizer)
    part = Path(job["part"])
    signatures: tuple[str, ...] = ()
    sentence = ""
    if job["kind"] == "saved_model":
        signatures = _saved_model(recognizer, part, about, card, job["name"])
    elif job["kind"] == "onnx":
        from keras_vitser.serving.exports.onnx import write_onnx

        write_onnx(recognizer, part, about, card)
    else:
        sentence = _litert(recognizer, part, about, card, job)
    return {"signatures": signatures, "sentence": sentence}


def _about(job: dict[str, Any], recognizer: "Recognizer") -> tuple[dict[str, Any], str]:
    """What a server or client may want to know, and the model card."""
    from keras_vitser.files import sha256
    from keras_vitser.recognizer import CARD_FILE, NETWORK_FILE, model_folder

    folder = model_folder(job["model"])
    about = {
        "name": job["name"],
        "version": job["version"],
        "labels": list(recognizer.labels),
        "sampling_rate": recognizer.front_end.sampling_rate,
        "front_end": recognizer.front_end.get_config(),
        "keras_vitser": keras_vitser.__version__,
        "sha256": {NETWORK_FILE: sha256(folder / NETWORK_FILE)},
    }
    card = folder / CARD_FILE
    return about, card.read_text(encoding="utf-8") if card.is_file() else ""


def _saved_model(recognizer: "Recognizer", part: Path, about: dict[str, Any], card: str, name: str) -> tuple[str, ...]:
    from keras_vitser.recognizer import CARD_FILE, SETTINGS_FILE
    from keras_vitser.serving.exports.saved_model import write_saved_model
    from keras_vitser.serving.exports.warmup import write_warmup

    with tempfile.TemporaryDirectory() as folder:
        settings, card_file = Path(folder) / SETTINGS_FILE, Path(folder) / CARD_FILE
        settings.write_text(strict_json(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        card_file.write_text(card, encoding="utf-8")
        signatures = write_saved_model(recognizer, part, [settings, card_file])
    write_warmup(part, signatures, name, recognizer.front_end.sampling_rate)
    return signatures


def _litert(recognizer: "Recognizer", part: Path, about: dict[str, Any], card: str, job: dict[str, Any]) -> str:
    from keras_vitser.serving.exports.litert import attach, quantize_weights, write_litert

    sentence = ""
    if job["int8"]:
        from keras_vitser.serving.exports.int8_loss import clips_of_test, int8_loss

        clips = clips_of_test(job["model"], job["data"])  # first, as this is what may be wrong
        with tempfile.TemporaryDirectory() as folder:
            float32 = Path(folder) / "float32.tflite"
            write_litert(recognizer, float32)
            quantize_weights(float32, part)
            sentence = int8_loss(clips, recognizer, float32, part)
    else:
        write_litert(recognizer, part)
    attach(part, about, card)
    return sentence


if __name__ == "__main__":
    try:
        answer = do(json.loads(sys.argv[1]))
    except KerasViTSERError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
