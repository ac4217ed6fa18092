"""One process's part in a search."""

import os
from collections.abc import Callable

from keras_vitser.corpora import Split
from keras_vitser.errors import RunFolderError
from keras_vitser.experiments import preparation
from keras_vitser.experiments.config import Common, load_config
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.experiments.stages import Part
from keras_vitser.experiments.tuning.engine import CHIEF, role, run_trials
from keras_vitser.experiments.tuning.hypermodel import SystemHyperModel


def taken_up(
    path: str | os.PathLike, data: str | os.PathLike | None
) -> tuple[RunFolder, Common, Split, str | os.PathLike | None]:
    """A search that was begun: its folder, its config, its split, and where the recordings are.

    Raises:
        RunFolderError: The folder is no search, or the recordings are others.
    """
    folder = RunFolder.open(path)
    if not folder.is_search:
        raise RunFolderError(f"{path}: is no search of `keras-vitser tune`; a run goes on with keras-vitser train")
    config = load_config(folder.path / "config.yaml")
    data = folder.read_json("environment.json")["data"] if data is None else data
    split = preparation.split_of(config, data, folder.left_out())
    folder.check_split(split)
    return folder, config, split, data


def parts_of(config: Common, split: Split, progress: Callable[[str, int, int], None]) -> list[Part]:
    """What a trial learns from, and what it is measured on."""
    return preparation.parts_of(config, preparation.front_end_of(config), split, ("train", "validation"), progress)


def take_part(
    folder: RunFolder,
    hypermodel: SystemHyperModel,
    split: Split,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
    given_up: str | None = None,
) -> None:
    """Is chief or worker, by KerasTuner's environment variables, and leaves the end of the search to who began it."""
    if role() == CHIEF:
        with folder.lock():
            run_trials(hypermodel, folder)
    else:
        train, validation = parts_of(hypermodel.config, split, progress)
        run_trials(hypermodel, folder, train, validation, given_up=given_up)
