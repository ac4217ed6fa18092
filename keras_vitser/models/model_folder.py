"""The files of a model folder: network, settings and model card, each with its SHA-256 in the settings."""

import json
import os
from pathlib import Path
from typing import Any

import keras

from keras_vitser.errors import ModelFolderError, NonFiniteWeightsError
from keras_vitser.files import sha256
from keras_vitser.models.loading import load_model

NETWORK_FILE = "model.keras"
SETTINGS_FILE = "recognizer.json"
CARD_FILE = "MODEL_CARD.md"
FORMAT = 2  # 1: the front end without its class


def model_folder(folder: str | os.PathLike) -> Path:
    """The model folder that a path means: itself, or the one in a run.

    Example:
        >>> model_folder("no/such/folder").as_posix()
        'no/such/folder'
    """
    folder = Path(folder)
    if not (folder / SETTINGS_FILE).is_file() and (folder / "model" / SETTINGS_FILE).is_file():
        return folder / "model"
    return folder


def read_settings(folder: Path) -> dict[str, Any]:
    """What `recognizer.json` holds, once every file that it names is the one that was saved.

    Raises:
        ModelFolderError: It is missing, damaged or of a newer version, or another file is missing or was changed.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise ModelFolderError(
            f"{folder}: is not a model folder (there is no {SETTINGS_FILE}); give the folder `model` of a training run"
        )
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        is_newer = settings["format"] > FORMAT
    except (ValueError, KeyError, TypeError):
        raise damaged(path) from None
    if is_newer:
        raise ModelFolderError(f"{path}: was written by a newer keras_vitser ({settings.get('keras_vitser')}); update")
    hashes = settings.get("sha256")
    if not isinstance(hashes, dict) or NETWORK_FILE not in hashes:
        raise damaged(path)
    for name, expected in hashes.items():
        file = folder / Path(name).name
        if not file.is_file():
            raise ModelFolderError(f"{file}: is missing; copy the model folder again")
        if sha256(file) != expected:
            raise ModelFolderError(f"{file}: is not the file that was saved; copy the model folder again")
    return settings


def read_network(path: Path) -> keras.Model:
    """The network of a model folder, on any backend; no code that the file may carry is run.

    Raises:
        ModelFolderError: The file holds no network, or one with a weight that is NaN or infinite.
    """
    try:
        return load_model(path, compile=False)
    except NonFiniteWeightsError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFolderError(
            f"{path}: holds no network that can be loaded ({reason}); train or copy it again"
        ) from None


def damaged(path: Path) -> ModelFolderError:
    """The error of a file that is not as it was written."""
    return ModelFolderError(f"{path}: is damaged; copy the model folder again")
