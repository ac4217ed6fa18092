"""`keras-vitser predict`."""

import csv
import json
import sys
from pathlib import Path

import typer

from keras_vitser.cli.backend import choose_backend
from keras_vitser.cli.console import BACKEND_HELP, fail, out, progress_bars, show_log, working
from keras_vitser.errors import AudioError, PredictionError

_CHUNK = 32


def predict(
    sources: list[Path] = typer.Argument(help="Sound files, or folders that are searched for them."),
    model: str = typer.Option(..., help="A model folder, e.g. RUN/model, or a preset, e.g. hf://USER/REPO@REVISION."),
    as_csv: bool = typer.Option(False, "--csv", help="Print CSV instead of a table."),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON line a file."),
    backend: str = typer.Option(None, help=BACKEND_HELP),
) -> None:
    """Say which emotion is heard in recordings.

    A file that cannot be read gets a line of its own and stops nothing; the exit code is then 2.

    Example: keras-vitser predict clip.wav --model runs/RUN/model
    """
    chosen = choose_backend(backend)
    show_log()
    with working(f"starting {chosen}"):
        from keras_vitser.models.presets import is_preset
        from keras_vitser.recognizer import Recognizer

        recognizer = Recognizer.from_preset(model) if is_preset(model) else Recognizer.load(model)
    writer = _writer(as_csv, as_json, recognizer.labels)
    failed = 0
    files = _files(sources)
    with progress_bars(silent=(as_csv or as_json) and out.is_terminal) as progress:  # the lines themselves show it
        for start in range(0, len(files), _CHUNK):
            progress("files", start, len(files))
            for row in _rows(recognizer, files[start : start + _CHUNK]):
                failed += row["error"] is not None
                writer(row)
    writer(None)
    if failed:
        raise fail(f"{failed} of {len(files)} files could not be read; each has its reason in its line")


def _files(sources: list[Path]) -> list[Path]:
    from keras_vitser.corpora import sound_files

    files = []
    for source in sources:
        found = sound_files(source) if source.is_dir() else [source]
        if not found:
            raise PredictionError(f"{source}: holds no sound file; give files, or a folder with some in it")
        files += found
    return files


def _rows(recognizer, files: list[Path]):
    from keras_vitser.audio import read_waveform

    rate = recognizer.front_end.sampling_rate
    waveforms, rows = [], []
    for file in files:
        row = {"path": str(file), "label": None, "probability": None, "seconds_used": None, "error": None}
        rows.append(row)
        try:
            waveforms.append(read_waveform(file, sampling_rate=rate))
        except AudioError as error:
            row["error"] = str(error)
    heard = [row for row in rows if row["error"] is None]
    answers = recognizer.predict(waveforms, sampling_rate=rate) if waveforms else []
    for row, answer in zip(heard, answers, strict=True):
        row["label"] = answer.label
        row["probability"] = round(float(answer.probabilities.max()), 6)
        row["seconds_used"] = round(answer.seconds_used, 3)
        row["probabilities"] = {
            label: round(float(value), 6) for label, value in zip(answer.labels, answer.probabilities, strict=True)
        }
    return rows


def _writer(as_csv: bool, as_json: bool, labels: tuple[str, ...]):
    """A function that takes a row, and `None` at the end."""
    if as_json:
        return lambda row: row and print(json.dumps(row, ensure_ascii=False))
    if as_csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(["path", "label", "seconds_used", *labels, "error"])

        def write(row):
            if row:
                values = row.get("probabilities", {})
                numbers = [values.get(label, "") for label in labels]
                table.writerow([row["path"], row["label"], row["seconds_used"], *numbers, row["error"]])

        return write
    return _table()


def _table():
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(Column("file", overflow="fold"), "emotion", "probability", "seconds", box=None, pad_edge=False)
    reasons = []

    def write(row):
        if row is None:
            out.print(table)
            for reason in reasons:
                print(f"not read: {reason}", file=sys.stderr)
        elif row["error"]:
            table.add_row(Text(row["path"]), Text("not read", "red"), "", "")
            reasons.append(row["error"])
        else:
            table.add_row(
                Text(row["path"]), Text(row["label"]), f"{row['probability']:.2f}", f"{row['seconds_used']:.2f}"
            )

    return write
