"""Which files are taken for sound by their suffix, and what is said of the others."""

import importlib.util
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from keras_vitser.wording import listed

SOUND_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus", ".w64", ".caf"},
)
# What phones, browsers and others record, which PyAV reads.
AV_SUFFIXES = frozenset(
    {".m4a", ".mp4", ".3gp", ".mov", ".webm", ".mka", ".mkv", ".amr", ".aac", ".wma", ".asf"}
    | {".wv", ".tta", ".ac3", ".eac3", ".flv", ".avi", ".ts"}
)
_MOST_NAMED = 8


def sound_suffixes() -> frozenset[str]:
    """Lower-case suffixes, with the dot, of the files that are read here: those of PyAV where it is installed.

    Example:
        >>> ".wav" in sound_suffixes()
        True
    """
    return SOUND_SUFFIXES | AV_SUFFIXES if reads_av() else SOUND_SUFFIXES


def reads_av() -> bool:
    """Whether PyAV, the extra `av`, is installed."""
    return importlib.util.find_spec("av") is not None


def said_of(others: Iterable[Path], taken: int) -> str:
    """One line on the files that are left out for their suffix: how many of each, and what to do.

    Args:
        others: The files that are left out.
        taken: How many files beside them are taken.

    Returns:
        The line, or `""` where none is left out.

    Example:
        >>> said_of([Path("a.txt"), Path("b.txt")], taken=3).partition(" (")[0]
        'left out 2 of 5 files by their suffix: .txt 2'
    """
    counts = Counter(path.suffix.lower() or "none" for path in others)
    if not counts:
        return ""
    left_out = sum(counts.values())
    named = listed([f"{suffix} {count}" for suffix, count in counts.most_common()], _MOST_NAMED)
    line = f"left out {left_out} of {left_out + taken} files by their suffix: {named}"
    if to_read := sorted(AV_SUFFIXES & counts.keys() - sound_suffixes()):
        example = to_read[0]
        return (
            f"{line}. {', '.join(to_read)} are read as they are with pip install 'keras-vitser[av]'; or convert them, "
            f"one by one: ffmpeg -i FILE{example} FILE.wav"
        )
    return f"{line} (sound files end in {', '.join(sorted(sound_suffixes()))}; convert or rename what is sound)"
