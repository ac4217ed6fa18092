"""CREMA-D, Crowd-sourced Emotional Multimodal Actors Dataset: 7442 clips, 91 speakers, 6 classes, English."""

import os
import re
from pathlib import Path

from keras_vitser.corpora.corpus import Corpus
from keras_vitser.corpora.reading import FileName, read_named_files

LAYOUT = "AudioWAV/1001_DFA_ANG_XX.wav"
TERMS = "Open Database License (ODbL), contents under the Database Contents License"
DESCRIPTION = f"CREMA-D: 7442 clips, 91 speakers, 6 classes, English. Layout: {LAYOUT}. Terms: {TERMS}."

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}

# One published file ends in a single X.
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")


def read(folder: str | os.PathLike) -> Corpus:
    """Reads CREMA-D from its folder, or from `AudioWAV`. The label is the intended emotion.

    Args:
        folder: The corpus' folder, or one above or below it.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The folder is missing or holds no clip of CREMA-D.
    """
    return read_named_files("crema_d", folder, parse=parse, labels=tuple(EMOTIONS.values()), layout=LAYOUT, terms=TERMS)


def parse(path: Path) -> FileName | None:
    """Label and speaker of a file of CREMA-D, or `None` if the name is none.

    Args:
        path: The file; it need not exist.

    Example:
        >>> parse(Path("AudioWAV/1001_DFA_ANG_XX.wav"))
        FileName(label='anger', speaker='1001', recording='1001_DFA_ANG_XX')
    """
    match = _NAME.fullmatch(path.stem)
    return FileName(EMOTIONS[match[3]], match[1], path.stem) if match else None
