"""Recordings and a stopped run, to be made by one version of the package and taken up by later ones.

`python -m tests.old_versions.made FOLDER`, in a checkout of the old version and for each `KERAS_BACKEND`, makes
`FOLDER/BACKEND`: the model folder of a finished run with the probabilities of its answers, and the folder of the same
run stopped in its second stage, with the scores that it ends with. The recordings are made again from whole numbers.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np

SPEAKERS = ("a", "b", "c", "d", "e", "f")
LABELS = ("calm", "upset")
RATE = 16000
STOP = ("matching", 5)  # steps of the second stage: behind its first epoch of three

OVERRIDES = {
    "corpus.name": "manifest",
    "protocol.name": "speaker_independent",
    "protocol.test_speakers": ["f"],
    "front_end.n_mels": 16,
    "front_end.frames": 16,
    "front_end.hop_length": 256,
    "augmentation.copies": 2,
    "teacher.conv_stem": [2, 1],
    "tracking.enabled": False,
    "stages.save_interval": 0,
    "stages.compare_alone": True,
    "seed": 3,
}
_NETWORK = {"patch_size": [16, 2], "hidden_dim": 8, "depth": 1, "num_heads": 1, "head_dim": 4, "mlp_dim": 8}
OVERRIDES |= {f"{role}.{key}": value for role in ("teacher", "student") for key, value in _NETWORK.items()}
OVERRIDES |= {f"stages.{stage}.epochs": 3 for stage in ("teacher", "matching", "student")}
OVERRIDES |= {f"stages.{stage}.batch_size": 8 for stage in ("teacher", "matching", "student")}


class Stopped(Exception):
    """What ends the run early."""


def recordings(folder: Path) -> Path:
    """Writes two clips a class and speaker, sawtooths of whole numbers, and their table, which is returned."""
    rows = ["path,label,speaker"]
    for place, speaker in enumerate(SPEAKERS):
        for kind, label in enumerate(LABELS):
            for take in range(2):
                step = 20 + 7 * place + 40 * kind + 3 * take
                samples = (np.arange(8000) * step % 2000 - 1000) * (8 + 12 * kind)
                path = folder / f"{speaker}_{label}_{take}.wav"
                with wave.open(str(path), "wb") as file:
                    file.setparams((1, 2, RATE, 0, "NONE", ""))
                    file.writeframes(samples.astype("<i2").tobytes())
                rows.append(f"{path.name},{label},{speaker}")
    table = folder / "manifest.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


def _stop(task, done, total):
    if (task, done) == STOP:
        raise Stopped


def _make(folder: Path) -> None:
    import keras_vitser as kv

    work = Path(tempfile.mkdtemp())
    data = recordings(work)
    whole = kv.experiments.run(None, data, runs=work / "whole", overrides=OVERRIDES)
    with contextlib.suppress(Stopped):
        kv.experiments.run(None, data, runs=work / "stopped", overrides=OVERRIDES, progress=_stop)
    (stopped,) = (work / "stopped").iterdir()
    shutil.copytree(stopped, folder / "stopped", ignore=shutil.ignore_patterns(".lock", "environment.json"))
    environment = json.loads((stopped / "environment.json").read_text(encoding="utf-8"))
    kept = {key: environment[key] for key in ("keras_vitser", "backend", "versions", "recordings", "left_out")}
    (folder / "stopped" / "environment.json").write_text(json.dumps(kept | {"data": None}, indent=1) + "\n")
    shutil.copytree(whole.model_folder, folder / "model")
    shutil.copy(whole.folder / "metrics.json", folder)
    shutil.copy(whole.folder / "predictions.csv", folder)


if __name__ == "__main__":
    _make(Path(sys.argv[1]) / os.environ["KERAS_BACKEND"])
