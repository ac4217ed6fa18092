"""`keras-vitser train`."""

import json
from pathlib import Path
from typing import Any

import typer

from keras_vitser.cli.backend import choose_backend
from keras_vitser.cli.console import BACKEND_HELP, out, progress_bars, show_log
from keras_vitser.errors import ConfigError

_STAGES = ("teacher", "matching", "student")
_SPEAKERS_TO_KEEP_APART = 3  # one to test on, and two to learn from


def train(
    config: str = typer.Argument(
        None, help="A YAML file, or the name of a shipped config: demo, savee, ravdess, emodb, crema_d, folder."
    ),
    data: Path = typer.Option(None, help="The corpus: its folder, one folder a class, or a CSV (path,label,speaker)."),
    epochs: str = typer.Option(None, help="Epochs of the stages teacher,matching,student; e.g. 5,5,5."),
    batch_size: int = typer.Option(None, help="Clips a batch, in all stages. The paper's is 4."),
    protocol: str = typer.Option(None, help="paper (leaky), random, speaker_independent or leave_one_speaker_out."),
    seed: int = typer.Option(None, help="Seed of the split, the copies, the order and the weights."),
    set_: list[str] = typer.Option([], "--set", help="Any config value, e.g. --set stages.student.learning_rate=3e-4."),
    runs: Path = typer.Option(Path("runs"), help="Folder that the run folder is made in."),
    backend: str = typer.Option(None, help=BACKEND_HELP),
    as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Train a teacher and a student, and measure both.

    Examples: keras-vitser train demo --- keras-vitser train savee --data PATH/TO/savee --epochs 5,5,5 --batch-size 32
    --- keras-vitser train --data PATH/TO/FOLDER (one folder a class)
    """
    if config is None and data is None:
        raise ConfigError("say what to train on: a config (keras-vitser train demo), or --data FOLDER, or both")
    overrides = _overrides(epochs, batch_size, protocol, seed, set_)
    if config is None:
        config, overrides = "folder", _for_own_recordings(data) | overrides
    choose_backend(backend)
    show_log()
    from keras_vitser import experiments

    with progress_bars() as progress:
        run = experiments.run(config, data, runs=runs, overrides=overrides, progress=progress)
    if as_json:
        answer = {"run": str(run.folder), "model": str(run.model_folder), "metrics": run.metrics}
        print(json.dumps(answer, ensure_ascii=False))
        return
    for role, sentence in run.sentences.items():
        out.print(f"{role}: {sentence}", markup=False)
    out.print(f"report: {run.folder / 'report.html'}\nmodel: {run.model_folder}", markup=False)


def _for_own_recordings(data: Path) -> dict[str, Any]:
    """What differs from the config `folder`: a table, and speakers kept apart where it names enough of them."""
    from keras_vitser import corpora

    corpus = corpora.load_any(data)
    overrides: dict[str, Any] = {"corpus.name": corpus.name}
    if len(corpus.speakers) >= _SPEAKERS_TO_KEEP_APART and all(clip.speaker for clip in corpus.clips):
        overrides["protocol"] = {"name": "speaker_independent"}
    return overrides


def _overrides(epochs, batch_size, protocol, seed, assignments) -> dict[str, Any]:
    import yaml

    overrides: dict[str, Any] = {}
    if epochs is not None:
        counts = epochs.split(",")
        if len(counts) != len(_STAGES) or not all(count.strip().isdigit() for count in counts):
            raise ConfigError(f"--epochs takes three whole numbers, teacher,matching,student. Received: {epochs!r}")
        overrides |= {f"stages.{stage}.epochs": int(count) for stage, count in zip(_STAGES, counts, strict=True)}
    if batch_size is not None:
        overrides |= {f"stages.{stage}.batch_size": batch_size for stage in _STAGES}
    if protocol is not None:
        # The config's own folds and speakers belong to its own protocol.
        overrides["protocol"] = {"name": protocol}
    if seed is not None:
        overrides["seed"] = seed
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set takes KEY=VALUE, for instance seed=1. Received: {assignment!r}")
        try:
            overrides[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {key}: the value is not YAML. Received: {value!r}") from None
    return overrides
