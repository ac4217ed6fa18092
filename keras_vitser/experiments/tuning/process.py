"""The program of a chief or worker that `workers` starts."""

import json
import logging
import os
import sys
import threading

from keras_vitser.errors import KerasViTSERError
from keras_vitser.experiments.tuning.hypermodel import SystemHyperModel
from keras_vitser.experiments.tuning.part import take_part, taken_up


def main(path: str, data: str, given_up: str) -> None:
    """The program.

    Args:
        path: The folder of a search.
        data: JSON, the place of the recordings.
        given_up: JSON, the trial that is given up.
    """
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
