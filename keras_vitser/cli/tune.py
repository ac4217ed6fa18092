"""`keras-vitser tune`."""

import shlex
from pathlib import Path

import typer

from keras_vitser.cli.backend import backend_of, choose_backend
from keras_vitser.cli.console import BACKEND_HELP, out, progress_bars, show_log, starting
from keras_vitser.cli.overrides import (
    BATCH_SIZE,
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

_SHOWN = 5


def tune(
    config: str = typer.Argument(None, help="A YAML file, or the name of a shipped config; see keras-vitser train."),
    data: Path = typer.Option(None, help="The corpus: its folder, one folder a class, or a CSV (path,label,speaker)."),
    algorithm: str = typer.Option(None, help="hyperband, bayesian or random."),
    trials: int = typer.Option(None, help="The most trials."),
    epochs: int = typer.Option(None, help="Epochs of a trial; the most with Hyperband."),
    workers: int = typer.Option(0, min=0, help="Processes that train at the same time. 0: this one alone."),
    batch_size: int = BATCH_SIZE,
    protocol: str = PROTOCOL,
    seed: int = SEED,
    set_: list[str] = SET,
    labels_as_written: bool = LABELS_AS_WRITTEN,
    leave_out_unreadable: bool = LEAVE_OUT_UNREADABLE,
    runs: Path = typer.Option(Path("runs"), help="Folder that the folder of the search is made in."),
    resume: Path = typer.Option(None, help="Folder of a search that was stopped: go on with it as it began."),
    backend: str = typer.Option(None, help=BACKEND_HELP),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Search for the patch width, depth, ... that hear best on the validation part; the test part is never heard.

    What is searched is the config's section `tuning`, any value of which can be given with --set. On several machines
    with a common folder: set KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT (the chief's) and KERASTUNER_TUNER_ID;
    where that is `chief`, begin the search; on each other machine, with an id of its own, --resume the chief's folder.

    Examples: keras-vitser tune savee --data PATH/TO/savee --- keras-vitser tune demo --trials 5 --workers 2
    --- keras-vitser tune demo --set "tuning.space.student.depth=[1, 2, 3]" --- keras-vitser tune --resume runs/RUN
    """
    overrides = overrides_of(None, batch_size, protocol, seed, set_, config)
    overrides |= of_corpus(labels_as_written=labels_as_written, leave_out_unreadable=leave_out_unreadable)
    short = {"algorithm": algorithm, "trials": trials, "epochs": epochs}
    overrides |= {f"tuning.{key}": value for key, value in short.items() if value is not None}
    if resume is not None:
        if config is not None or overrides:
            raise ConfigError("--resume goes on with a search as it began; leave out config and all that changes it")
        backend = backend or backend_of(resume)
    elif config is None:
        raise ConfigError("say what to search with: a config (keras-vitser tune demo), or --resume RUN")
    chosen = choose_backend(backend)
    show_log()
    with starting(chosen):
        from keras_vitser.experiments import tuning

    with progress_bars() as progress:
        search = tuning.tune(
            config, data, runs=runs, overrides=overrides, workers=workers, resume=resume, progress=progress
        )
    if as_json:
        print(strict_json(_answer(search), ensure_ascii=False))
    else:
        _show(search, data)


def _answer(search) -> dict:
    return {
        "search": str(search.folder),
        "best_config": str(search.best_config),
        "chance": search.chance,
        "clips": search.clips,
        "left_out": search.left_out,
        "trials": [
            {
                "trial": trial.name,
                "status": trial.status,
                "values": trial.values,
                "best_epoch": trial.best,
                "epochs": trial.epochs,
            }
            for trial in search.trials
        ],
    }


def _show(search, data: Path | None) -> None:
    from rich.table import Table

    clips = "1 clip" if search.clips == 1 else f"{search.clips} clips"
    table = Table("trial", *(search.trials[0].values if search.trials else ()), "UA %", "epochs", "seconds")
    table.title = f"validation UA, chance {100 * search.chance:.1f} %, {clips}"
    for trial in search.best[:_SHOWN]:
        accuracy = f"{100 * trial.best['validation_unweighted_accuracy']:.1f}"
        values = map(str, trial.values.values())
        table.add_row(trial.name, *values, accuracy, str(trial.epochs), f"{trial.seconds:.0f}")
    out.print(table)
    if search.best:
        out.print("The best of many trials on the same clips sounds better than it is; measure it on the test part.")
    if search.left_out:
        out.print(f"note: {search.left_out}", markup=False)
    out.print(f"trials: {search.folder / 'trials.csv'}", markup=False)
    if search.best_config.is_file():
        recordings = f" --data {shlex.quote(str(data))}" if data else ""
        out.print(f"next: keras-vitser train {shlex.quote(str(search.best_config))}{recordings}", markup=False)
