"""The program that trains one fold and seed of `folds`."""

import sys

from keras_vitser.errors import KerasViTSERError
from keras_vitser.experiments import child_process, folds
from keras_vitser.experiments.run_folder import RunFolder


def main(path: str, name: str, data: str) -> None:
    """The program.

    Args:
        path: The folder of the runs.
        name: Of the run.
        data: The place of the recordings, or `""`.
    """
    child_process.begin()
    try:
        folds.run_member(RunFolder(path), name, data or None, lambda task, done, total: None)
    except KerasViTSERError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
