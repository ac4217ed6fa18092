"""A corpus of one's own as a table: a CSV with the columns path, label and, if known, speaker."""

import csv
import os
from pathlib import Path

from keras_vitser.audio.file_names import composed, existing_path
from keras_vitser.corpora.corpus import Clip, Corpus
from keras_vitser.corpora.reading import absolute
from keras_vitser.errors import CorpusError
from keras_vitser.wording import listed

LAYOUT = "a CSV with the header path,label,speaker (speaker optional); paths start from the CSV's folder"
TERMS = "your own recordings: their terms are yours to know"
DESCRIPTION = f"Your own recordings, listed in a table. Layout: {LAYOUT}. Terms: {TERMS}."

REQUIRED = ("path", "label")


def read(path: str | os.PathLike, *, missing_ok: bool = False) -> Corpus:
    """Reads a CSV (UTF-8, comma-separated); other columns are ignored, empty speakers become `None`.

    The labels are those of the table, sorted; labels and speakers are normalised to Unicode's NFC, and a path that
    exists in another normal form is found.

    Args:
        path: The CSV.
        missing_ok: Whether some of the files may be missing, as whoever asks finds all that cannot be read.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The CSV is missing or malformed, or lists a file that is missing or stands twice.
    """
    table = absolute(path)
    clips: dict[Path, Clip] = {}
    rows: dict[Path, int] = {}
    for number, row in _rows(table):
        clip = _clip(table, number, row)
        if clip.path in clips:
            raise CorpusError(
                f"A manifest lists each path once. Received: {row['path']!r} in rows {rows[clip.path]} and "
                f"{number} of {table}. Delete one of the rows."
            )
        clips[clip.path] = clip
        rows[clip.path] = number
    if not clips:
        raise CorpusError(f"A manifest lists at least one clip below its header. Received: {table}, without any.")
    missing = [path for path in clips if not path.is_file()]
    if missing and not (missing_ok and len(missing) < len(clips)):
        named = listed([f"{path} (row {rows[path]})" for path in missing])
        raise CorpusError(
            f"Every file that a manifest lists must exist. Received: {table}, where {len(missing)} of "
            f"{len(clips)} are missing: {named}. Paths are read from the folder of the CSV."
        )
    labels = tuple(sorted({clip.label for clip in clips.values()}))
    return Corpus("manifest", table.parent, tuple(clips.values()), labels, TERMS)


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of every row that is not blank."""
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [column.strip().lower() for column in next(reader, [])]
            _check_header(table, header)
            rows = []
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                if len(cells) > len(header):
                    raise CorpusError(
                        f"A manifest's row has one cell a column ({len(header)}). Received: row "
                        f"{reader.line_num} of {table} with {len(cells)}. Put cells that hold a comma in "
                        "double quotes."
                    )
                rows.append((reader.line_num, dict(zip(header, cells, strict=False))))
            return rows
    except OSError as error:
        raise CorpusError(
            f"A manifest is a CSV file: {LAYOUT}. Received: {table} ({error.strerror}). Give the path of the CSV."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(
            f"A manifest is a CSV file in UTF-8. Received: {table}, which cannot be read so ({error}). "
            "Save it as CSV, comma-separated, UTF-8."
        ) from error


def _check_header(table: Path, header: list[str]) -> None:
    missing = [column for column in REQUIRED if column not in header]
    repeated = [column for column in (*REQUIRED, "speaker") if header.count(column) > 1]
    if missing or repeated:
        problem = f"without {' and '.join(missing)}" if missing else f"with {repeated[0]} twice"
        raise CorpusError(
            "A manifest's first row names its columns, separated by commas: path, label and optionally "
            f"speaker. Received: {table}, whose row 1 is {','.join(header)!r}, {problem}. Correct the first "
            "row."
        )


def _clip(table: Path, number: int, row: dict[str, str]) -> Clip:
    for column in REQUIRED:
        if not row.get(column):
            raise CorpusError(
                f"Every row of a manifest has a path and a label. Received: row {number} of {table} with an "
                f"empty {column}. Fill it in or delete the row."
            )
    path = existing_path(os.path.normpath(table.parent / Path(row["path"]).expanduser()))
    return Clip(path, label=composed(row["label"]), speaker=composed(row.get("speaker") or "") or None)
