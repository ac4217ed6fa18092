"""The program of a chief or worker that `workers` starts."""

import json
import sys

from keras_vitser.errors import KerasViTSERError
from keras_vitser.experiments import child_process
from keras_vitser.experiments.tuning.hypermodel import SystemHyperModel
from keras_vitser.experiments.tuning.part import take_part, taken_up


def main(path: str, data: str, given_up: str) -> None:
    """The program.

    Args:
        path: The folder of a search.
        data: JSON, the place of the recordings.
        given_up: JSON, the trial that is given up.
    """
    child_process.begin()
    try:
        folder, config, split, _ = taken_up(path, json.loads(data))
        take_part(folder, SystemHyperModel(config, len(split.corpus.labels)), split, given_up=json.loads(given_up))
    except KerasViTSERError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
