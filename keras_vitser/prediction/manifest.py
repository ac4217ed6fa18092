"""A list of recordings, read a line at a time."""

import csv
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from keras_vitser.errors import PredictionError

STDIN = "-"
_FORM = "a manifest is a text file with one path a line, or a .csv with a column `path`"


def manifest_paths(manifest: str | os.PathLike) -> Iterator[str]:
    """The paths that a manifest lists, as they stand there and in their order.

    Nothing but the line at hand is kept. Blank lines are passed over. A row of a CSV whose
    path is empty gives `""`, as the other rows count.

    Args:
        manifest: UTF-8 file. Where its name ends in `.csv`: comma-separated, with a header that
            has a column `path`. Else text with one path a line. `"-"` reads text from stdin.

    Returns:
        Iterator of strings. File names that are no UTF-8 keep their bytes (`surrogateescape`).

    Raises:
        PredictionError: There is no such file, or it is no manifest. A CSV that is malformed
            further down is refused when its row is reached.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "clips.txt"
        >>> _ = file.write_text("a.wav\\n\\nb.wav\\n")
        >>> list(manifest_paths(file))
        ['a.wav', 'b.wav']
    """
    if str(manifest) == STDIN:
        stdin = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
        return _lines(stdin)
    path = Path(manifest)
    try:
        # newline="\n": a carriage return may be a part of a name, and csv finds line ends by itself.
        file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PredictionError(f"{path}: cannot be read ({reason}); {_FORM}") from None
    if path.suffix.lower() != ".csv":
        return _lines(file)
    rows = _rows(path, file)
    column = _path_column(path, file, next(rows, []))
    return (row[column].strip() if len(row) > column else "" for row in rows)


def _lines(file: TextIO) -> Iterator[str]:
    with file:
        for line in file:
            line = line.removesuffix("\n").removesuffix("\r")
            if line.strip():
                yield line


def _rows(path: Path, file: TextIO) -> Iterator[list[str]]:
    with file:
        reader = csv.reader(file, strict=True)
        try:
            yield from (row for row in reader if any(cell.strip() for cell in row))
        except csv.Error as error:
            raise PredictionError(f"{path}: line {reader.line_num} is no CSV ({error}); mend it") from None


def _path_column(path: Path, file: TextIO, header: list[str]) -> int:
    columns = [column.strip().lower() for column in header]
    if "path" not in columns:
        file.close()
        found = ", ".join(header) or "nothing"
        raise PredictionError(f"{path}: its first line has no column `path` (it has {found[:200]}); {_FORM}")
    return columns.index("path")
