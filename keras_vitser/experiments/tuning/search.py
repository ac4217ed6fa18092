"""Search for the best settings of a network with KerasTuner (the extra `tune`)."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_vitser.corpora import Split
from keras_vitser.corpora.unreadable import left_out_sentence
from keras_vitser.errors import KerasViTSERError, ProtocolError, TuningError
from keras_vitser.experiments import preparation
from keras_vitser.experiments.config import Common, load_config
from keras_vitser.experiments.run_folder import PROJECT, RunFolder
from keras_vitser.experiments.tuning.engine import ALONE, CHIEF, WORKER, looking, role, run_trials
from keras_vitser.experiments.tuning.hypermodel import SystemHyperModel, with_space
from keras_vitser.experiments.tuning.part import parts_of, take_part, taken_up
from keras_vitser.experiments.tuning.trials import Follower, Trial, ranked, read_trials, write_table
from keras_vitser.experiments.tuning.workers import launch

_BEST = "best.yaml"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes:
        folder: Its folder, with `trials.csv` and `best.yaml`, a config to train with.
        trials: All trials in order.
        chance: UA of guessing.
        clips: Clips of the validation part.
        left_out: How many recordings were left out because they cannot be read, a sentence, or `""`.

    Example:
        >>> Search(Path("runs/one"), (), 0.25, 32).best_config.as_posix()
        'runs/one/best.yaml'
    """

    folder: Path
    trials: tuple[Trial, ...]
    chance: float
    clips: int
    left_out: str = ""

    @property
    def best(self) -> list[Trial]:
        """The completed trials, best first."""
        return ranked(list(self.trials))

    @property
    def best_config(self) -> Path:
        """A config to train with."""
        return self.folder / _BEST


def tune(
    config: "str | os.PathLike | Common | None" = None,
    data: str | os.PathLike | None = None,
    *,
    runs: str | os.PathLike = "runs",
    overrides: dict[str, Any] | None = None,
    workers: int = 0,
    resume: str | os.PathLike | None = None,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> Search:
    """Searches the space of a config for the highest validation UA. The test part is never heard.

    Of all recordings, those of the test part too, is checked that they can be read, before the first trial.

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
        UnreadableRecordingsError: Recordings cannot be read; the message names them all.
        ProtocolError: The protocol chooses by the test part, or the corpus cannot be split so.
        RunFolderError: The folder is no search, is worked in, cannot be written, or the recordings are others.
        TuningError: No trial succeeded, three in a row failed (which one that diverges does not), or the processes of a
            search keep ending.

    Example:
        >>> import tempfile
        >>> network = {"patch_size": [16, 1], "hidden_dim": 16, "depth": 1, "conv_stem": False}
        >>> overrides = {"front_end": {"n_mels": 16, "frames": 16}, "teacher": network, "student": network}
        >>> overrides |= {"tuning.algorithm": "random", "tuning.trials": 1, "tuning.epochs": 1}
        >>> overrides |= {"tuning.space": {"student.depth": [1, 2]}, "tracking.enabled": False}
        >>> search = tune("demo", runs=tempfile.mkdtemp(), overrides=overrides)
        >>> len(search.trials), search.clips, search.chance
        (1, 64, 0.25)
    """
    part = role()
    if workers and part != ALONE:
        raise TuningError("either `workers` or KerasTuner's environment variables say who works; leave out one")
    if workers < 0:
        raise TuningError(f"workers must be at least 0. Received: {workers}")
    if resume is None and part == WORKER:
        raise TuningError("a worker goes on with the chief's search: name its folder (keras-vitser tune --resume RUN)")
    if resume is None:
        folder, config, split = _begin(with_space(load_config(config, overrides)), data, runs, progress)
    else:
        folder, config, split, data = taken_up(resume, data)
    hypermodel = SystemHyperModel(config, len(split.corpus.labels))
    if (folder.path / _BEST).is_file():
        log.info("search %s came to its end; nothing is left to do", folder.path)
        return _followed(lambda follower: None, folder, hypermodel, split, progress)
    if part == WORKER:
        take_part(folder, hypermodel, split, progress)
        return _result(folder, hypermodel, split)
    if resume is not None and part != WORKER:
        preparation.refuse_unreadable(config, split.corpus, progress)
    if part == ALONE:
        train, validation = parts_of(hypermodel.config, split, progress)

    def work(follower: Follower) -> None:
        if workers:
            launch(folder, data, workers, follower.look)
        elif part == CHIEF:
            with looking(follower.look):
                take_part(folder, hypermodel, split, progress)
        else:
            with folder.lock():
                run_trials(hypermodel, folder, train, validation, look=follower.look)

    return _followed(work, folder, hypermodel, split, progress)


def _followed(work, folder: RunFolder, hypermodel: SystemHyperModel, split: Split, progress) -> Search:
    follower = Follower(folder, hypermodel.config, hypermodel.exact, progress)
    try:
        work(follower)
        follower.look()
        search = _finish(folder, hypermodel, split)
    except BaseException as error:
        follower.end(failed=True)
        log.warning("the search has stopped; go on with: keras-vitser tune --resume %s", folder.path)
        if isinstance(error, OSError) and not isinstance(error, KerasViTSERError):
            raise folder.cannot_be_written(error) from error
        raise
    follower.end(failed=not search.best)
    if not search.best:
        raise TuningError(f"{folder.path}: {_nothing_found(search)}")
    return search


def _nothing_found(search: Search) -> str:
    trials, diverged = search.trials, [trial for trial in search.trials if trial.status == "diverged"]
    if trials and len(diverged) == len(trials):
        return f"all {len(trials)} trials diverged; search lower learning rates. The last: {trials[-1].message}"
    return f"no trial succeeded; the last: {trials[-1].message if trials else 'there was none'}"


def _begin(config: Common, data, runs, progress) -> tuple[RunFolder, Common, Split]:
    preparation.front_end_of(config)
    split = preparation.readable_split_of(config, data, _refuse_choice_by_test, progress)
    folder = RunFolder.create(runs, f"tune_{split.corpus.name}_{split.protocol}_s{config.seed}")
    folder.figures.rmdir()
    (folder.path / PROJECT).mkdir()
    log.info("search folder %s", folder.path)
    folder.write_start(config, split, data)
    return folder, config, split


def _refuse_choice_by_test(split: Split) -> None:
    if set(split.validation) & set(split.test):
        raise ProtocolError(
            f"protocol {split.protocol!r} chooses by the test part, and a search must not; take another: "
            "--protocol random, for instance"
        )


def _result(folder: RunFolder, hypermodel: SystemHyperModel, split: Split) -> Search:
    trials = tuple(read_trials(folder, hypermodel.exact))
    left_out = left_out_sentence(split.corpus, split.left_out)
    return Search(folder.path, trials, 1 / len(split.corpus.labels), len(split.validation), left_out)


def _finish(folder: RunFolder, hypermodel: SystemHyperModel, split: Split) -> Search:
    search = _result(folder, hypermodel, split)
    write_table(folder, list(search.trials))
    if not search.best:
        return search
    best = search.best[0]
    config = hypermodel.config.with_values(best.values)
    accuracy = 100 * best.rank[0]
    if len(search.trials) < config.tuning.trials:
        log.info("%d of %d trials: the search had no more to try", len(search.trials), config.tuning.trials)
    head = (
        f"# Trial {best.name} of {len(search.trials)} of {folder.path.name}: validation UA {accuracy:.1f} % "
        f"(chance {100 * search.chance:.1f} %), {search.clips} clips, {split.protocol}\n"
    )
    folder.write_text(_BEST, head + config.to_yaml())
    return search
