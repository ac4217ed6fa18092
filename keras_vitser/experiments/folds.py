"""Folds and seeds of one config: each a run of its own, in one folder, with mean, deviation and pooled answers (ours).

The folder holds `folds.json` (what is to run), a run folder for each fold and seed, and at the end `metrics.json` and
`predictions.csv`. A run that has ended is never trained again.
"""

import csv
import inspect
import io
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keras_vitser.corpora import protocols
from keras_vitser.errors import ConfigError, FoldsError, KerasViTSERError, RunFolderError
from keras_vitser.evaluation import protocol_said, score, sentence
from keras_vitser.experiments import child_process, experiment, preparation
from keras_vitser.experiments.config import Common, load_config
from keras_vitser.experiments.run_folder import FOLDS, RunFolder, scored
from keras_vitser.experiments.tracking.tracker import Tracker

_METRICS, _PREDICTIONS, _TRACKING = "metrics.json", "predictions.csv", "tracking.json"
_SCORES = ("unweighted_accuracy", "weighted_accuracy", "macro_f1")
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "NPROC",  # JAX
)
_POLL_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldsRun:
    """Folds and seeds that have all ended.

    Attributes:
        folder: Their folder.
        metrics: What `metrics.json` holds: by role, the mean over the runs and their standard deviation, the scores of
            each run, and for each seed the scores of all its folds' clips together (`pooled`), with chance.
        sentences: The scores as one line a network.

    Example:
        >>> FoldsRun(Path("runs/one"), {}, {}).predictions.as_posix()
        'runs/one/predictions.csv'
    """

    folder: Path
    metrics: dict[str, Any]
    sentences: dict[str, str] = field(default_factory=dict)

    @property
    def predictions(self) -> Path:
        """The answers to all test clips: `fold`, `seed`, and the columns of a run's own `predictions.csv`."""
        return self.folder / _PREDICTIONS


@dataclass(frozen=True)
class _Member:
    """One run of them."""

    name: str
    fold: int | None
    seed: int

    def overrides(self) -> dict[str, Any]:
        folds = {} if self.fold is None else {"protocol.fold": self.fold}
        return folds | {"seed": self.seed}


def run_folds(
    config: "str | os.PathLike | Common | None" = None,
    data: str | os.PathLike | None = None,
    *,
    folds: Sequence[int] | str | None = "all",
    seeds: Sequence[int] | None = None,
    jobs: int = 1,
    runs: str | os.PathLike = "runs",
    overrides: dict[str, Any] | None = None,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> FoldsRun:
    """Trains and measures folds and seeds of a config, each as `run` does.

    Args:
        config: As for `run`.
        data: As for `run`.
        folds: Ints from 1, or `"all"`; the protocol must have folds. `None`: the config's own test part.
        seeds: Ints. Defaults to the config's own.
        jobs: Positive int. Processes beside each other, each with its share of the processor's threads.
        runs: Folder that the folder of the runs is made in.
        overrides: As for `run`.
        progress: Called with a task, the steps done and all its steps.

    Returns:
        The `FoldsRun`.

    Raises:
        ConfigError: The config is wrong, the protocol has no folds, or there is no such fold.
        CorpusError: The data is not the corpus.
        ProtocolError: The corpus cannot be split so.
        FoldsError: Some runs did not end; the others did. `resume_folds` goes on.

    Example:
        >>> import tempfile
        >>> network = {"patch_size": [16, 1], "hidden_dim": 16, "depth": 1, "conv_stem": False}
        >>> overrides = {"front_end": {"n_mels": 16, "frames": 16}, "teacher": network, "student": network}
        >>> overrides |= {f"stages.{stage}.epochs": epochs for stage, epochs in
        ...     (("teacher", 0), ("matching", 0), ("student", 1))}
        >>> overrides |= {"stages.compare_alone": False, "augmentation.copies": 1, "tracking.enabled": False}
        >>> overrides |= {"corpus.classes": ["anger", "sadness"], "protocol.folds": 30}
        >>> done = run_folds("demo", folds=[1, 2], runs=tempfile.mkdtemp(), overrides=overrides)
        >>> done.metrics["student"]["clips"], resume_folds(done.folder).metrics == done.metrics
        (16, True)
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1. Received: {jobs}")
    config = load_config(config, overrides)
    seeds = [config.seed] if seeds is None else list(dict.fromkeys(seeds))
    for seed in seeds:
        config.with_values({"seed": seed})
    numbers: Sequence[int | None] = ()
    if folds is not None:
        config = config.with_values({"protocol.test_speakers": None, "protocol.speaker": None, "protocol.fold": 1})
        numbers = _folds_of(config, data, folds)
    split = preparation.readable_split_of(config, data, progress=progress)
    members = [
        _Member(f"{'' if fold is None else f'fold{fold}_'}s{seed}", fold, seed)
        for seed in seeds
        for fold in numbers or [None]
    ]
    folder = RunFolder.create(runs, f"{split.corpus.name}_{split.protocol}_folds")
    folder.figures.rmdir()
    log.info("folder of the runs %s", folder.path)
    folder.write_text("config.yaml", config.to_yaml())
    place = None if data is None else os.path.abspath(data)
    folder.write_json(FOLDS, {"data": place, "runs": [asdict(member) for member in members]})
    return _finish(folder, place, jobs, progress)


def resume_folds(
    folder: str | os.PathLike,
    data: str | os.PathLike | None = None,
    *,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> FoldsRun:
    """Goes on with folds and seeds that were stopped: with runs under way, then with those that were not begun.

    Args:
        folder: Their folder.
        data: Where the recordings are now. Defaults to where they were.
        jobs: As for `run_folds`.
        progress: As for `run_folds`.

    Raises:
        RunFolderError: The folder is none of `run_folds`.
        FoldsError: Some runs did not end.

    Example:
        >>> resume_folds("runs/one")
        Traceback (most recent call last):
        ...
        keras_vitser.errors.RunFolderError: runs/one: is no folder of folds and seeds (it has no folds.json)
    """
    opened = RunFolder(folder)
    if not opened.is_folds:
        raise RunFolderError(f"{folder}: is no folder of folds and seeds (it has no {FOLDS})")
    place = opened.read_json(FOLDS)["data"] if data is None else data
    return _finish(opened, place, jobs, progress)


def run_member(
    folder: RunFolder, name: str, data: str | os.PathLike | None, progress: Callable[[str, int, int], None]
) -> None:
    """Trains and measures one of the runs, from where it stands."""
    (member,) = [each for each in _members(folder) if each.name == name]
    path = folder.path / name
    if (path / "split.csv").is_file():  # the last file that a run begins with
        experiment.resume(path, data, progress=progress)
        return
    shutil.rmtree(path, ignore_errors=True)
    config = load_config(folder.path / "config.yaml", member.overrides())
    experiment.run_in(path, config, data, progress=progress)


def _folds_of(config: Common, data: str | os.PathLike | None, wanted: Sequence[int] | str) -> list[int]:
    if "fold" not in inspect.signature(protocols.PROTOCOLS[config.protocol.name]).parameters:
        raise ConfigError(
            f"protocol {config.protocol.name!r} has no folds; take speaker_independent or leave_one_speaker_out"
        )
    count = preparation.split_of(config, data).settings["folds"]
    if wanted == "all":
        return list(range(1, count + 1))
    unknown = [fold for fold in wanted if fold not in range(1, count + 1)]
    if isinstance(wanted, str) or unknown or not wanted:
        raise ConfigError(f"folds must be `all` or numbers from 1 to {count}. Received: {wanted!r}")
    return list(dict.fromkeys(wanted))


def _members(folder: RunFolder) -> list[_Member]:
    return [_Member(**values) for values in folder.read_json(FOLDS)["runs"]]


def _finish(folder: RunFolder, data, jobs: int, progress) -> FoldsRun:
    members = _members(folder)
    with folder.lock():
        tracking = _Tracking(folder)
        try:
            failures = _train_all(folder, members, data, jobs, progress)
            if failures:
                named = "; ".join(f"{name}: {why}" for name, why in failures.items())
                raise FoldsError(
                    f"{folder.path}: {len(failures)} of {len(members)} runs did not end ({named}); once that is "
                    f"mended, go on with: keras-vitser train --resume {folder.path}"
                )
            finished = _summary(folder, members)
        except BaseException:
            tracking.end(failed=True)
            raise
        tracking.finish(finished)
        return finished


def _train_all(folder: RunFolder, members: list[_Member], data, jobs: int, progress) -> dict[str, str]:
    """Why runs did not end, by name."""
    left = [member.name for member in members if not RunFolder(folder.path / member.name).finished]
    done, failures = len(members) - len(left), {}
    progress("runs", done, len(members))
    outcomes = _beside_each_other(folder, left, data, jobs) if jobs > 1 else _in_turn(folder, left, data, progress)
    for name, why in outcomes:
        if why is None:
            done += 1
            progress("runs", done, len(members))
        else:
            failures[name] = why
            log.warning("%s did not end: %s", name, why)
    return failures


def _in_turn(folder: RunFolder, names: list[str], data, progress) -> Iterator[tuple[str, str | None]]:
    for name in names:
        try:
            run_member(folder, name, data, progress)
            yield name, None
        except KerasViTSERError as error:
            yield name, str(error)


def _beside_each_other(folder: RunFolder, names: list[str], data, jobs: int) -> Iterator[tuple[str, str | None]]:
    threads = max(1, (os.cpu_count() or 1) // min(jobs, max(len(names), 1)))
    environment = os.environ | {name: os.environ.get(name, str(threads)) for name in _THREADS}
    command = [sys.executable, "-m", "keras_vitser.experiments.folds_process"]
    waiting = list(names)
    running: dict[str, subprocess.Popen] = {}
    with ExitStack() as processes:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                words = processes.enter_context((folder.path / f"{name}.log").open("w", encoding="utf-8"))
                arguments = [str(folder.path), name, "" if data is None else str(data)]
                process = subprocess.Popen(
                    [*command, *arguments], stdin=subprocess.PIPE, stdout=words, stderr=words, env=environment
                )
                processes.callback(process.wait)
                processes.callback(process.kill)
                running[name] = process
            time.sleep(_POLL_SECONDS)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                code = running.pop(name).returncode
                if code == 0:
                    yield name, None
                else:
                    said = child_process.last_words(folder.path / f"{name}.log").removeprefix("error: ")
                    yield name, f"killed by signal {-code}" if code < 0 else said


def _summary(folder: RunFolder, members: list[_Member]) -> FoldsRun:
    metrics = [RunFolder(folder.path / member.name).read_json(_METRICS) for member in members]
    rows = _pooled(folder, members)
    roles = [role for role in scored(metrics[0]) if all(role in each for each in metrics)]
    summary: dict[str, Any] = {key: metrics[0][key] for key in ("corpus", "protocol", "leaky")}
    summary |= {
        "folds": list(dict.fromkeys(member.fold for member in members)),
        "seeds": list(dict.fromkeys(member.seed for member in members)),
        "runs": {member.name: each["leaks"] for member, each in zip(members, metrics, strict=True)},
    }
    sentences = {}
    for role in roles:
        summary[role] = _of_role(role, [each[role] for each in metrics], rows, summary)
        sentences[role] = summary[role]["sentence"]
    folder.write_json(_METRICS, summary)
    return FoldsRun(folder.path, summary, sentences)


def _of_role(role: str, runs: list[dict[str, Any]], rows: list[dict[str, str]], summary) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: {
            "mean": statistics.fmean(run[name] for run in runs),
            "deviation": statistics.stdev(run[name] for run in runs) if len(runs) > 1 else None,
            "runs": [run[name] for run in runs],
        }
        for name in _SCORES
    }
    labels = [row["label"] for row in runs[0]["per_class"]]
    values["pooled"] = pooled = {}
    for seed in summary["seeds"]:
        chosen = [row for row in rows if row["seed"] == str(seed)]
        numbers = np.array([[float(row[f"{role}_{label}"]) for label in labels] for row in chosen])
        scores = score(
            np.array([labels.index(row["label"]) for row in chosen]),
            numbers / numbers.sum(axis=1, keepdims=True),  # written with six digits
            labels,
            [row["speaker"] for row in chosen] if all(row["speaker"] for row in chosen) else None,
        )
        pooled[str(seed)] = scores.to_dict() | {"sentence": sentence(scores, summary["protocol"], summary["leaky"])}
    first = next(iter(pooled.values()))
    accuracy = values["unweighted_accuracy"]
    spread = "" if accuracy["deviation"] is None else f" (standard deviation {100 * accuracy['deviation']:.1f})"
    together = statistics.fmean(each["unweighted_accuracy"] for each in pooled.values())
    values |= {"clips": first["clips"], "chance": first["chance"]}
    values["sentence"] = (
        f"UA {100 * accuracy['mean']:.1f} %{spread} over {len(runs)} runs, {100 * together:.1f} % of all clips "
        f"together (chance {100 * first['chance']['uniform']:.1f} %), {first['clips']} clips, "
        + protocol_said(summary["protocol"], summary["leaky"])
    )
    return values


def _pooled(folder: RunFolder, members: list[_Member]) -> list[dict[str, str]]:
    """Writes the answers of all runs as one table, and returns its rows."""
    rows: list[dict[str, str]] = []
    for member in members:
        with (folder.path / member.name / _PREDICTIONS).open(encoding="utf-8", newline="") as file:
            own = {"fold": "" if member.fold is None else str(member.fold), "seed": str(member.seed)}
            rows += [own | row for row in csv.DictReader(file)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    folder.write_text(_PREDICTIONS, text.getvalue())
    return rows


class _Tracking:
    """MLflow: all are a run, and each fold and seed a run in it."""

    def __init__(self, folder: RunFolder):
        self._folder = folder
        config = load_config(folder.path / "config.yaml")
        known = folder.read_json(_TRACKING)["run"] if (folder.path / _TRACKING).exists() else None
        self._run = Tracker(config.tracking, folder.path.parent, folder.path.name, run_id=known)
        if self._run.run_id and self._run.run_id != known:
            self._run.params(config.model_dump(by_alias=True))
            folder.write_json(_TRACKING, {"run": self._run.run_id})

    def finish(self, finished: FoldsRun) -> None:
        roles = finished.sentences
        for name in _SCORES:
            for part in ("mean", "deviation"):
                values = {f"test/{role}/{name}_{part}": finished.metrics[role][name][part] for role in roles}
                self._run.metrics({key: value for key, value in values.items() if value is not None})
        lines = "\n\n".join(f"{role}: {line}" for role, line in finished.sentences.items())
        self._run.tags({"mlflow.note.content": lines})
        for name in (_METRICS, _PREDICTIONS):
            self._run.artifact(self._folder.path / name)
        self._run.end()

    def end(self, failed: bool) -> None:
        self._run.end(failed=failed)
