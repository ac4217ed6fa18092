"""`keras-vitser train`."""

import shlex
from pathlib import Path
from typing import Any

import typer

from keras_vitser.cli.backend import backend_of, choose_backend
from keras_vitser.cli.console import BACKEND_HELP, out, program, progress_bars, show_log, starting
from keras_vitser.cli.overrides import (
    BATCH_SIZE,
    EPOCHS,
    LABELS_AS_WRITTEN,
    LEAVE_OUT_UNREADABLE,
    PROTOCOL,
    SEED,
    SET,
    of_corpus,
    overrides_of,
)
from keras_vitser.errors import ConfigError
from keras_vitser.files import strict_json

FOLDS = "folds.json"  # as in `experiments.run_folder`, which is slow to import
_SPEAKERS_TO_KEEP_APART = 3  # one to test on, and two to learn from


def train(
    config: str = typer.Argument(
        None,
        help="A YAML file, or the name of a shipped config: demo, savee, ravdess, emodb, crema_d, folder, paper/NAME.",
    ),
    data: Path = typer.Option(None, help="The corpus: its folder, one folder a class, or a CSV (path,label,speaker)."),
    epochs: str = EPOCHS,
    batch_size: int = BATCH_SIZE,
    protocol: str = PROTOCOL,
    seed: int = SEED,
    set_: list[str] = SET,
    labels_as_written: bool = LABELS_AS_WRITTEN,
    leave_out_unreadable: bool = LEAVE_OUT_UNREADABLE,
    runs: Path = typer.Option(Path("runs"), help="Folder that the run folder is made in."),
    folds: str = typer.Option(None, help="all, or fold numbers (1,3): each is a run of its own, in one folder."),
    seeds: str = typer.Option(None, help="Seeds (0,1,2): each is a run of its own, in one folder."),
    jobs: int = typer.Option(1, min=1, help="Of folds and seeds, so many are trained beside each other."),
    resume: Path = typer.Option(
        None, help="Folder of a run, or of folds and seeds, that was stopped: go on as it began."
    ),
    backend: str = typer.Option(None, help=BACKEND_HELP),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Train the networks of a config, of ViT-SER a teacher and a student, and measure each.

    Examples: keras-vitser train demo --- keras-vitser train savee --data PATH/TO/savee --epochs 5,5,5 --batch-size 32
    --- keras-vitser train --data PATH/TO/FOLDER (one folder a class) --- keras-vitser train --resume runs/RUN

    All folds with three seeds, with mean, deviation and pooled answers: keras-vitser train savee --data PATH/TO/savee
    --folds all --seeds 0,1,2 --jobs 2

    A stage that diverges goes on from its last finite state with another learning rate, the one value that --resume
    takes: keras-vitser train --resume runs/RUN --set stages.matching.learning_rate=1e-5
    """
    overrides = overrides_of(epochs, batch_size, protocol, seed, set_, config)
    overrides |= of_corpus(labels_as_written=labels_as_written, leave_out_unreadable=leave_out_unreadable)
    if resume is not None:
        if config is not None:
            raise ConfigError("--resume goes on with a run as it began; leave out the config")
        if folds is not None or seeds is not None:
            raise ConfigError("--resume goes on with a run as it began; leave out --folds and --seeds")
        several = (resume / FOLDS).is_file()
        if several and overrides:
            raise ConfigError(
                f"--resume goes on with folds and seeds as they began; give what changes one to {resume}/RUN"
            )
        if jobs > 1 and not several:
            raise ConfigError("--jobs is for several folds or seeds, and this is one run; leave it out")
        chosen = choose_backend(backend or backend_of(_first_begun(resume) if several else resume))
        show_log()
        if several:
            with starting(chosen):
                from keras_vitser.experiments import resume_folds

            with progress_bars() as progress:
                together = resume_folds(resume, data, jobs=jobs, progress=progress)
            _show_folds(together, as_json)
            return
        with starting(chosen):
            from keras_vitser.experiments import resume as go_on

        with progress_bars() as progress:
            finished = go_on(resume, data, overrides=overrides, progress=progress)
        _show(finished, as_json)
        return
    if config is None and data is None:
        raise ConfigError("say what to train on: a config (keras-vitser train demo), or --data FOLDER, or both")
    if config is None:
        config, overrides = "folder", _for_own_recordings(data, labels_as_written) | overrides
    chosen_folds, chosen_seeds = _folds_of(folds), _numbers("--seeds", seeds)
    if jobs > 1 and folds is None and seeds is None:
        raise ConfigError("--jobs is for several folds or seeds: --folds all, or --seeds 0,1,2")
    chosen = choose_backend(backend)
    show_log()
    if folds is not None or seeds is not None:
        with starting(chosen):
            from keras_vitser.experiments import run_folds

        with progress_bars() as progress:
            together = run_folds(
                config,
                data,
                folds=chosen_folds,
                seeds=chosen_seeds,
                jobs=jobs,
                runs=runs,
                overrides=overrides,
                progress=progress,
            )
        _show_folds(together, as_json)
        return
    with starting(chosen):
        from keras_vitser.experiments import run

    with progress_bars() as progress:
        finished = run(config, data, runs=runs, overrides=overrides, progress=progress)
    _show(finished, as_json)


def _show(run, as_json: bool) -> None:
    if as_json:
        answer = {"run": str(run.folder), "model": str(run.model_folder), "metrics": run.metrics}
        print(strict_json(answer, ensure_ascii=False))
        return
    for role, sentence in run.sentences.items():
        out.print(f"{role.replace('_', ' ')}: {sentence}", markup=False)
    if left_out := run.metrics.get("left_out", {}).get("sentence"):
        out.print(f"note: {left_out}", markup=False)
    out.print(f"report: {run.folder / 'report.html'}\nmodel: {run.model_folder}", markup=False)
    if run.answers:
        _show_answers(run)
        _show_next(run)


def _show_folds(together, as_json: bool) -> None:
    if as_json:
        print(strict_json({"folder": str(together.folder), "metrics": together.metrics}, ensure_ascii=False))
        return
    for role, sentence in together.sentences.items():
        out.print(f"{role.replace('_', ' ')}: {sentence}", markup=False)
    out.print(f"runs: {together.folder}\nanswers: {together.predictions}", markup=False)


def _folds_of(text: str | None) -> "list[int] | str | None":
    return text if text in (None, "all") else _numbers("--folds", text, " or `all`")


def _numbers(option: str, text: str | None, more: str = "") -> list[int] | None:
    if text is None:
        return None
    if not all(number.strip().isdigit() for number in text.split(",")):
        raise ConfigError(f"{option} takes whole numbers with commas between them{more}. Received: {text!r}")
    return [int(number) for number in text.split(",")]


def _first_begun(folder: Path) -> Path:
    """The first run of several that says on which backend they are trained."""
    return next((path.parent for path in sorted(folder.glob("*/environment.json"))), folder)


def _show_answers(run) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(Column("test clip", overflow="fold"), "class", "answer", "probability", box=None, pad_edge=False)
    for answered in run.answers:
        said = Text(answered.answer, "green" if answered.is_right else "red")
        table.add_row(Text(str(answered.path)), Text(answered.label), said, f"{answered.probability:.2f}")
    out.print(f"\nThe {run.shipped} hears one clip of each class that was kept for the test:", markup=False)
    out.print(table)


def _show_next(run) -> None:
    from keras_vitser.experiments.systems import SYSTEMS

    name, place = program(), shlex.quote(str(run.folder))
    clip = shlex.quote(str(run.answers[0].path))
    data = "" if run.data is None else f" --data {shlex.quote(str(run.data))}"
    lines = (
        ("this clip again, or one of your own", f"{name} predict {clip} --model {place}/model"),
        ("the same but for one thing", f"{name} train {place}/config.yaml{data} --set {SYSTEMS[run.system].variation}"),
        ("for TensorFlow Serving", f"{name} export {place} --to {place}/serving/{run.system} --version 1"),
    )
    out.print("\nTo try next:")
    for what, line in lines:
        out.print(f"  {line}  # {what}", markup=False)


def _for_own_recordings(data: Path, labels_as_written: bool = False) -> dict[str, Any]:
    """What differs from the config `folder`: a table, and speakers kept apart where it names enough of them."""
    from keras_vitser import corpora

    if data.is_dir():  # which names no speakers
        return {}
    corpus = corpora.load_any(data, labels_as_written=labels_as_written, missing_ok=True)
    overrides: dict[str, Any] = {"corpus.name": corpus.name}
    if len(corpus.speakers) >= _SPEAKERS_TO_KEEP_APART and all(clip.speaker for clip in corpus.clips):
        overrides["protocol"] = {"name": "speaker_independent"}
    return overrides
