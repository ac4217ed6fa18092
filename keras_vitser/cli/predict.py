"""`keras-vitser predict`."""

import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from enum import StrEnum
from functools import partial
from pathlib import Path

import typer

from keras_vitser.cli.backend import PREDICTION, choose_backend
from keras_vitser.cli.console import BACKEND_HELP, fail, out, progress_bars, show_log, starting
from keras_vitser.errors import PredictionError
from keras_vitser.files import strict_json


class Engine(StrEnum):
    local = "local"
    ray = "ray"


def predict(
    sources: list[Path] = typer.Argument(None, help="Sound files, or folders that are searched for them."),
    model: str = typer.Option(..., help="A model folder, e.g. RUN/model, or a preset, e.g. hf://USER/REPO@REVISION."),
    manifest: Path = typer.Option(
        None, help="Instead of SOURCES: a text file with a path a line, a .csv with a column `path`, or - for stdin."
    ),
    output: Path = typer.Option(
        None, help="Write CSV to this file, line by line; the same command goes on with it after a kill."
    ),
    as_csv: bool = typer.Option(False, "--csv", help="Print CSV instead of a table (a manifest's default)."),
    as_json: bool = typer.Option(False, "--json", help="Print a JSON line a file."),
    engine: Engine = typer.Option(Engine.local, help="local: this process. ray: Ray Data, on RAY_ADDRESS or here."),
    workers: int = typer.Option(None, min=1, help="Processes of --engine ray. Default: one a CPU."),
    skip_silence: bool = typer.Option(
        False,
        "--skip-silence",
        help="Use a recording longer than the network's window from its first sound on (a frame of 20 ms above -70 dB "
        "of full scale), not from its start as the paper does.",
    ),
    backend: str = typer.Option(None, help=BACKEND_HELP),
) -> None:
    """Say which emotion is heard in recordings.

    A file that cannot be read gets a line of its own and stops nothing; the exit code is then 2.
    Relative paths in a manifest begin at its folder.

    Example: keras-vitser predict clip.wav --model runs/RUN/model

    Example: keras-vitser predict --manifest clips.txt --output answers.csv --model runs/RUN/model
    """
    _check(sources, manifest, output, as_csv, as_json)
    chosen = choose_backend(backend, PREDICTION)
    show_log()
    with starting(chosen):
        from keras_vitser import prediction
        from keras_vitser.models.presets import is_preset, preset_folder
        from keras_vitser.recognizer import Recognizer

        paths = prediction.files_of(sources) if manifest is None else prediction.manifest_paths(manifest)
        loaded = preset_folder(model) if is_preset(model) else model
        recognizer = Recognizer.load(loaded)
    folder = "" if manifest is None else manifest.parent
    if engine is Engine.ray:
        answer = partial(prediction.ray_stream, loaded, folder=folder, workers=workers, skip_silence=skip_silence)
    else:
        answer = partial(prediction.predict_stream, recognizer, folder=folder, skip_silence=skip_silence)
    total = len(paths) if isinstance(paths, list) else None
    silent = output is None and (as_csv or as_json or manifest is not None) and out.is_terminal  # lines show it
    write = None if output else _writer(as_csv or manifest is not None, as_json, recognizer.labels)
    with progress_bars(silent) as progress, redirect_stdout(sys.stderr):  # where Ray tells of a worker that died

        def tell(done: int) -> None:
            progress("files", done, total)

        if output is None:
            failed, total = _print(answer(paths), write, tell)
        else:
            written = prediction.write_answers(
                output,
                paths,
                lambda left, start: answer(left, start=start),
                recognizer.labels,
                prediction.job_of(loaded, skip_silence),
                tell,
            )
            failed, total = written.failed, written.total
    if output is not None:
        print(f"{output}: {total} recordings, {written.before} of them from before")
        for reason in written.reasons:
            print(f"not read: {reason}", file=sys.stderr)
    else:
        write(None)
    if failed:
        raise fail(f"{failed} of {total} files could not be read; each has its reason in its line")


def _check(sources, manifest, output, as_csv, as_json) -> None:
    if bool(sources) == (manifest is not None):
        raise PredictionError("give either sound files and folders, or a list of them with --manifest")
    if output is not None and (as_csv or as_json):
        raise PredictionError("--output writes CSV to a file, and --csv and --json print; give one of them")


def _print(rows: Iterable, write: Callable, tell: Callable[[int], None]) -> tuple[int, int]:
    """Number of files that could not be read, and of all."""
    failed = total = 0
    for row in rows:
        failed += row.error is not None
        total += 1
        write(row)
        tell(total)
    return failed, total


def _writer(as_csv: bool, as_json: bool, labels: tuple[str, ...]):
    """A function that takes a row, and `None` at the end."""
    stdout = sys.stdout
    if as_json:
        return lambda row: row and print(strict_json(row.to_dict(labels), ensure_ascii=False), file=stdout)
    if as_csv:
        from keras_vitser.prediction.row import csv_header

        stdout.write(csv_header(labels))
        return lambda row: row and stdout.write(row.to_csv(labels))
    return _table()


def _table():
    from rich.table import Column, Table
    from rich.text import Text

    columns = (Column("file", overflow="fold"), "emotion", "probability", "seconds", "heard")
    table = Table(*columns, box=None, pad_edge=False)
    reasons: list[str] = []

    def write(row):
        if row is None:
            out.print(table)
            for reason in reasons:
                print(f"not read: {reason}", file=sys.stderr)
        elif row.error:
            table.add_row(Text(row.path), Text("not read", "red"), "", "", "")
            reasons.append(row.error)
        else:
            probability = f"{max(row.probabilities):.2f}"
            heard = f"{100 * row.heard:.1f} %" if row.heard else Text("nothing", "red")
            table.add_row(Text(row.path), Text(row.label), probability, f"{row.seconds_used:.2f}", heard)

    return write
