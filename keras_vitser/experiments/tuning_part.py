"""One process's part in a search; as a program, a chief or worker that `tuning_workers` starts."""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable

from keras_vitser.corpora import Split
from keras_vitser.errors import KerasViTSERError, RunFolderError
from keras_vitser.experiments import preparation
from keras_vitser.experiments.config import Common
from keras_vitser.experiments.config_files import load_config
from keras_vitser.experiments.hypermodel import SystemHyperModel
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.experiments.stages import Part
from keras_vitser.experiments.tuning_engine import CHIEF, role, run_trials


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
        run_trials(hypermodel, folder, *parts_of(hypermodel.config, split, progress), given_up=given_up)


def main(path: str, data: str, given_up: str) -> None:
    """The program: the folder of a search, and as JSON the place of the recordings and the trial that is given up."""
    threading.Thread(target=_end_with_the_launcher, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        folder, config, split, _ = taken_up(path, json.loads(data))
        take_part(folder, SystemHyperModel(config, len(split.corpus.labels)), split, given_up=json.loads(given_up))
    except KerasViTSERError as error:
        sys.exit(f"error: {error}")


def _end_with_the_launcher() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
