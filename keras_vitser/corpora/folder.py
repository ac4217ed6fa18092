"""A corpus of one's own as folders: one sub-folder a class."""

import logging
import os

from keras_vitser.corpora.corpus import Clip, Corpus
from keras_vitser.corpora.reading import existing_folder, is_hidden, sound_files
from keras_vitser.errors import CorpusError

LAYOUT = "one sub-folder a class, such as anger/x.wav and sadness/y.wav"
TERMS = "your own recordings: their terms are yours to know"
DESCRIPTION = f"Your own recordings, speakers not named. Layout: {LAYOUT}. Terms: {TERMS}."

_logger = logging.getLogger(__name__)


def read(folder: str | os.PathLike) -> Corpus:
    """Reads sound files from one sub-folder a class, at any depth below it; speakers stay `None`.

    The labels are the sub-folders' names, sorted.

    Raises:
        CorpusError: If the folder is missing, or fewer than two sub-folders hold sound files.
    """
    root = existing_folder(folder, LAYOUT)
    clips = []
    empty = []
    for class_folder in sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name)):
        files = sound_files(class_folder)
        clips += [Clip(path, label=class_folder.name) for path in files]
        if not files:
            empty.append(class_folder.name)
    labels = tuple(sorted({clip.label for clip in clips}))
    if len(labels) < 2:
        raise CorpusError(
            f"A folder corpus needs at least two classes: {LAYOUT}. Received: {root}, where "
            f"{'only ' + repr(labels[0]) + ' holds' if labels else 'no sub-folder holds'} sound files. "
            "Put the clips of each class in a sub-folder, or list them in a CSV and load it as a manifest."
        )
    if empty:
        _logger.warning("folder: no sound file in %s: %s", root, ", ".join(empty))
    loose = sound_files(root, deepest_level=0)
    if loose:
        _logger.warning("folder: skipped %d files in no class folder, such as %s", len(loose), loose[0].name)
    return Corpus("folder", root, tuple(clips), labels, TERMS)
