"""`keras-vitser evaluate`."""

from pathlib import Path
from typing import Any

import typer

from keras_vitser.cli.backend import choose_backend
from keras_vitser.cli.console import BACKEND_HELP, out, progress_bars, show_log, starting
from keras_vitser.cli.overrides import LABELS_AS_WRITTEN, LEAVE_OUT_UNREADABLE
from keras_vitser.errors import CorpusError
from keras_vitser.files import strict_json


def evaluate(
    model: Path = typer.Argument(help="A model folder or a run folder."),
    data: Path = typer.Option(None, help="The corpus: its folder, one folder a class, or a CSV (path,label,speaker)."),
    corpus: str = typer.Option(None, help="Its name, e.g. savee. Default: one folder a class, or a CSV."),
    labels_as_written: bool = LABELS_AS_WRITTEN,
    leave_out_unreadable: bool = LEAVE_OUT_UNREADABLE,
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    backend: str = typer.Option(None, help=BACKEND_HELP),
) -> None:
    """Measure a model on recordings that it was not trained on.

    Clips that the model was trained on, or its best epoch chosen by, are left out and counted; the score says whether
    it knows the speakers. Example: keras-vitser evaluate runs/RUN/model --corpus savee --data PATH/TO/savee
    """
    if corpus is None and data is None:
        raise CorpusError("say what to measure on: --data FOLDER (one folder a class), --corpus NAME --data FOLDER")
    chosen = choose_backend(backend)
    show_log()
    with starting(chosen):
        from keras_vitser import corpora
        from keras_vitser.experiments import evaluate_model
        from keras_vitser.recognizer import Recognizer

    recognizer = Recognizer.load(model)
    # Of what is missing all are told below.
    options: dict[str, Any] = {"labels_as_written": labels_as_written, "missing_ok": True}
    clips = corpora.load_any(data, **options) if corpus is None else corpora.load(corpus, data, **options)
    with progress_bars() as progress:
        result = evaluate_model(recognizer, clips, progress, leave_out_unreadable=leave_out_unreadable)
    if as_json:
        print(strict_json({"notes": result.notes, **result.scores.to_dict()}, ensure_ascii=False))
        return
    out.print(result.sentence, markup=False)
    for note in result.notes:
        out.print(f"note: {note}", markup=False)
    _table(result.scores)


def _table(scores) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("class", "clips", "recall", "precision", box=None, pad_edge=False)
    for row in scores.per_class:
        shares = ["-" if row[key] is None else f"{100 * row[key]:.1f} %" for key in ("recall", "precision")]
        table.add_row(Text(row["label"]), str(row["clips"]), *shares)
    out.print(table)
