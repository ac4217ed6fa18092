"""Trained networks by name or address: a folder, a name of ours, the Hugging Face Hub, Kaggle.

A preset is a model folder: `model.keras` (config and weights), `recognizer.json` (labels, front end, SHA-256 of the two
others) and `MODEL_CARD.md`. It holds no code and no pickle, and what else lies in the folder is refused.
"""

import json
import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from keras_vitser.errors import PresetError
from keras_vitser.files import sha256
from keras_vitser.models.model_folder import CARD_FILE, NETWORK_FILE, SETTINGS_FILE, damaged, read_settings

NETWORKS = ("keras_vitser>ViTSER",)  # as registered with Keras: the classes that a preset's file may name
_FILES = (NETWORK_FILE, SETTINGS_FILE, CARD_FILE)
_BESIDE = ("README.md", "LICENSE", ".gitattributes")  # what the hubs themselves put there
_PARTS_OF_NETWORK = {"config.json", "metadata.json", "model.weights.h5"}
_LARGEST_CONFIG = 2**20  # bytes; a ViTSER's has 2**10
_LARGEST_WEIGHTS = 2**29  # bytes; the large teacher's have 2**26

_HUGGING_FACE = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_KAGGLE = re.compile(r"kaggle://(?P<handle>[\w.-]+/[\w.-]+/[\w.-]+/[\w.-]+(/\d+)?)")
_FORMS = "a folder, hf://USER/REPO[@REVISION] or kaggle://USER/MODEL/FRAMEWORK/VARIATION[/VERSION]"


class NamedPreset(NamedTuple):
    """A preset that this package vouches for.

    Attributes:
        address: Its address on a hub, with revision or version.
        sha256: Of its `recognizer.json`, which holds those of the other files.
    """

    address: str
    sha256: str


PRESETS: dict[str, NamedPreset] = {}  # none is published yet


def preset_folder(preset: str | os.PathLike) -> Path:
    """The folder of a preset, downloaded where it is not there yet, with every file checked.

    Args:
        preset: A folder; a name in `PRESETS`; `hf://USER/REPO`, at a branch, tag or commit with `@REVISION`; or
            `kaggle://USER/MODEL/FRAMEWORK/VARIATION`, at a version with `/VERSION`. What is downloaded stays in the
            cache of the hub's own library.

    Returns:
        The folder.

    Raises:
        PresetError: There is no such preset, the hub's library is not installed, the download fails, the folder holds
            what does not belong in a preset, or a named preset is not the one that was recorded.
        ModelFolderError: A file is missing, was changed, or comes from a newer version.

    Example:
        >>> try:
        ...     preset_folder("ftp://example.org/student")
        ... except PresetError as error:
        ...     print(str(error).partition(";")[0])
        ftp://example.org/student: is no preset
    """
    text = os.fspath(preset)
    named = PRESETS.get(text)
    address = named.address if named else text
    if address.startswith("hf://"):
        folder = _from_hugging_face(address)
    elif address.startswith("kaggle://"):
        folder = _from_kaggle(address)
    elif (folder := Path(address)).is_dir():
        folder = folder.resolve()
    else:
        names = f", or a name: {', '.join(PRESETS)}" if PRESETS else ""
        raise PresetError(f"{text}: is no preset; give {_FORMS}{names}")
    _check_files(folder)
    if named and sha256(folder / SETTINGS_FILE) != named.sha256:
        raise PresetError(f"{text}: {address} is not the preset that was recorded under this name; do not use it")
    if CARD_FILE not in read_settings(folder)["sha256"]:
        raise damaged(folder / SETTINGS_FILE)
    _check_network(folder / NETWORK_FILE)
    return folder


def is_preset(text: str) -> bool:
    """Whether a text is the name of a preset or an address, and not a path.

    Example:
        >>> is_preset("hf://user/repo"), is_preset("runs/a/model")
        (True, False)
    """
    return "://" in text or text in PRESETS


def _from_hugging_face(address: str) -> Path:
    found = _HUGGING_FACE.fullmatch(address)
    if not found:
        raise PresetError(f"{address}: is no address; give hf://USER/REPO, or hf://USER/REPO@REVISION")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise _no_library("huggingface_hub", address) from None
    try:
        return Path(snapshot_download(found["repo"], revision=found["revision"], allow_patterns=list(_FILES)))
    except Exception as error:  # the library's own, and those of what it uses
        raise _no_download(address, error) from None


def _from_kaggle(address: str) -> Path:
    found = _KAGGLE.fullmatch(address)
    if not found:
        raise PresetError(
            f"{address}: is no address; give kaggle://USER/MODEL/FRAMEWORK/VARIATION, with /VERSION or not"
        )
    try:
        from kagglehub import model_download
    except ImportError:
        raise _no_library("kagglehub", address) from None
    try:
        return Path(model_download(found["handle"]))
    except Exception as error:  # the library's own, and those of what it uses
        raise _no_download(address, error) from None


def _no_library(name: str, address: str) -> PresetError:
    return PresetError(f"{address}: needs {name}: pip install 'keras-vitser[hub]'")


def _no_download(address: str, error: Exception) -> PresetError:
    reason = " ".join(str(error).split())[:200]
    return PresetError(f"{address}: cannot be downloaded ({type(error).__name__}: {reason})")


def _check_files(folder: Path) -> None:
    home = folder.resolve()
    # In huggingface_hub's cache, REPO/snapshots/COMMIT/FILE is a link to REPO/blobs/HASH.
    stores = [home, home.parents[1] / "blobs"] if home.parent.name == "snapshots" else [home]
    for path in sorted(folder.iterdir()):
        if path.name not in (*_FILES, *_BESIDE):
            raise PresetError(f"{path}: does not belong in a preset, which holds {', '.join(_FILES)}")
        if path.resolve().parent not in stores:
            raise PresetError(f"{path}: is a link out of the preset's folder")
        if not path.is_file():
            raise PresetError(f"{path}: is no file")
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise PresetError(f"{folder}: is no preset; {', '.join(missing)} is missing")


def _check_network(path: Path) -> None:
    """A `.keras` file can name any class of Keras, one that holds compiled code too: here it names one of ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if sizes.keys() != _PARTS_OF_NETWORK:
                others = ", ".join(sorted(sizes.keys() ^ _PARTS_OF_NETWORK))
                raise PresetError(f"{path}: holds more or less than a network's config and weights: {others[:80]!r}")
            if sizes["model.weights.h5"] > _LARGEST_WEIGHTS or sizes["config.json"] > _LARGEST_CONFIG:
                raise PresetError(f"{path}: unfolds to more than a network has; is it a zip bomb?")
            config = json.loads(archive.read("config.json"))
            network = config["registered_name"] or config["class_name"]  # without the first: a class of Keras
    except PresetError:
        raise
    except Exception:  # a hostile archive can make its reader raise anything
        raise damaged(path) from None
    if network not in NETWORKS:
        raise PresetError(f"{path}: holds {str(network)[:80]!r}, and a preset one of {', '.join(NETWORKS)}")
