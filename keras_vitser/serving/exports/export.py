"""`export`: a trained model leaves Keras, for TensorFlow Serving, ONNX Runtime or LiteRT.

Keras writes TensorFlow's stock ops only where TensorFlow is its backend, and the backend of a process is fixed. So
whatever backend trained the model, a process of its own exports it.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras_vitser
from keras_vitser import errors
from keras_vitser.errors import BackendError, ExportError, KerasViTSERError
from keras_vitser.files import whole_file, whole_folder

_COMMAND = [sys.executable, "-m", "keras_vitser.serving.exports.process"]
_PACKAGES = {  # that a format needs beside TensorFlow
    "saved_model": (),
    "onnx": ("onnx", "tf2onnx"),
    "litert": (),
    "int8": ("ai_edge_litert", "ai_edge_quantizer"),
}


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: The version's folder, or the file.
        signatures: Of a SavedModel, the names of its signatures.
        sentence: Of int8, what it costs, as one line.

    Example:
        >>> Exported(Path("vit_ser.onnx")).signatures
        ()
    """

    path: Path
    signatures: tuple[str, ...] = ()
    sentence: str = ""


def export(
    model: str | os.PathLike,
    to: str | os.PathLike,
    *,
    version: int | None = None,
    int8: bool = False,
    data: str | os.PathLike | None = None,
) -> Exported:
    """Exports a model that was trained on any backend. Needs TensorFlow.

    A SavedModel has these signatures, whose inputs and outputs have a row a recording:

    - `serving_default`: `waveform`, float32 `(batch, samples)`, 16 kHz, full scale at -1 and 1, any length; pad shorter
      rows with zeros. Whole numbers beyond 1, 16-bit samples as a rule, are refused, and all beyond 16. Gives
      `probabilities` `(batch, classes)`, `label`, `score`, the label's probability, and `heard`, the share of the
      window in which something is heard, as `Recognizer` does.
    - `wav`: `audio_bytes`, string `(batch,)`, whole WAV files; gives the same.
    - `explain`: `waveform`; gives the same, and `attention` `(batch, steps)`, which sums to 1.
    - `embed`: `waveform`; gives `feature_map` `(batch, hidden_dim)`, alone, so that TensorFlow Serving's answers are
      lists and no objects.

    Requests are joined into batches inside the graph. Leave `--enable_batching` of TensorFlow Serving off: it would pad
    waveforms with their own first sample, and fail the company of a bad file.

    Args:
        model: A run folder, or a model folder.
        to: What to write. A folder, `models/vit_ser`, becomes that of a model in TensorFlow Serving's layout, and gets
            the SavedModel `models/vit_ser/VERSION`. A name that ends in `.onnx` or `.tflite` is a file for ONNX
            Runtime or LiteRT: `waveform`, float32 `(batch, clip_samples)`, the network's window at 16 kHz, to
            `probabilities`, `(batch, classes)`. They do not tell `heard`: who runs one holds the samples, and has
            `keras_vitser.audio.heard_share`.
        version: Positive int, of a SavedModel; TensorFlow Serving serves the highest.
        int8: Bool. Whether a `.tflite` file keeps its weights in 8 bits, a quarter of the size; `model` is then a
            run, on whose test clips the loss is measured. Defaults to `False`.
        data: Where the run's recordings are now, for `int8`. Defaults to where they were.

    Returns:
        What was `Exported`; writing is atomic.

    Raises:
        ExportError: The arguments do not fit together, there is such a version or file already, or a package is
            missing.
        BackendError: TensorFlow is not installed.
        ModelFolderError: There is no model, or it is damaged.
        RunFolderError: For `int8`, `model` is no run folder, or `data` holds other recordings.

    Example:
        >>> export("runs/one", "models/vit_ser")
        Traceback (most recent call last):
        ...
        keras_vitser.errors.ExportError: models/vit_ser: a SavedModel needs a version, 1 or more; Received: None
    """
    to = Path(to)
    kind = {".onnx": "onnx", ".tflite": "litert"}.get(to.suffix, "saved_model")
    _check(to, kind, version, int8)
    path = to / str(version) if kind == "saved_model" else to
    job = {"kind": kind, "model": os.fspath(model), "name": to.name, "version": version, "int8": int8}
    job["data"] = None if data is None else os.fspath(data)
    job["front_ends"] = _registered_front_ends()
    with _new(path, kind) as part:
        done = _in_a_process(job | {"part": str(part)})
    return Exported(path, tuple(done["signatures"]), done["sentence"])


def _check(to: Path, kind: str, version: int | None, int8: bool) -> None:
    if kind == "saved_model":
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ExportError(f"{to}: a SavedModel needs a version, 1 or more; Received: {version}")
        # TensorFlow Serving reads folder names as numbers: 007 is version 7 too.
        there = [child for child in to.glob("*") if child.name.isdecimal() and int(child.name) == version]
        if there:
            raise ExportError(f"{there[0]}: is there already, and no version is overwritten; choose another number")
    elif version is not None:
        raise ExportError(f"{to}: a file has no version; leave it out, or name a folder. Received: {version}")
    elif to.exists():
        raise ExportError(f"{to}: is there already, and nothing is overwritten; choose another name")
    if int8 and kind != "litert":
        raise ExportError(f"{to}: only LiteRT files (.tflite) can have weights of 8 bits")
    if importlib.util.find_spec("tensorflow") is None:
        raise BackendError("export needs TensorFlow: pip install 'keras-vitser[tensorflow-cpu]'")
    needed = _PACKAGES[kind] + (_PACKAGES["int8"] if int8 else ())
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"{to}: needs {' and '.join(missing)}: pip install 'keras-vitser[export]'")


@contextmanager
def _new(path: Path, kind: str) -> Iterator[Path]:
    """A path to write to, which takes its name when the block ends."""
    try:
        if kind == "saved_model":
            with whole_folder(path) as part:
                yield part
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as part:
                yield part
    except OSError as error:
        if isinstance(error, KerasViTSERError):
            raise
        raise ExportError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from None


def _registered_front_ends() -> list[str]:
    """Those of this process; where their module is not loaded, there are none, and Keras need not be."""
    front_ends = sys.modules.get("keras_vitser.models.front_ends")
    return front_ends.registered_places() if front_ends else []


def _in_a_process(job: dict) -> dict:
    """What `export_process` returns, or the error that it raises."""
    paths = [str(Path(keras_vitser.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",  # a graph is the same for all devices, and a training may hold the GPU
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    ended = subprocess.run(
        [*_COMMAND, json.dumps(job)], env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    try:
        done = json.loads(ended.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        said = ended.stderr.strip().splitlines() or [f"code {ended.returncode}"]
        raise ExportError(f"the process that exports has ended: {said[-1]}") from None
    if "error" in done:
        raise getattr(errors, done["error"])(done["message"])
    return done
