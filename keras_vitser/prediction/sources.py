"""Files and folders that are named on the command line, as a list of sound files."""

import logging
from collections.abc import Iterable
from pathlib import Path

from keras_vitser.audio.file_names import existing_path
from keras_vitser.corpora.reading import files_below
from keras_vitser.corpora.suffixes import AV_SUFFIXES, said_of, sound_suffixes
from keras_vitser.errors import CorpusError, PredictionError

_logger = logging.getLogger(__name__)


def files_of(sources: Iterable[Path]) -> list[str]:
    """The files, and in place of a folder the sound files below it; recordings that need PyAV are counted in the log.

    Args:
        sources: Files and folders.

    Returns:
        Paths. A folder that gives none stands for itself, so that it is told of in its place, and the log says why.

    Raises:
        PredictionError: All sources are such folders: the first holds no sound file.
        CorpusError: They are: the first cannot be listed.

    Example:
        >>> files_of([Path("a.wav")])
        ['a.wav']
    """
    files: list[Path] = []
    errors: list[PredictionError | CorpusError] = []
    for source in map(existing_path, sources):
        try:
            files += _sound_files(source) if source.is_dir() else [source]
        except (PredictionError, CorpusError) as error:
            files.append(source)
            errors.append(error)
    if errors and len(errors) == len(files):
        raise errors[0]
    for told in errors:
        _logger.warning("%s", told)
    return list(map(str, files))


def _sound_files(folder: Path) -> list[Path]:
    suffixes, everything = sound_suffixes(), files_below(folder)
    files = [path for path in everything if path.suffix.lower() in suffixes]
    line = said_of((path for path in everything if path.suffix.lower() in AV_SUFFIXES - suffixes), len(files))
    if not files:
        reason = f" ({line})" if line else ""
        raise PredictionError(f"{folder}: holds no sound file{reason}; give files, or a folder with some in it")
    if line:
        _logger.warning("%s: %s", folder, line)
    return files
