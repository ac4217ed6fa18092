"""RAVDESS, Ryerson Audio-Visual Database, the spoken part: 1440 clips, 24 actors, 8 classes, English."""

import os
import re
from pathlib import Path

from keras_vitser.corpora.corpus import Corpus
from keras_vitser.corpora.reading import FileName, read_named_files

LAYOUT = "Actor_01/03-01-06-01-02-01-12.wav"
TERMS = "Toronto Metropolitan (formerly Ryerson) University: CC BY-NC-SA 4.0"
DESCRIPTION = f"RAVDESS speech: 1440 clips, 24 speakers, 8 classes, English. Layout: {LAYOUT}. Terms: {TERMS}."

EMOTIONS = {
    "05": "anger",
    "02": "calm",
    "07": "disgust",
    "06": "fear",
    "03": "happiness",
    "01": "neutral",
    "04": "sadness",
    "08": "surprise",
}
ACTORS = tuple(f"{number:02d}" for number in range(1, 25))

SOUND_ONLY = "03"
SPEECH = "01"

# Modality, vocal channel, emotion, intensity, statement, repetition, actor.
_NAME = re.compile(r"(\d{2})-(\d{2})-(\d{2})-\d{2}-\d{2}-\d{2}-(\d{2})")


def read(folder: str | os.PathLike) -> Corpus:
    """Reads the spoken sound files of RAVDESS; songs and videos beside them are left out.

    Args:
        folder: The corpus' folder, or one above or below it.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The folder is missing or holds no spoken clip of RAVDESS.
    """
    return read_named_files(
        "ravdess",
        folder,
        parse=parse,
        labels=tuple(EMOTIONS.values()),
        layout=LAYOUT,
        terms=TERMS,
        is_left_out=is_song_or_video,
        left_out="song or video",
        suffixes=frozenset({".mp4"}),
    )


def parse(path: Path) -> FileName | None:
    """Label and speaker of a file of RAVDESS, or `None` if the name is none.

    Args:
        path: The file; it need not exist.

    Example:
        >>> parse(Path("Actor_12/03-01-06-01-02-01-12.wav"))
        FileName(label='fear', speaker='12', recording='03-01-06-01-02-01-12')
    """
    match = _NAME.fullmatch(path.stem)
    if not match or match[3] not in EMOTIONS or match[4] not in ACTORS or path.suffix.lower() == ".mp4":
        return None
    return FileName(EMOTIONS[match[3]], match[4], path.stem)


def is_song_or_video(path: Path) -> bool:
    """Whether a file of RAVDESS is sung (vocal channel 02) or of a video (modality 01 or 02)."""
    match = _NAME.fullmatch(path.stem)
    return match is not None and (match[1], match[2]) != (SOUND_ONLY, SPEECH)
