"""Names that look alike: in Unicode `ü` is one character (NFC) or two (NFD), and files keep the form they came in.

A table that was written on one system and recordings that were copied from another then name one file in two ways.
"""

import os
import unicodedata
from functools import lru_cache
from pathlib import Path


def composed(name: str) -> str:
    """A name in the form NFC, in which names that print alike are equal.

    Example:
        >>> composed("u\\u0308") == "\\u00fc"
        True
    """
    return unicodedata.normalize("NFC", name)


def existing_path(path: str | os.PathLike) -> Path:
    """The path of the file that is meant, in the form in which it is on disk.

    Args:
        path: A path of any form, each of its parts.

    Returns:
        The path itself where it exists, or where nothing does that prints alike.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "u\\u0308.wav").touch()
        >>> existing_path(folder / "\\u00fc.wav").exists()
        True
    """
    path = Path(path)
    if str(path).isascii() or os.path.exists(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        name = _name_on_disk(found, part)
        if name is None:
            return path
        found /= name
    return found


def _name_on_disk(folder: Path, name: str) -> str | None:
    for form in (name, composed(name), unicodedata.normalize("NFD", name)):
        if os.path.lexists(folder / form):
            return form
    if name.isascii():
        return None
    try:  # names of both forms in one, which are rare
        return _composed_names(folder, folder.stat().st_mtime_ns).get(composed(name))
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1)
def _composed_names(folder: Path, changed: int) -> dict[str, str]:
    """The names in a folder by their form NFC, listed once as long as the folder is not changed."""
    return {composed(name): name for name in sorted(os.listdir(folder)) if not name.isascii()}
