"""Search for the best settings of a network with KerasTuner (the extra `tune`)."""

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vitser.corpora import Split
from keras_vitser.distillation import halving_schedule
from keras_vitser.distillation.epochs import Epochs, epochs_of
from keras_vitser.errors import KerasViTSERError, ProtocolError, RunFolderError, TuningError
from keras_vitser.experiments import preparation
from keras_vitser.experiments.batches import Batches
from keras_vitser.experiments.config import Config, ValueRange, load_config
from keras_vitser.experiments.run_folder import PROJECT, RunFolder
from keras_vitser.experiments.stages import BestEpoch, Part
from keras_vitser.experiments.tuning_trials import OBJECTIVE, Follower, Trial, ranked, read_trials, write_table
from keras_vitser.models import ViTSER

try:
    import keras_tuner
except ImportError as error:
    missing = "" if error.name in (None, "keras_tuner") else f" ({error.name} is missing)"
    raise TuningError(f"KerasTuner is not installed{missing}: pip install 'keras-vitser[tune]'") from None

__all__ = ["OBJECTIVE", "Search", "Trial", "ViTSERHyperModel", "tune"]

_BEST = "best.yaml"
_PATCH_WIDTHS = (1, 2, 4, 8, 16)
_DEPTHS = ValueRange(low=1, high=8)
_DIGITS = 6

log = logging.getLogger(__name__)


class ViTSERHyperModel(keras_tuner.HyperModel):
    """The networks of a config's search space, for any of KerasTuner's tuners.

    `fit` trains by the labels alone, as stage (a) does, with the stage of the searched network, and measures each
    epoch on the validation data. The objective is
    `keras_tuner.Objective("validation_unweighted_accuracy", "max")`. All weights follow from the config's seed: each
    trial starts as a run of its config would.

    Args:
        config: As for `load_config`; its section `tuning` names network, epochs and space.
        num_classes: Positive int.

    Raises:
        ConfigError: The config is wrong.

    Example:
        >>> model = ViTSERHyperModel(None, num_classes=7)
        >>> model.build(keras_tuner.HyperParameters()).count_params()
        1417991
    """

    def __init__(self, config: "str | os.PathLike | Config | None", num_classes: int):
        super().__init__()
        self.config = _with_space(load_config(config))
        self.num_classes = num_classes
        self._space = {key: _as_read(self.config, key) for key in self.config.tuning.space}

    def config_of(self, hp: "keras_tuner.HyperParameters") -> Config:
        """The config with the values of a trial; what `hp` does not know yet is added to its space."""
        values = {key: self.exact(key, self._declared(hp, key)) for key in self.config.tuning.space}
        return self.config.with_values(values)

    def exact(self, key: str, value: Any) -> Any:
        """A value as the space states it, whichever number of bits it was sent in; six digits within a range."""
        if not isinstance(value, float):
            return value
        if isinstance(self.config.tuning.space[key], ValueRange):
            return float(f"{value:.{_DIGITS}g}")
        return min(self._space[key], key=lambda choice: abs(choice - value))

    def build(self, hp: "keras_tuner.HyperParameters") -> keras.Model:
        """A compiled network of the values of a trial."""
        config = self.config_of(hp)
        section, settings = _searched(config)
        keras.utils.set_random_seed(config.seed)
        make = ViTSER.teacher if config.tuning.network == "teacher" else ViTSER.student
        image_size = (config.front_end.n_mels, config.front_end.columns)
        network = make(num_classes=self.num_classes, image_size=image_size, **section.model_dump())
        network.compile(
            keras.optimizers.Adam(settings.learning_rate, weight_decay=settings.weight_decay or None),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        )
        return network

    def fit(
        self,
        hp: "keras_tuner.HyperParameters",
        model: keras.Model,
        x: np.ndarray,
        y: np.ndarray,
        *,
        validation_data: tuple[np.ndarray, np.ndarray],
        epochs: int | None = None,
        initial_epoch: int = 0,
        callbacks: Iterable[keras.callbacks.Callback] = (),
        verbose: str | int = "auto",
    ) -> dict[str, float]:
        """Trains a network; it ends with the weights of its best epoch on the validation data.

        Args:
            hp: Values of the trial.
            model: What `build` gave.
            x: float32 array `(examples, bands, frames, 1)`.
            y: Int array `(examples,)`.
            validation_data: Images and labels that choose the epoch.
            epochs: Int. Defaults to the config's `tuning.epochs`.
            initial_epoch: Int, epochs that the network has learned before.
            callbacks: Of the tuner and the user.
            verbose: As for `keras.Model.fit`.

        Returns:
            Loss and scores of the best epoch.
        """
        config = self.config_of(hp)
        _, settings = _searched(config)
        augmentation = config.augmentation
        is_teacher = config.tuning.network == "teacher"
        masks = (augmentation.time_mask, augmentation.frequency_mask) if is_teacher else (0, 0)
        batches = Batches(np.asarray(x, np.float32), np.asarray(y), settings.batch_size, config.seed, masks)
        data = epochs_of(batches, settings.batch_size, seed=0)
        data.replay(initial_epoch)
        validation = Part(*(np.asarray(part) for part in validation_data))
        history = model.fit(
            data,
            epochs=epochs or config.tuning.epochs,
            initial_epoch=initial_epoch,
            shuffle=False,
            callbacks=[
                _InOrder(data),
                halving_schedule(settings.learning_rate, settings.halve_every),
                BestEpoch(model, validation),
                *callbacks,
            ],
            verbose=verbose,
        ).history
        best = max(
            range(len(history[OBJECTIVE])), key=lambda e: (history[OBJECTIVE][e], -history["validation_loss"][e])
        )
        return {name: float(values[best]) for name, values in history.items()}

    def _declared(self, hp: "keras_tuner.HyperParameters", key: str) -> Any:
        domain, default, values = self.config.tuning.space[key], self.config.value_at(key), self._space[key]
        if not isinstance(domain, ValueRange):
            return hp.Choice(key, values, default=default if default in values else None)
        kind = hp.Float if isinstance(values[0], float) else hp.Int
        default = default if values[0] <= default <= values[1] else None
        return kind(key, *values, step=domain.step, sampling=domain.sampling, default=default)


class _InOrder(keras.callbacks.Callback):
    """Tells the data of each epoch; Keras itself ends one before the first, and the order would be another."""

    def __init__(self, data: Epochs):
        super().__init__()
        self._data = data

    def on_epoch_begin(self, epoch, logs=None):
        self._data.begin(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self._data.end()


@dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes:
        folder: Its folder, with `trials.csv` and `best.yaml`, a config to train with.
        trials: All trials in order.
        chance: UA of guessing.
        clips: Clips of the validation part.

    Example:
        >>> Search(Path("runs/one"), (), 0.25, 32).best_config.as_posix()
        'runs/one/best.yaml'
    """

    folder: Path
    trials: tuple[Trial, ...]
    chance: float
    clips: int

    @property
    def best(self) -> list[Trial]:
        """The completed trials, best first."""
        return ranked(list(self.trials))

    @property
    def best_config(self) -> Path:
        """A config to train with."""
        return self.folder / _BEST


def tune(
    config: "str | os.PathLike | Config | None" = None,
    data: str | os.PathLike | None = None,
    *,
    runs: str | os.PathLike = "runs",
    overrides: dict[str, Any] | None = None,
    workers: int = 0,
    resume: str | os.PathLike | None = None,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> Search:
    """Searches the space of a config for the highest validation UA. The test part is never read.

    With the environment variables KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT set, this
    process is KerasTuner's chief (an id with `chief` in it), who hands out the trials of a search, or a worker, who
    trains them and names the chief's folder in `resume`; all must see that folder.

    Args:
        config: As for `load_config`. Section `tuning` says what is searched and how.
        data: Where the recordings are, as for `run`.
        runs: Folder that the folder of the search is made in.
        overrides: Values by dotted key, as for `load_config`.
        workers: Int. With 1 or more, so many processes train, and one that dies is replaced.
        resume: Folder of a search that was stopped: it is gone on with as it began, without config and overrides.
        progress: Called with a task, the steps done and all its steps.

    Returns:
        The `Search`.

    Raises:
        ConfigError: The config or the space is wrong.
        CorpusError: The data is not the corpus.
        ProtocolError: The protocol chooses by the test part, or the corpus cannot be split so.
        RunFolderError: The folder is no search, is worked in, cannot be written, or the recordings are others.
        TuningError: No trial succeeded, three in a row failed, or the processes of a search keep ending.

    Example:
        >>> import tempfile
        >>> network = {"patch_size": [16, 1], "hidden_dim": 16, "depth": 1, "conv_stem": False}
        >>> overrides = {"front_end": {"n_mels": 16, "frames": 16}, "teacher": network, "student": network}
        >>> overrides |= {"tuning.algorithm": "random", "tuning.trials": 1, "tuning.epochs": 1}
        >>> overrides |= {"tuning.space": {"student.depth": [1, 2]}, "tracking.enabled": False}
        >>> search = tune("demo", runs=tempfile.mkdtemp(), overrides=overrides)
        >>> len(search.trials), search.clips, search.chance
        (1, 32, 0.25)
    """
    from keras_vitser.experiments import tuning_engine as engine

    role = engine.role()
    if workers and role != engine.ALONE:
        raise TuningError("either `workers` or KerasTuner's environment variables say who works; leave out one")
    if workers < 0:
        raise TuningError(f"workers must be at least 0. Received: {workers}")
    if resume is None and role == engine.WORKER:
        raise TuningError("a worker goes on with the chief's search: name its folder (keras-vitser tune --resume RUN)")
    if resume is None:
        folder, config, split = _begin(_with_space(load_config(config, overrides)), data, runs)
    else:
        folder, config, split, data = _taken_up(resume, data)
    hypermodel = ViTSERHyperModel(config, len(split.corpus.labels))
    if (folder.path / _BEST).is_file():
        log.info("search %s came to its end; nothing is left to do", folder.path)
        return _followed(lambda follower: None, folder, hypermodel, split, progress)
    if role == engine.WORKER:
        _take_part(folder, hypermodel, split, progress)
        return _result(folder, hypermodel, split)
    if role == engine.ALONE:
        parts = _parts(hypermodel.config, split, progress)

    def work(follower: Follower) -> None:
        if workers:
            from keras_vitser.experiments import tuning_workers

            tuning_workers.search(folder, data, workers, follower.look)
        elif role == engine.CHIEF:
            with engine.looking(follower.look):
                _take_part(folder, hypermodel, split, progress)
        else:
            with folder.lock():
                engine.search(hypermodel, folder, *parts, look=follower.look)

    return _followed(work, folder, hypermodel, split, progress)


def take_part(folder: str | os.PathLike, data: str | os.PathLike | None, given_up: str | None = None) -> None:
    """Is chief or worker of a search, by KerasTuner's environment variables, and leaves its end to who began it."""
    folder, config, split, _ = _taken_up(folder, data)
    _take_part(folder, ViTSERHyperModel(config, len(split.corpus.labels)), split, lambda *step: None, given_up)


def _take_part(folder, hypermodel, split, progress, given_up=None) -> None:
    from keras_vitser.experiments import tuning_engine as engine

    if engine.role() == engine.CHIEF:
        with folder.lock():
            engine.search(hypermodel, folder)
    else:
        engine.search(hypermodel, folder, *_parts(hypermodel.config, split, progress), given_up=given_up)


def _parts(config: Config, split: Split, progress) -> list[Part]:
    return preparation.parts_of(config, preparation.front_end_of(config), split, ("train", "validation"), progress)


def _followed(work, folder: RunFolder, hypermodel: ViTSERHyperModel, split: Split, progress) -> Search:
    follower = Follower(folder, hypermodel.config, hypermodel.exact, progress)
    try:
        work(follower)
        follower.look()
        search = _finish(folder, hypermodel, split)
    except BaseException as error:
        follower.end(failed=True)
        log.warning("the search has stopped; go on with: keras-vitser tune --resume %s", folder.path)
        if isinstance(error, OSError) and not isinstance(error, KerasViTSERError):
            raise RunFolderError(
                f"{error.filename or folder.path}: cannot be written ({error.strerror or error}); what was saved "
                "before is whole: make room or mend the folder, and go on"
            ) from error
        raise
    follower.end()
    return search


def _begin(config: Config, data, runs) -> tuple[RunFolder, Config, Split]:
    preparation.front_end_of(config)
    split = preparation.split_of(config, data)
    if set(split.validation) & set(split.test):
        raise ProtocolError(
            f"protocol {split.protocol!r} chooses by the test part, and a search must not; take another: "
            "--protocol random, for instance"
        )
    folder = RunFolder.create(runs, f"tune_{split.corpus.name}_{split.protocol}_s{config.seed}")
    folder.figures.rmdir()
    (folder.path / PROJECT).mkdir()
    log.info("search folder %s", folder.path)
    folder.write_start(config, split, data)
    return folder, config, split


def _taken_up(path, data) -> tuple[RunFolder, Config, Split, Any]:
    folder = RunFolder.open(path)
    if not folder.is_search:
        raise RunFolderError(f"{path}: is no search of `keras-vitser tune`; a run goes on with keras-vitser train")
    config = load_config(folder.path / "config.yaml")
    data = folder.read_json("environment.json")["data"] if data is None else data
    split = preparation.split_of(config, data)
    folder.check_split(split)
    return folder, config, split, data


def _result(folder: RunFolder, hypermodel: ViTSERHyperModel, split: Split) -> Search:
    trials = tuple(read_trials(folder, hypermodel.exact))
    return Search(folder.path, trials, 1 / len(split.corpus.labels), len(split.validation))


def _finish(folder: RunFolder, hypermodel: ViTSERHyperModel, split: Split) -> Search:
    search = _result(folder, hypermodel, split)
    write_table(folder, list(search.trials))
    if not search.best:
        message = search.trials[-1].message if search.trials else "there was none"
        raise TuningError(f"{folder.path}: no trial succeeded; the last: {message}")
    best = search.best[0]
    config = hypermodel.config.with_values(best.values)
    accuracy = 100 * best.best[OBJECTIVE]
    if len(search.trials) < config.tuning.trials:
        log.info("%d of %d trials: the search had no more to try", len(search.trials), config.tuning.trials)
    head = (
        f"# Trial {best.name} of {len(search.trials)} of {folder.path.name}: validation UA {accuracy:.1f} % "
        f"(chance {100 * search.chance:.1f} %), {search.clips} clips, {split.protocol}\n"
    )
    folder.write_text(_BEST, head + config.to_yaml())
    return search


def _searched(config: Config):
    """Section and stage of the network that is searched."""
    role = config.tuning.network
    return getattr(config, role), getattr(config.stages, role)


def _as_read(config: Config, key: str) -> list[Any]:
    """The choices of a key, or the ends of its range, as the config reads them: of one type."""
    domain = config.tuning.space[key]
    stated = [domain.low, domain.high] if isinstance(domain, ValueRange) else domain
    return list(dict.fromkeys(config.with_values({key: value}).value_at(key) for value in stated))


def _with_space(config: Config) -> Config:
    """A config that states its space."""
    if config.tuning.space:
        return config
    role = config.tuning.network
    widths = [width for width in _PATCH_WIDTHS if config.front_end.columns % width == 0]
    return load_config(config, {"tuning.space": {f"{role}.patch_width": widths, f"{role}.depth": _DEPTHS.model_dump()}})
