"""A CSV of answers that only grows, by whole lines, and is taken up again after a kill.

Beside `answers.csv` lies `answers.csv.job`, which says what model the answers are of. That the
manifest is the same is seen from the answers themselves: each row's path is compared with the
manifest's. So a manifest that has grown is gone on with.
"""

import csv
import errno
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import RawIOBase
from itertools import chain, islice
from pathlib import Path
from typing import Any

import keras
from filelock import FileLock, Timeout

from keras_vitser.errors import PredictionError
from keras_vitser.files import sha256, strict_json, whole_file
from keras_vitser.models.model_folder import SETTINGS_FILE, model_folder
from keras_vitser.prediction.row import Row, csv_header
from keras_vitser.prediction.stream import BATCH

_FORMAT = 1
_DEFAULTS = {"skip_silence": False}  # what notes of earlier versions do not say
_SHOWN = 3


@dataclass
class Written:
    """What a file of answers holds.

    Attributes:
        total: Number of rows.
        before: How many of them were there when the call began.
        failed: Number of rows with an error.
        reasons: The first few errors.

    Example:
        >>> Written(total=3, failed=1, reasons=["a.wav: no such file"]).failed
        1
    """

    total: int = 0
    before: int = 0
    failed: int = 0
    reasons: list[str] = field(default_factory=list)

    def count(self, error: str | None) -> None:
        self.total += 1
        if error:
            self.failed += 1
            if len(self.reasons) < _SHOWN:
                self.reasons.append(error)


def job_of(model: str | os.PathLike, skip_silence: bool = False) -> dict[str, Any]:
    """What answers depend on besides the recordings: the model folder's content, the backend, what is used of a clip.

    Example:
        >>> import tempfile
        >>> from keras_vitser.models import ViTSER
        >>> from keras_vitser.recognizer import Recognizer
        >>> recognizer = Recognizer(ViTSER.student(2, depth=1), ["calm", "upset"])
        >>> sorted(job_of(recognizer.save(Path(tempfile.mkdtemp()) / "model")))
        ['backend', 'format', 'model', 'skip_silence']
    """
    settings = sha256(model_folder(model) / SETTINGS_FILE)  # holds the hash of the weights
    backend = keras.backend.backend()
    return {"format": _FORMAT, "model": settings, "backend": backend, "skip_silence": skip_silence}


def write_answers(
    output: str | os.PathLike,
    paths: Iterable[str],
    answer: Callable[[Iterator[str], int], Iterable[Row]],
    labels: Sequence[str],
    job: dict[str, Any],
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Answers all paths into a CSV, or goes on with one; killed at any moment, no row is lost or duplicated.

    A line is written whole and flushed as soon as it is known; a line that a kill has torn is
    cut off. As answers are made in batches of 32, a few clips are heard again after a kill, so
    that the bytes are those of a job that nobody stopped.

    Args:
        output: The CSV: columns `path`, `label`, `seconds_used`, one a label, `heard`, `error`. One that an
            earlier version began without `heard` goes on without it.
        paths: Paths in the order of the rows.
        answer: Function of the paths that are left and of how many came before, a multiple of
            32; gives their rows, `predict_stream` for instance.
        labels: The labels of the model.
        job: What `job_of` says.
        progress: Called with the number of rows.

    Returns:
        What the file holds at the end.

    Raises:
        PredictionError: The output is of another model or manifest, or is no such file; another
            process writes it; it cannot be written; or there are no paths.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "answers.csv"
        >>> def calm(paths, start):
        ...     return (Row(path, "calm", (1.0,), 0.5) for path in paths)
        >>> write_answers(file, ["a.wav"], calm, ["calm"], {}).total
        1
        >>> write_answers(file, ["a.wav", "b.wav"], calm, ["calm"], {}).before
        1
    """
    output = Path(output)
    left = iter(paths)
    written = Written()
    with _alone(output), _opened(output, labels, job) as file:
        has_heard = _has_heard(output, labels)
        recent: deque[str] = deque(maxlen=BATCH)
        for cells in _rows_of(output, file, len(labels) + 4 + has_heard):
            _check_path(output, cells, written.total, left)
            recent.append(cells[0])
            written.count(cells[-1])
        written.before = written.total
        first = next(left, None)
        if first is None:
            if not written.total:
                raise PredictionError("the manifest lists no recording; give one with a path a line")
            return written
        again = list(recent)[len(recent) - written.total % BATCH :]
        rows = answer(chain(again, [first], left), written.total - len(again))
        for row in islice(rows, len(again), None):
            _append(file, output, row.to_csv(labels, has_heard=has_heard))
            written.count(row.error)
            if progress:
                progress(written.total)
        os.fsync(file.fileno())
    return written


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    if not output.parent.is_dir():
        raise PredictionError(f"{output}: there is no folder {output.parent}; make it, or choose another name")
    lock = FileLock(output.with_name(f".{output.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise PredictionError(f"{output}: another process writes it; wait until it has ended") from None
    except OSError as error:
        raise PredictionError(f"{output}: cannot be written ({error.strerror}); choose another name") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _opened(output: Path, labels: Sequence[str], job: dict[str, Any]) -> Iterator[RawIOBase]:
    """The file, with its header, ready to be appended to."""
    note = output.with_name(f"{output.name}.job")
    try:
        if output.exists():
            _check_job(output, note, job)
        else:
            with whole_file(note) as part:
                part.write_text(strict_json(job) + "\n", encoding="utf-8")
        file = output.open("ab", buffering=0)  # so that nothing is left to be written where a disk is full
    except OSError as error:
        raise PredictionError(f"{output}: cannot be written ({error.strerror}); choose another name") from None
    with file:
        if not _first_line(output).endswith(b"\n"):
            file.truncate(0)
            _append(file, output, csv_header(labels))
        yield file


def _first_line(output: Path) -> bytes:
    with output.open("rb") as file:
        return file.readline()


def _check_job(output: Path, note: Path, job: dict[str, Any]) -> None:
    try:
        begun = _DEFAULTS | json.loads(note.read_text(encoding="utf-8"))
        differing = [name for name, value in job.items() if begun[name] != value]
    except (OSError, ValueError, KeyError, TypeError):
        raise PredictionError(
            f"{output}: is already there, and no {note.name} tells that it was begun here; choose another name"
        ) from None
    if differing == ["skip_silence"]:
        was = "with" if begun["skip_silence"] else "without"
        raise PredictionError(f"{output}: was begun {was} --skip-silence; go on {was} it, or choose another name")
    if "backend" in differing and "model" not in differing:
        raise PredictionError(f"{output}: was begun on {begun['backend']}; give --backend {begun['backend']}")
    if differing:
        raise PredictionError(f"{output}: holds the answers of another model; choose another name")


def _has_heard(output: Path, labels: Sequence[str]) -> bool:
    """Whether the file has the column `heard`."""
    with output.open("rb") as file:
        for has_heard in (True, False):
            header = csv_header(labels, has_heard=has_heard).encode("utf-8", "surrogateescape")
            file.seek(0)
            if file.read(len(header)) == header:
                return has_heard
    raise PredictionError(f"{output}: has other columns than this model's answers; choose another name")


def _rows_of(output: Path, file: RawIOBase, count: int) -> Iterator[list[str]]:
    """The cells of each whole row under the header, so many a row. What a kill left behind them is cut off."""
    end, lines = 0, b""
    with output.open("rb") as whole:
        for line in whole:
            lines += line
            if not line.endswith(b"\n") or lines.count(b'"') % 2:  # a name may hold a line break
                continue
            text = lines.decode("utf-8", "surrogateescape")
            if end:
                yield _cells(output, text, count)
            end += len(lines)
            lines = b""
    if lines:
        file.truncate(end)


def _cells(output: Path, text: str, count: int) -> list[str]:
    try:
        (cells,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        cells = []
    if len(cells) != count:
        raise PredictionError(f"{output}: was changed by something else; choose another name, and start anew")
    return cells


def _check_path(output: Path, row: list[str], number: int, paths: Iterator[str]) -> None:
    expected = next(paths, None)
    if row[0] != expected:
        here = "has no more" if expected is None else f"has {expected}"
        raise PredictionError(
            f"{output}: row {number + 1} is of {row[0]}, where the manifest {here}: it belongs to another manifest; "
            "choose another name"
        )


def _append(file: RawIOBase, output: Path, line: str) -> None:
    data = line.encode("utf-8", "surrogateescape")
    try:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise PredictionError(
            f"{output}: cannot be written ({error.strerror}); make room and start again: it goes on where it stopped"
        ) from None
