"""EmoDB, the Berlin Database of Emotional Speech: 535 clips, 10 speakers, 7 classes, German."""

import os
import re
from pathlib import Path

from keras_vitser.corpora.corpus import Corpus
from keras_vitser.corpora.reading import FileName, read_named_files

LAYOUT = "wav/03a01Fa.wav"
TERMS = "Technische Universität Berlin: free for research"
DESCRIPTION = f"EmoDB: 535 clips, 10 speakers, 7 classes, German. Layout: {LAYOUT}. Terms: {TERMS}."

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}

_NAME = re.compile(r"(\d{2})([ab]\d{2})([WLEAFNT])[a-z]?")


def read(folder: str | os.PathLike) -> Corpus:
    """Reads EmoDB from its folder, or from the folder of its files.

    Args:
        folder: The corpus' folder, or one above or below it.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The folder is missing or holds no clip of EmoDB.
    """
    return read_named_files("emodb", folder, parse=parse, labels=tuple(EMOTIONS.values()), layout=LAYOUT, terms=TERMS)


def parse(path: Path) -> FileName | None:
    """Label and speaker of a file of EmoDB, or `None` if the name is none.

    Args:
        path: The file; it need not exist.

    Example:
        >>> parse(Path("wav/03a01Fa.wav"))
        FileName(label='happiness', speaker='03', recording='03a01Fa')
    """
    match = _NAME.fullmatch(path.stem)
    return FileName(EMOTIONS[match[3]], match[1], path.stem) if match else None
