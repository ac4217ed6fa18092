"""SAVEE, Surrey Audio-Visual Expressed Emotion: 480 clips, 4 men, 7 classes, British English."""

import os
import re
from pathlib import Path

from keras_vitser.corpora.corpus import Corpus
from keras_vitser.corpora.reading import FileName, read_named_files

LAYOUT = "AudioData/DC/a01.wav (or DC_a01.wav)"
TERMS = "University of Surrey: for research, on registration with the publishers"
DESCRIPTION = f"SAVEE: 480 clips, 4 speakers, 7 classes, English. Layout: {LAYOUT}. Terms: {TERMS}."

EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
SPEAKERS = ("DC", "JE", "JK", "KL")

_NAME = re.compile(r"(?:([A-Z]{2})_)?(a|d|f|h|n|sa|su)(\d{2})", re.IGNORECASE)


def read(folder: str | os.PathLike) -> Corpus:
    """Reads SAVEE from its folder, from `AudioData`, or from files named `DC_a01.wav`.

    Args:
        folder: The corpus' folder, or one above or below it.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The folder is missing or holds no clip of SAVEE.
    """
    return read_named_files("savee", folder, parse=parse, labels=tuple(EMOTIONS.values()), layout=LAYOUT, terms=TERMS)


def parse(path: Path) -> FileName | None:
    """Label and speaker of a file of SAVEE, or `None` if the name is none.

    Args:
        path: The file; it need not exist.

    Example:
        >>> parse(Path("AudioData/DC/sa03.wav"))
        FileName(label='sadness', speaker='DC', recording='DC_sa03')
    """
    match = _NAME.fullmatch(path.stem)
    if not match:
        return None
    speaker = (match[1] or path.parent.name).upper()
    if speaker not in SPEAKERS:
        return None
    emotion = match[2].lower()
    return FileName(EMOTIONS[emotion], speaker, f"{speaker}_{emotion}{match[3]}")
