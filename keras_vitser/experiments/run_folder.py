"""What a run leaves behind: one folder, each file in it whole."""

import csv
import datetime
import importlib.metadata
import io
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from filelock import FileLock, Timeout

import keras_vitser
from keras_vitser.audio import COPIES
from keras_vitser.audio.file_names import composed
from keras_vitser.corpora import Split
from keras_vitser.errors import RunFolderError
from keras_vitser.experiments.config import Common
from keras_vitser.files import strict_json, whole_file

FOLDS = "folds.json"  # in a folder of several runs: which they are
PROJECT = "tuning"  # KerasTuner's folder, in the folder of a search
_SPLIT_COLUMNS = ["path", "copy", "label", "speaker", "part"]
_PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "soundfile", "soxr", "mlflow")


class RunFolder:
    """Writes the files of one run.

    Args:
        path: The folder, which exists.

    Example:
        >>> import tempfile
        >>> run = RunFolder.create(tempfile.mkdtemp(), "savee_speaker_independent_s0")
        >>> run.path.name.endswith("_savee_speaker_independent_s0")
        True
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.model = self.path / "model"
        self.figures = self.path / "figures"
        self.checkpoints = self.path / "checkpoints"

    @classmethod
    def create(cls, parent: str | os.PathLike, name: str) -> "RunFolder":
        """Makes a new folder named after today and the run; a second one of the day gets `-2`, and so on.

        Raises:
            RunFolderError: The folder cannot be made.
        """
        stem = f"{datetime.date.today().isoformat()}_{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}"
        number = 1
        while True:
            path = Path(parent) / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir(parents=True)
                break
            except FileExistsError:
                if not path.exists():
                    raise RunFolderError(f"{parent}: is a file; give a folder to write runs to") from None
                number += 1
            except OSError as error:
                raise RunFolderError(f"{path}: cannot be made ({error.strerror}); give another `--runs`") from None
        return cls(path)._filled()

    @classmethod
    def make(cls, path: str | os.PathLike) -> "RunFolder":
        """Makes the folder of this path, which is not there yet."""
        Path(path).mkdir(parents=True)
        return cls(path)._filled()

    def _filled(self) -> "RunFolder":
        for folder in (self.figures, self.checkpoints):
            folder.mkdir()
        return self

    @classmethod
    def open(cls, path: str | os.PathLike) -> "RunFolder":
        """Takes up a run folder that is there.

        Raises:
            RunFolderError: It is none.
        """
        run = cls(path)
        if not (run.path / "config.yaml").is_file() or not (run.path / "split.csv").is_file():
            raise RunFolderError(
                f"{path}: is no run folder of `keras-vitser train` (it needs config.yaml and split.csv); give one, or "
                "begin a new run"
            )
        return run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps all other processes out of the folder; ends with the process, however that ends.

        Raises:
            RunFolderError: Another process is in it, or it cannot be written.
        """
        lock = FileLock(self.checkpoints / ".lock", timeout=0)
        try:
            self.checkpoints.mkdir(exist_ok=True)
            lock.acquire()
        except Timeout:
            raise RunFolderError(f"{self.path}: another process works in it; wait until it has ended") from None
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be written ({error.strerror}); mend the folder") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def finished(self) -> bool:
        """Whether the run came to its end: the report is the last that it writes."""
        return (self.path / "report.html").is_file()

    @property
    def is_search(self) -> bool:
        """Whether it is the folder of a search, not of a run."""
        return (self.path / PROJECT).is_dir()

    @property
    def is_folds(self) -> bool:
        """Whether it is a folder of several runs: folds and seeds of one config."""
        return (self.path / FOLDS).is_file()

    @property
    def folds(self) -> "RunFolder | None":
        """The folder of folds and seeds that this run is one of."""
        parent = RunFolder(self.path.parent)
        return parent if parent.is_folds else None

    def cannot_be_written(self, error: OSError) -> RunFolderError:
        """What to raise in place of an error of the disk."""
        return RunFolderError(
            f"{error.filename or self.path}: cannot be written ({error.strerror or error}); what was saved before is "
            "whole: make room or mend the folder, and go on"
        )

    def write_text(self, name: str, text: str) -> None:
        with whole_file(self.path / name) as part:
            part.write_text(text, encoding="utf-8")

    def write_json(self, name: str, values: Any) -> None:
        self.write_text(name, strict_json(values, indent=1, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> Any:
        """What a JSON file of the run holds.

        Raises:
            RunFolderError: It cannot be read.
        """
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path / name}: cannot be read ({error}); begin a new run") from None

    def write_start(self, config: Common, split: Split, data: str | os.PathLike | None) -> None:
        """Writes what is known before training: config, environment and place of the recordings, split."""
        self.write_text("config.yaml", config.to_yaml())
        recordings = {
            "corpus": split.corpus.name,
            "fingerprint": split.corpus.fingerprint,
            "protocol": split.protocol,
            "leaky": split.leaky,
            "split": split.description,
        }
        corpus = split.corpus
        unreadable = [clip for clip in corpus.clips if clip in corpus.unreadable]
        left_out = [[corpus.relative_path(clip), clip.label, clip.speaker] for clip in unreadable]
        if left_out:
            recordings["left_out"] = len(left_out)
        place = {
            "data": None if data is None else os.path.abspath(data),
            "recordings": recordings,
            "left_out": left_out,
        }
        self.write_json("environment.json", environment() | place)
        self.write_text("split.csv", _split_table(split))

    def left_out(self) -> list[list[str | None]]:
        """Path (from the corpus' folder), label and speaker of each recording that was left out as the run began."""
        return self.read_json("environment.json").get("left_out", [])

    def check_split(self, split: Split) -> None:
        """Makes sure that the recordings are divided as they were when the run began.

        Raises:
            RunFolderError: They are not.
        """
        if self._rows() != _rows_of(_split_table(split)):
            raise RunFolderError(
                f"{self.path}: the recordings are not those that the run began with (its split.csv says otherwise); "
                "give them with --data, or begin a new run"
            )

    def split_parts(self) -> dict[str, list[list[str]]]:
        """The rows of `split.csv` (path, copy, label, speaker) of each part that has any."""
        parts: dict[str, list[list[str]]] = {}
        for *cells, part in self._rows():
            parts.setdefault(part, []).append(cells)
        return parts

    def _rows(self) -> list[list[str]]:
        return _rows_of((self.path / "split.csv").read_text(encoding="utf-8"))

    def keep_progress(self, stage: str, epochs: int) -> None:
        """Drops all lines of `progress.jsonl` after this many epochs of a stage."""
        rows = self.progress()
        later = [place for place, row in enumerate(rows) if row["stage"] == stage and row["epoch"] > epochs]
        rows = rows[: later[0]] if later else rows
        self.write_text("progress.jsonl", "".join(strict_json(row) + "\n" for row in rows))

    def add_progress(self, row: dict[str, Any]) -> None:
        """Adds one line to `progress.jsonl`."""
        with (self.path / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(strict_json(row) + "\n")

    def progress(self) -> list[dict[str, Any]]:
        """The whole lines of `progress.jsonl` so far; a process that was killed may have left half of one."""
        path = self.path / "progress.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def write_predictions(self, split: Split, probabilities: dict[str, np.ndarray]) -> None:
        """Writes `predictions.csv`: one line a test example, with each network's answer."""
        labels = split.corpus.labels
        columns = [f"{network}_{label}" for network in probabilities for label in labels]
        rows = []
        for index, example in enumerate(split.test):
            answers = [labels[int(values[index].argmax())] for values in probabilities.values()]
            numbers = [f"{number:.6f}" for values in probabilities.values() for number in values[index]]
            rows.append([*_example_cells(split, example), *answers, *numbers])
        header = ["path", "copy", "label", "speaker", *probabilities, *columns]
        self.write_text("predictions.csv", _table(header, rows))


def scored(metrics: dict[str, Any]) -> list[str]:
    """The roles of the networks whose scores `metrics.json` holds, in its order.

    Example:
        >>> scored({"corpus": "demo", "left_out": {"train": 0}, "student": {"unweighted_accuracy": 0.5}})
        ['student']
    """
    return [name for name, values in metrics.items() if isinstance(values, dict) and "unweighted_accuracy" in values]


def environment() -> dict[str, Any]:
    """Versions, backend and machine of this process, for `environment.json`."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "keras_vitser": keras_vitser.__version__,
        "git_commit": _git_commit(),
        "backend": keras.backend.backend(),
        "versions": versions,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git_commit() -> str | None:
    """The commit of the checkout that this package is run from, if it is one."""
    root = Path(keras_vitser.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _split_table(split: Split) -> str:
    comments = [f"# {line}" for line in (f"protocol: {split.protocol}", split.description, *split.warnings)]
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    rows = [[*_example_cells(split, example), part] for part, examples in parts.items() for example in examples]
    table = _table(_SPLIT_COLUMNS, rows)
    return "\n".join(comments) + "\n" + table


def _rows_of(table: str) -> list[list[str]]:
    """What a table says of each example; columns of other versions, and comments, say nothing of who is where."""
    lines = [line for line in table.splitlines() if not line.startswith("#")]
    rows = [[row[name] for name in _SPLIT_COLUMNS] for row in csv.DictReader(lines)]
    return [[path, copy, composed(label), speaker, part] for path, copy, label, speaker, part in rows]


def _example_cells(split: Split, example) -> list[str]:
    clip = example.clip
    path = Path(os.path.relpath(clip.path, split.corpus.folder)).as_posix()
    return [path, COPIES[example.copy], clip.label, clip.speaker or ""]


def _table(header: list[str], rows: list[list[str]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()
