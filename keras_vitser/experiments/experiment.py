"""An experiment from recordings to scores: split, images, three stages, measurement, run folder."""

import functools
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vitser.corpora import Split, find_leaks
from keras_vitser.corpora.unreadable import left_out_sentence
from keras_vitser.errors import ConfigError, DivergedError, KerasViTSERError, RunFolderError
from keras_vitser.evaluation import (
    Scores,
    confusion_figure,
    learning_curves_figure,
    save_figure,
    score,
    sentence,
    write_report,
)
from keras_vitser.experiments import divergence, preparation, provenance, stages
from keras_vitser.experiments.config import Common, load_config
from keras_vitser.experiments.model_card import model_card
from keras_vitser.experiments.run_folder import RunFolder, environment, scored
from keras_vitser.experiments.systems import SYSTEMS, Given, Stage, System, system_of
from keras_vitser.experiments.tracking.run_tracking import RunTracking, complete_or_warn
from keras_vitser.experiments.tracking.system_metrics import SystemMetrics
from keras_vitser.files import sha256
from keras_vitser.layers import FrontEnd
from keras_vitser.layers.probability import probabilities
from keras_vitser.recognizer import NETWORK_FILE, Provenance, Recognizer
from keras_vitser.training.checkpoints import Checkpoints
from keras_vitser.training.resumable_fit import FEATURES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answered:
    """What the network says of a test clip.

    Attributes:
        path: The recording.
        label: Its class.
        answer: The class that it names.
        probability: That of the class named, 0..1.

    Example:
        >>> Answered(Path("speaker6/anger_1.wav"), "anger", "anger", 0.98).is_right
        True
    """

    path: Path
    label: str
    answer: str
    probability: float

    @property
    def is_right(self) -> bool:
        """Whether that is its class."""
        return self.label == self.answer


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: The run folder.
        metrics: What `metrics.json` holds: `protocol`, `leaky`, the recordings that were `left_out`,
            and the scores of each network by its role, with chance: of ViT-SER `teacher` and `student`, and with
            `stages.compare_alone` `student_alone`.
        sentences: The scores as one line a network.
        answers: What the network that is shipped says of the first test clip of each class; of a run that had ended
            before, nothing.
        data: Where the recordings are, as it was given.
        system: Name of the system that was trained.

    Example:
        >>> Run(Path("runs/one"), {}, {}).model_folder.as_posix()
        'runs/one/model'
    """

    folder: Path
    metrics: dict[str, Any]
    sentences: dict[str, str]
    answers: tuple[Answered, ...] = ()
    data: str | os.PathLike | None = None
    system: str = Common.model_fields["system"].default

    @property
    def shipped(self) -> str:
        """Role of the network that is shipped."""
        return SYSTEMS[self.system].shipped

    @property
    def model_folder(self) -> Path:
        """The network that is shipped, for `Recognizer.load`."""
        return self.folder / "model"


def run(
    config: "str | os.PathLike | Common | None" = None,
    data: str | os.PathLike | None = None,
    *,
    runs: str | os.PathLike = "runs",
    overrides: dict[str, Any] | None = None,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> Run:
    """Trains the networks of a config on a corpus, measures them, and leaves a run folder.

    Sets the seeds of Python, NumPy and the backend (`keras.utils.set_random_seed`) to the
    config's: the same config, data and backend on the same machine give the same scores.

    Args:
        config: Path of a config, the name of a shipped one (`savee`, `demo`, ...), a
            `Config`, or `None` for the defaults: one folder a class, speaker-independent.
        data: Folder of the corpus, or CSV for corpus `manifest`. May be left out for `demo`.
        runs: Folder that the run folder is made in.
        overrides: Values by dotted key, `{"stages.student.epochs": 5}`.
        progress: Called with a task's name, the steps done and the steps of all.

    Returns:
        The `Run`.

    Raises:
        ConfigError: The config is wrong.
        CorpusError: The data is not the corpus.
        ProtocolError: The corpus cannot be split so.
        UnreadableRecordingsError: Recordings cannot be read; the message names them all.
        LeakageError: A given network was trained on a test clip or test speaker.
        DivergedError: A stage has met a number that is not finite; `resume` goes on with a lower learning rate.

    Example:
        >>> import tempfile
        >>> tiny = {"n_mels": 16, "frames": 16}
        >>> network = {"patch_size": [16, 1], "hidden_dim": 16, "depth": 1, "conv_stem": False}
        >>> overrides = {"front_end": tiny, "teacher": network, "student": network, "tracking.enabled": False}
        >>> overrides["stages.compare_alone"] = False
        >>> overrides |= {f"stages.{stage}.epochs": 1 for stage in ("teacher", "matching", "student")}
        >>> finished = run("demo", runs=tempfile.mkdtemp(), overrides=overrides)
        >>> finished.metrics["student"]["clips"], finished.metrics["student"]["chance"]["uniform"]
        (160, 0.25)
    """
    config = load_config(config, overrides)
    return _begin(
        config,
        data,
        lambda split: RunFolder.create(runs, f"{split.corpus.name}_{split.protocol}_s{config.seed}"),
        progress,
    )


def run_in(
    folder: str | os.PathLike,
    config: Common,
    data: str | os.PathLike | None = None,
    *,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> Run:
    """`run`, whose folder has this path and is not there yet."""
    return _begin(config, data, lambda split: RunFolder.make(folder), progress)


def _begin(config: Common, data: str | os.PathLike | None, make: Callable[[Split], RunFolder], progress) -> Run:
    prepared = _prepare(config, data, lambda refuse: preparation.readable_split_of(config, data, refuse, progress))
    folder = make(prepared.split)
    log.info("run folder %s", folder.path)
    with folder.lock():
        folder.write_start(config, prepared.split, data)
        return _finish(prepared, folder, progress)


def resume(
    folder: str | os.PathLike,
    data: str | os.PathLike | None = None,
    *,
    overrides: dict[str, Any] | None = None,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> Run:
    """Goes on with a run that was stopped, from its newest checkpoint.

    The run ends with the weights and scores of one that was never stopped, on the same backend and machine. A run that
    came to its end is only read. One that diverged only repeats its error, unless it is given another learning rate.

    Args:
        folder: The run folder.
        data: Where the recordings are now. Defaults to where they were.
        overrides: `{"stages.STAGE.learning_rate": 1e-5}` alone, and only where that stage diverged: it goes on from its
            last finite state, and the value is written to the run's config. Defaults to none.
        progress: As for `run`.

    Returns:
        The `Run`.

    Raises:
        RunFolderError: The folder is no run folder, another process works in it, it cannot be written, or the
            recordings are not those that the run began with.
        UnreadableRecordingsError: Recordings cannot be read that could be as the run began.
        CheckpointError: The checkpoints are damaged, or of another backend.
        ConfigError: No stage diverged, or the value is not its learning rate.
        DivergedError: A stage diverged, now or before.
        CorpusError: The data is not the corpus.

    Example:
        >>> import tempfile
        >>> runs, quick = tempfile.mkdtemp(), {"stages.teacher.epochs": 0, "stages.matching.epochs": 0}
        >>> tiny = {"n_mels": 16, "frames": 16}
        >>> network = {"patch_size": [16, 1], "hidden_dim": 16, "depth": 1, "conv_stem": False}
        >>> quick |= {"front_end": tiny, "teacher": network, "student": network, "tracking.enabled": False}
        >>> quick["stages.compare_alone"] = False
        >>> finished = run("demo", runs=runs, overrides=quick | {"stages.student.epochs": 1})
        >>> resume(finished.folder).metrics == finished.metrics
        True
    """
    opened = RunFolder.open(folder)
    if opened.is_search:
        raise RunFolderError(f"{opened.path}: is a search; go on with keras-vitser tune --resume {opened.path}")
    if opened.finished:
        if overrides:
            raise ConfigError(f"--resume goes on with a run as it began, and {opened.path} came to its end")
        log.info("run %s came to its end; nothing is left to do", opened.path)
        metrics = opened.read_json("metrics.json")
        sentences = {role: metrics[role]["sentence"] for role in scored(metrics)}
        return Run(opened.path, metrics, sentences, system=load_config(opened.path / "config.yaml").system)
    with opened.lock():
        config = load_config(opened.path / "config.yaml")
        if overrides:
            try:
                config = divergence.with_other_rate(opened, config, overrides)
            except OSError as error:
                raise opened.cannot_be_written(error) from error
        elif stop := divergence.standing(opened, config):
            raise divergence.diverged_error(opened, config, stop.error)
        place = opened.read_json("environment.json")["data"] if data is None else data
        prepared = _prepare(config, place, lambda refuse: _split_again(opened, config, place, refuse, progress))
        return _finish(prepared, opened, progress)


@dataclass(frozen=True)
class _Prepared:
    """All that follows from config and recordings, before anything is written."""

    config: Common
    system: System
    split: Split
    front_end: FrontEnd
    given: dict[str, Given]
    networks: dict[str, keras.Model]
    data: str | os.PathLike | None


def _prepare(
    config: Common, data: str | os.PathLike | None, divide: Callable[[Callable[[Split], None]], Split]
) -> _Prepared:
    """Prepares a run; `divide` gives its split, and calls what it is given with it before it reads recordings."""
    system = system_of(config)
    front_end = system.front_end(config)
    given = _given_networks(system, config, front_end)

    def refuse_leaks(split: Split) -> None:
        for network in given.values():
            provenance.refuse_leaks(network.recognizer.provenance, split, network.source)

    split = divide(refuse_leaks)
    keras.utils.set_random_seed(config.seed)
    networks = system.networks(config, split.corpus.labels, front_end, given)
    return _Prepared(config, system, split, front_end, given, networks, data)


def _split_again(folder: RunFolder, config: Common, data: str | os.PathLike | None, refuse, progress) -> Split:
    """The split of a run that was begun before: what was left out then is left out now, and nothing else."""
    split = preparation.split_of(config, data, folder.left_out())
    folder.check_split(split)
    refuse(split)
    preparation.refuse_unreadable(config, split.corpus, progress)
    return split


def _finish(prepared: _Prepared, folder: RunFolder, progress: Callable[[str, int, int], None]) -> Run:
    tracking = RunTracking(folder, prepared.config.tracking)
    try:
        tracking.start()
        finished = _Experiment(prepared, folder, tracking, progress).run()
    except DivergedError as error:
        tracking.fail()
        raise divergence.diverged_error(folder, prepared.config, error) from error
    except BaseException as error:
        tracking.fail()
        log.warning("the run has stopped; once that is mended, go on with: keras-vitser train --resume %s", folder.path)
        if isinstance(error, OSError) and not isinstance(error, KerasViTSERError):
            raise folder.cannot_be_written(error) from error
        raise
    progress("tracking", 0, 1)
    complete_or_warn(folder, prepared.config.tracking)
    progress("tracking", 1, 1)
    return finished


def _given_networks(system: System, config: Common, front_end: FrontEnd) -> dict[str, Given]:
    """The networks that the config names."""
    given = {}
    for role, (key, path) in system.given(config).items():
        # Of a run, each network comes from its own.
        folder = Path(path) / system.places[role]
        folder = folder if folder.is_dir() else Path(path)
        recognizer = Recognizer.load(folder)
        trained_with, now = recognizer.front_end.settings(), front_end.settings()
        if trained_with != now:
            names = now.keys() | trained_with.keys()
            differing = ", ".join(sorted(name for name in names if now.get(name) != trained_with.get(name)))
            raise ConfigError(
                f"{key}: {path} was trained with another front end ({differing}); give the front_end section its values"
            )
        given[role] = Given(f"{key}: {path}", recognizer, folder, sha256(folder / NETWORK_FILE))
    return given


class _Experiment:
    """The steps of one run, which share config, split and folder."""

    def __init__(self, prepared: _Prepared, folder: RunFolder, tracking: RunTracking, progress):
        self.config, self.system = prepared.config, prepared.system
        self.data = prepared.data
        self.split = prepared.split
        self.given = prepared.given
        self.networks = prepared.networks
        self.front_end = prepared.front_end
        self.folder = folder
        self.tracking = tracking
        self.machine = SystemMetrics(enabled=tracking.run.run_id is not None)
        self.progress = progress
        self.watcher = stages.Watcher(self._epoch, self._batch, self._begin)
        # Config and split are those of the run folder; these can change.
        job = {"backend": keras.backend.backend(), "recordings": self.split.corpus.fingerprint}
        job |= {f"given {role}": given.sha256 for role, given in self.given.items()}
        interval = self.config.value_at("stages.save_interval")
        self.stages = [s for s in self.system.stages if self.system.is_trained(s, self.networks, self.given)]
        self.stores = {
            stage.name: Checkpoints(
                folder.checkpoints, stage.name, job, interval, stage.settings(self.config).learning_rate
            )
            for stage in self.stages
        }

    def run(self) -> Run:
        parts = ("train", "validation", "test")
        train, validation, test = preparation.parts_of(self.config, self.front_end, self.split, parts, self.progress)
        for stage in self.stages:
            stage.train(self._lesson(stage, train, validation), self.networks)
        probabilities = {role: self._measure(role, test.x) for role in self.networks}
        self.progress("report", 0, 1)
        finished = self._report(test, probabilities)
        self.progress("report", 1, 1)
        return finished

    def _lesson(self, stage: Stage, train: stages.Part, validation: stages.Part) -> stages.Lesson:
        return stages.Lesson(
            stage.name,
            stage.settings(self.config),
            train,
            validation,
            self.config.seed,
            self.watcher,
            self.stores[stage.name],
            stage.augment(self.config),
        )

    def _measure(self, role: str, x: Any) -> np.ndarray:
        told = functools.partial(self.progress, f"test of the {_said(role)}")
        return keras.ops.convert_to_numpy(probabilities(stages.in_full_batches(self.networks[role], x, told)))

    def _begin(self, stage: str, ended: int) -> None:
        self.folder.keep_progress(stage, ended)
        self.tracking.begin(stage)

    def _batch(self, stage: str, done: int, total: int) -> None:
        self.machine.sample()
        self.progress(stage, done, total)

    def _epoch(self, row: dict[str, Any]) -> None:
        if means := self.machine.means():
            row = row | {"system": means}
        self.folder.add_progress(row)
        self.tracking.epoch(row)

    def _report(self, test, probabilities) -> Run:
        split, folder = self.split, self.folder
        names = split.corpus.labels
        named = [example.clip.speaker for example in split.test if example.clip.speaker is not None]
        speakers = named if len(named) == len(split.test) else None
        # One that is given may name other classes.
        probabilities = {role: values for role, values in probabilities.items() if self._labels(role) == names}
        scores = {role: score(test.labels, values, names, speakers) for role, values in probabilities.items()}
        sentences = {role: sentence(values, split.protocol, split.leaky) for role, values in scores.items()}
        metrics = {
            "corpus": split.corpus.name,
            "protocol": split.protocol,
            "leaky": split.leaky,
            "split": split.description,
            "leaks": find_leaks(split).sentence(),
            "left_out": {
                "recordings": len(split.corpus.unreadable),
                **split.left_out,
                "sentence": left_out_sentence(split.corpus, split.left_out),
            },
            "given": {
                role: {"folder": str(given.folder), "sha256": given.sha256} for role, given in self.given.items()
            },
            **{role: {"sentence": sentences[role], **values.to_dict()} for role, values in scores.items()},
        }
        folder.write_json("metrics.json", metrics)
        folder.write_predictions(split, probabilities)
        self._save_networks(sentences)
        for store in self.stores.values():
            store.keep_newest()
        shutil.rmtree(folder.checkpoints / FEATURES, ignore_errors=True)
        self._write_pictures_and_report(scores)
        answers = _first_answers(split, probabilities[self.system.shipped])
        return Run(folder.path, metrics, sentences, answers, self.data, self.system.name)

    def _is_as_given(self, role: str) -> bool:
        return role in self.given and self.networks[role] is self.given[role].recognizer.network

    def _labels(self, role: str) -> tuple[str, ...]:
        return self.given[role].recognizer.labels if self._is_as_given(role) else self.split.corpus.labels

    def _save_networks(self, sentences: dict[str, str]) -> None:
        system, own = self.system, provenance.of_split(self.split, [given.recognizer for given in self.given.values()])
        for role, name in system.places.items():
            place, line = self.folder.path / name, sentences.get(role, "")
            if place.exists() or role not in self.networks:  # whole, from before the run was stopped
                continue
            history = Provenance(own.protocol, own.leaky, own.clips, own.speakers, line)
            if self._is_as_given(role):
                history = self.given[role].recognizer.provenance
            if role == system.shipped and (beside := system.beside(sentences)):
                line += f"\n\n{beside}"
            notes, network = divergence.told(self.folder, self.config, role), self.networks[role]
            about = system.about(network, self.front_end)
            title = f"{system.title} {role}"
            card = model_card(title, about, network, self.front_end, self._labels(role), self.split, line, notes)
            Recognizer(network, self._labels(role), self.front_end, history).save(place, card)

    def _write_pictures_and_report(self, scores: dict[str, Scores]) -> None:
        split, folder = self.split, self.folder
        names = list(split.corpus.labels)
        folder.figures.mkdir(exist_ok=True)  # an empty folder may have got lost as the run was copied
        pictures = {}
        for role, values in scores.items():
            title = f"{_said(role).capitalize()}, {split.protocol}" + (" (leaky)" if split.leaky else "")
            path = folder.figures / f"confusion_{role}.png"
            save_figure(confusion_figure(values, names, title), path)
            pictures[f"Confusion matrix of the {_said(role)}"] = path
        if rows := folder.progress():
            path = folder.figures / "learning_curves.png"
            curves = {stage.name: (stage.title, stage.loss) for stage in self.system.stages}
            save_figure(learning_curves_figure(rows, curves), path)
            pictures["Learning curves"] = path
        write_report(
            folder.path / "report.html",
            title=folder.path.name,
            protocol=split.protocol,
            description=split.description,
            leaky=split.leaky,
            warnings=list(split.warnings),
            leaks_sentence=find_leaks(split).sentence(),
            labels=names,
            networks=scores,
            part_sizes={name: len(getattr(split, name)) for name in ("train", "validation", "test")},
            figures=pictures,
            environment=environment(),
            notes=[
                f"Recordings: {split.corpus.name}. Terms: {split.corpus.terms}",
                *divergence.told(folder, self.config, self.system.shipped),
            ],
        )


def _first_answers(split: Split, probabilities: np.ndarray) -> tuple[Answered, ...]:
    answers = {}
    for example, values in zip(split.test, probabilities, strict=True):
        clip, best = example.clip, int(values.argmax())
        if example.copy == 0 and clip.label not in answers:
            answers[clip.label] = Answered(clip.path, clip.label, split.corpus.labels[best], float(values[best]))
    return tuple(answers[label] for label in split.corpus.labels if label in answers)


def _said(role: str) -> str:
    return role.replace("_", " ")
