"""What we print and write as JSON is JSON: `NaN` and `Infinity` are none (RFC 8259, section 6)."""

import ast
from pathlib import Path

import pytest

import keras_vitser

pytestmark = pytest.mark.backends("tensorflow")

PACKAGE = Path(keras_vitser.__file__).parent
OTHERS = {  # files that call json.dumps or json.dump themselves, and what for
    "files.py": "strict_json itself",
    "training/checkpoints.py": "the head of a binary file, whose logs come back as they were; digests",
    "distillation/feature_cache.py": "a digest",
    "experiments/feature_store.py": "a digest, and a key in memory",
    "experiments/tracking/run_tracking.py": "a digest",
    "experiments/tuning/engine.py": "KerasTuner's own files, which it reads with its infinite scores",
    "experiments/tuning/workers.py": "arguments of a process of ours",
    "prediction/ray_engine.py": "messages between processes of ours",
    "serving/client.py": "a request, of texts alone",
    "serving/exports/export.py": "arguments of a process of ours",
    "serving/exports/process.py": "a message to a process of ours",
    "serving/server/model_server.py": "metadata, without numbers of a model",
    "serving/server/rest_json.py": "answers as TensorFlow Serving gives them, NaN included",
}


def writes_json(path):
    """Whether a file calls `json.dumps` or `json.dump`."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("dumps", "dump")
        and getattr(node.func.value, "id", None) == "json"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


def test_json_is_written_by_strict_json():
    found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if writes_json(path)}
    assert found == set(OTHERS), "write with keras_vitser.files.strict_json, or say here why not"
