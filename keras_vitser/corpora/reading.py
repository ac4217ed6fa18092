"""What readers of published corpora share: find sound files, and take label and speaker from their names."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from keras_vitser.audio.file_names import existing_path
from keras_vitser.corpora.corpus import Clip, Corpus
from keras_vitser.corpora.suffixes import AV_SUFFIXES, said_of, sound_suffixes
from keras_vitser.errors import CorpusError
from keras_vitser.wording import listed

DEEPEST_LEVEL = 3  # folder above the corpus, corpus, speaker: nothing published lies deeper

_logger = logging.getLogger(__name__)


class FileName(NamedTuple):
    """What a corpus' file name says.

    Attributes:
        label: The class.
        speaker: The speaker's name.
        recording: The published name without folder and suffix: the same for two copies of one recording.
    """

    label: str
    speaker: str
    recording: str


def existing_folder(folder: str | os.PathLike, layout: str) -> Path:
    """The folder as an absolute path, `~` expanded.

    Args:
        folder: Its path.
        layout: What it should hold, for the error.

    Returns:
        The absolute path.

    Raises:
        CorpusError: There is no folder at that path.
    """
    path = absolute(folder)
    if not path.is_dir():
        problem = "is a file" if path.exists() else "does not exist"
        raise CorpusError(f"A corpus is read from a folder that holds {layout}. Received: {path}, which {problem}.")
    return path


def absolute(path: str | os.PathLike) -> Path:
    """The absolute path, `~` expanded and links kept, in the Unicode form in which it is on disk; it need not exist."""
    return existing_path(os.path.abspath(Path(path).expanduser()))


def is_hidden(name: str) -> bool:
    """Whether a file or folder name is bookkeeping of a system (`.git`, `._a01.wav`, `__MACOSX`)."""
    return name.startswith(".") or name == "__MACOSX"


def sound_files(
    folder: Path, *, suffixes: frozenset[str] | None = None, deepest_level: int | None = None
) -> list[Path]:
    """Sound files below a folder, found by suffix, sorted, hidden files and folders left out.

    Args:
        folder: `pathlib.Path` of an existing folder. Links to folders are followed, each folder once.
        suffixes: Lower-case suffixes with the dot; a file's own suffix may be of any case. Defaults to those of
            the files that are read here.
        deepest_level: Int. Levels of sub-folders to look into. Defaults to all.

    Returns:
        Paths that begin with `folder`.

    Raises:
        CorpusError: A folder cannot be listed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a.WAV").touch()
        >>> (folder / "notes.txt").touch()
        >>> [file.name for file in sound_files(folder)]
        ['a.WAV']
    """
    suffixes = sound_suffixes() if suffixes is None else suffixes
    return [path for path in files_below(folder, deepest_level) if path.suffix.lower() in suffixes]


def files_below(folder: Path, deepest_level: int | None = None) -> list[Path]:
    """All files below a folder, sorted, hidden ones left out; arguments and errors as for `sound_files`."""
    found: list[Path] = []
    visited: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        level = len(Path(root).relative_to(folder).parts)
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        is_deepest = deepest_level is not None and level >= deepest_level
        folders[:] = [] if is_deepest else sorted(name for name in folders if not is_hidden(name))
        found += [Path(root, name) for name in files if not is_hidden(name)]
    return sorted(found)


def read_named_files(
    name: str,
    folder: str | os.PathLike,
    *,
    parse: Callable[[Path], FileName | None],
    labels: tuple[str, ...],
    layout: str,
    terms: str,
    is_left_out: Callable[[Path], bool] = lambda path: False,
    left_out: str = "",
    suffixes: frozenset[str] = frozenset(),
) -> Corpus:
    """Reads a corpus whose file names carry label and speaker.

    Args:
        name: The corpus' name.
        folder: The corpus' folder, or one above or below it.
        parse: Function from a path to its `FileName`, or to `None` if the name is not the corpus' own.
        labels: All labels of the corpus, in its fixed order. Those without a clip are left out, with a
            warning.
        layout: An example of an expected path, for error messages.
        terms: The publishers' terms of use.
        is_left_out: Function from a path to whether the file is the corpus' own but not wanted.
        left_out: What `is_left_out` finds, for the log.
        suffixes: Suffixes of files to look at beside those of sound files.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The folder is missing, no file name fits, or two different files claim to be one
            recording.
    """
    root = existing_folder(folder, layout)
    suffixes |= sound_suffixes()
    everything = files_below(root, DEEPEST_LEVEL)
    files = [path for path in everything if path.suffix.lower() in suffixes]
    unread = [path for path in everything if path.suffix.lower() in AV_SUFFIXES - suffixes and parse(path)]
    unwanted = [path for path in files if is_left_out(path)]
    wanted = [path for path in files if not is_left_out(path)]
    named = [(path, file_name) for path in wanted if (file_name := parse(path))]
    foreign = [path for path in wanted if not parse(path)]
    if unwanted:
        _logger.warning("%s: left out %d files of %s, such as %s", name, len(unwanted), left_out, unwanted[0].name)
    if line := said_of(unread, len(files)):
        _logger.warning("%s: %s", name, line)
    if not named:
        seen = f"{len(files)} sound files, such as {files[0].name}" if files else "no sound file"
        raise CorpusError(
            f"No clip of corpus {name!r} was found. Expected names such as {layout}. "
            f"Received: {root}, which holds {seen}. Give the corpus' folder, or "
            'load your own recordings with "manifest" or "folder".'
        )
    if foreign:
        _logger.warning(
            "%s: skipped %d files whose names are not the corpus' own (%s), such as %s",
            name, len(foreign), layout, foreign[0].name,
        )  # fmt: skip
    clips = _one_clip_a_recording(name, root, named)
    present = {clip.label for clip in clips}
    absent = [label for label in labels if label not in present]
    if absent:
        _logger.warning("%s: no clip of class %s in %s", name, ", ".join(absent), root)
    return Corpus(name, root, tuple(clips), tuple(label for label in labels if label in present), terms)


def _one_clip_a_recording(name: str, root: Path, named: list[tuple[Path, FileName]]) -> list[Clip]:
    """Drops byte-identical second copies: one well-known distribution of RAVDESS holds every file twice."""
    kept: dict[str, Clip] = {}
    copies = []
    for path, file_name in sorted(named, key=lambda pair: (len(pair[0].parts), pair[0])):
        clip = Clip(path, file_name.label, file_name.speaker)
        first = kept.setdefault(file_name.recording, clip)
        if first is clip:
            continue
        if first.content_hash != clip.content_hash:
            raise CorpusError(
                f"One recording of corpus {name!r} stands twice, with different content. "
                f"Received: {first.path} and {clip.path}. Give a folder that holds one copy of the corpus."
            )
        copies.append(path)
    if copies:
        _logger.warning("%s: left out %d second copies in %s: %s", name, len(copies), root, listed(copies, 1))
    return list(kept.values())


def _refuse(error: OSError) -> None:
    raise CorpusError(
        f"A folder of the corpus cannot be listed. Received: {error.filename} ({error.strerror}). "
        "Give yourself the right to read it."
    ) from error
