"""A corpus of one's own as folders: one sub-folder a class."""

import logging
import os

from keras_vitser.audio.file_names import composed
from keras_vitser.corpora.corpus import Clip, Corpus
from keras_vitser.corpora.reading import existing_folder, files_below, is_hidden, sound_files
from keras_vitser.corpora.suffixes import said_of, sound_suffixes
from keras_vitser.errors import CorpusError

LAYOUT = "one sub-folder a class, such as anger/x.wav and sadness/y.wav"
TERMS = "your own recordings: their terms are yours to know"
DESCRIPTION = f"Your own recordings, speakers not named. Layout: {LAYOUT}. Terms: {TERMS}."

_logger = logging.getLogger(__name__)


def read(folder: str | os.PathLike) -> Corpus:
    """Reads sound files from one sub-folder a class, at any depth below it; speakers stay `None`.

    The labels are the sub-folders' names, sorted, normalised to Unicode's NFC. Files that are left out for their
    suffix are counted in the log.

    Args:
        folder: The folder above the classes' folders.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The folder is missing, or fewer than two sub-folders hold sound files.
    """
    root = existing_folder(folder, LAYOUT)
    clips = []
    others = []
    empty = []
    suffixes = sound_suffixes()
    for class_folder in sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name)):
        everything = files_below(class_folder)
        files = [path for path in everything if path.suffix.lower() in suffixes]
        clips += [Clip(path, label=composed(class_folder.name)) for path in files]
        others += [path for path in everything if path.suffix.lower() not in suffixes]
        if not files:
            empty.append(class_folder.name)
    line = said_of(others, len(clips))
    labels = tuple(sorted({clip.label for clip in clips}))
    if len(labels) < 2:
        raise CorpusError(
            f"A folder corpus needs at least two classes: {LAYOUT}. Received: {root}, where "
            f"{'only ' + repr(labels[0]) + ' holds' if labels else 'no sub-folder holds'} sound files"
            f"{' (' + line + ')' if line else ''}. "
            "Put the clips of each class in a sub-folder, or list them in a CSV and load it as a manifest."
        )
    if line:
        _logger.warning("folder: %s", line)
    if empty:
        _logger.warning("folder: no sound file in %s: %s", root, ", ".join(empty))
    loose = sound_files(root, deepest_level=0)
    if loose:
        _logger.warning("folder: skipped %d files in no class folder, such as %s", len(loose), loose[0].name)
    return Corpus("folder", root, tuple(clips), labels, TERMS)
