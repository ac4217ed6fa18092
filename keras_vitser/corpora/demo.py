"""The demo corpus: 480 clips of made-up voices, so that everything runs without a corpus.

Nobody recorded these and nobody should quote a score on them: they show that the machinery works, not how
well a network hears emotion.
"""

import csv
import hashlib
import logging
import os
import shutil
import uuid
from pathlib import Path

import numpy as np

from keras_vitser.audio.wav_writing import wav_file
from keras_vitser.corpora.corpus import Clip, Corpus
from keras_vitser.corpora.reading import absolute, is_hidden
from keras_vitser.corpora.voices import SAMPLING_RATE, STYLES, VOICES, speak
from keras_vitser.errors import CorpusError

CACHE_VARIABLE = "KERAS_VITSER_CACHE"
VERSION = "demo-v2"
LAYOUT = "made on first use in the user's cache folder, or in a folder given: speaker1/anger_1.wav"
TERMS = "made by a program from no recording: free to use"
DESCRIPTION = f"Demo: 480 clips of made-up voices, 60 speakers, 4 classes. Layout: {LAYOUT}. Terms: {TERMS}."

LABELS = tuple(sorted(STYLES))
SPEAKERS = tuple(f"speaker{number}" for number in range(1, len(VOICES) + 1))
CLIPS_A_CLASS = 2  # for each speaker
SEED = 2024

_TABLE = "manifest.csv"

_logger = logging.getLogger(__name__)


def read(folder: str | os.PathLike | None = None) -> Corpus:
    """The demo corpus, made if it is not there yet.

    The files are written to a folder beside the wanted one and moved there whole, so that a broken attempt
    leaves nothing and two processes may ask at once. A whole corpus already there is used; a damaged one is
    made anew. One machine makes the same bytes every time.

    Args:
        folder: Where the corpus lies or shall lie: a new or empty folder, or one that holds the demo corpus.
            Defaults to `demo-v2` in the cache folder.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The folder holds something else, or cannot be written.

    Example:
        >>> read()
        Corpus(demo: 480 clips, 4 classes, 60 speakers)
    """
    target = absolute(folder) if folder is not None else cache_folder() / VERSION
    if not _is_whole(target):
        _refuse_foreign(target)
        try:
            _make(target)
        except OSError as error:
            raise CorpusError(
                f"The demo corpus cannot be written. Received: {target} ({error.strerror}). "
                f"Give another folder, or name a cache folder in the environment variable {CACHE_VARIABLE}."
            ) from error
    clips = tuple(Clip(target / name, label, speaker) for name, label, speaker in _names())
    return Corpus("demo", target, clips, LABELS, TERMS)


def cache_folder() -> Path:
    """The folder for things made once: `KERAS_VITSER_CACHE`, else `keras_vitser` in the user's cache.

    Example:
        >>> cache_folder().is_absolute()
        True
    """
    if given := os.environ.get(CACHE_VARIABLE):
        return absolute(given)
    return absolute(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "keras_vitser"


def _names() -> list[tuple[str, str, str]]:
    """Relative path, label and speaker of every clip."""
    return [
        (f"{speaker}/{label}_{number}.wav", label, speaker)
        for speaker in SPEAKERS
        for label in LABELS
        for number in range(1, CLIPS_A_CLASS + 1)
    ]


def _is_whole(folder: Path) -> bool:
    """Whether the folder holds every clip with the content that was written."""
    try:
        with open(folder / _TABLE, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        hashes = {row["path"]: row["sha256"] for row in rows}
        return all(hashes[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest() for name, _, _ in _names())
    except (OSError, KeyError, UnicodeDecodeError, csv.Error):
        return False


def _refuse_foreign(folder: Path) -> None:
    """Raises unless the folder is missing, or nothing but (parts of) the demo corpus lies in it."""
    if folder.exists() and not folder.is_dir():
        raise CorpusError(f"The demo corpus is written to a folder. Received: {folder}, which is a file.")
    ours = {_TABLE, *(name for name, _, _ in _names())}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not is_hidden(path.name) and path.relative_to(folder).as_posix() not in ours:
            raise CorpusError(
                f"The demo corpus is written to a folder of its own. Received: {folder}, which holds "
                f"{path.name}. Give a new or empty folder."
            )


def _make(target: Path) -> None:
    _logger.info("making the demo corpus in %s", target)
    target.parent.mkdir(parents=True, exist_ok=True)
    unique = f".{target.name}-{uuid.uuid4().hex}"
    fresh, old = target.with_name(unique + "-new"), target.with_name(unique + "-old")
    try:
        _write_all(fresh)
        if _is_whole(target):  # another process was faster
            return
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(fresh, target)
        except OSError:
            if not _is_whole(target):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write_all(folder: Path) -> None:
    rows = []
    for index, (name, label, speaker) in enumerate(_names()):
        voice = VOICES[SPEAKERS.index(speaker)]
        content = wav_file(speak(voice, STYLES[label], np.random.default_rng([SEED, index])), SAMPLING_RATE)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        rows.append((name, label, speaker, hashlib.sha256(content).hexdigest()))
    with open(folder / _TABLE, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label", "speaker", "sha256"), *rows])
