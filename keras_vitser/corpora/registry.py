"""Every corpus by name: `load`, what each expects on disk, and under which terms."""

import os
from collections.abc import Sequence
from dataclasses import replace

from keras_vitser.audio.file_names import composed
from keras_vitser.corpora import crema_d, demo, emodb, folder, manifest, ravdess, savee
from keras_vitser.corpora.corpus import Corpus
from keras_vitser.corpora.labels import refuse_labels_alike
from keras_vitser.corpora.names import CORPORA
from keras_vitser.corpora.reading import absolute
from keras_vitser.errors import CorpusError
from keras_vitser.wording import did_you_mean

_READERS = {
    "savee": savee,
    "emodb": emodb,
    "crema_d": crema_d,
    "ravdess": ravdess,
    "manifest": manifest,
    "folder": folder,
    "demo": demo,
}

NAMES: tuple[str, ...] = CORPORA
DESCRIPTIONS: dict[str, str] = {name: reader.DESCRIPTION for name, reader in _READERS.items()}


def load(
    name: str,
    folder: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    *,
    labels_as_written: bool = False,
    missing_ok: bool = False,
) -> Corpus:
    """Reads a corpus from disk. No sound is decoded.

    Args:
        name: One of `NAMES`. `DESCRIPTIONS[name]` says what it expects.
        folder: The corpus' folder; for `"manifest"` the path of the CSV. May be `None` for `"demo"` only,
            which is then made in the user's cache folder.
        classes: Labels to keep, at least two, or `None` for all. The order of `Corpus.labels` stays the
            corpus'.
        labels_as_written: Whether labels that differ only in case or spaces are classes of their own; else
            they are refused.
        missing_ok: Whether some of the files that a manifest lists may be missing: for who checks all
            recordings afterwards. A manifest of which none is there is refused.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The name is unknown, the folder is missing or is not the corpus, a class is unknown or
            listed twice, two labels differ only in case or spaces, or fewer than two classes are left.

    Example:
        >>> load("demo", classes=["sadness", "anger"])
        Corpus(demo: 240 clips, 2 classes, 60 speakers)
    """
    if name not in _READERS:
        raise CorpusError(
            f"`name` must be one of {', '.join(NAMES)}. Received: {name!r}.{did_you_mean(name, NAMES)} "
            'For recordings of your own use "folder" or "manifest".'
        )
    if folder is None and name != "demo":
        raise CorpusError(
            f"Corpus {name!r} is read from disk, so `folder` must say where it lies. Received: None. "
            f"{DESCRIPTIONS[name]}"
        )
    if name == "manifest" and folder is not None:
        corpus = manifest.read(folder, missing_ok=missing_ok)
    else:
        corpus = _READERS[name].read(folder)
    if classes is not None:
        corpus = _keep_classes(corpus, classes)
    if not labels_as_written:
        refuse_labels_alike(corpus)
    if len(corpus.labels) < 2:
        raise CorpusError(
            f"A corpus needs at least two classes. Received: {name!r} from {corpus.folder} with "
            f"{list(corpus.labels)}. Add clips of another class, or keep more in `classes`."
        )
    return corpus


def load_any(path: str | os.PathLike, *, labels_as_written: bool = False, missing_ok: bool = False) -> Corpus:
    """Reads recordings of one's own: a `.csv` file as a manifest, a folder as one sub-folder a class.

    Args:
        path: The CSV or the folder.
        labels_as_written: As for `load`.
        missing_ok: As for `load`.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: The path is neither, or its content is not such a corpus.

    Example:
        >>> load_any(load("demo").folder / "manifest.csv")
        Corpus(manifest: 480 clips, 4 classes, 60 speakers)
    """
    where = absolute(path)
    if where.is_dir():
        return load("folder", where, labels_as_written=labels_as_written)
    if where.suffix.lower() == ".csv":
        return load("manifest", where, labels_as_written=labels_as_written, missing_ok=missing_ok)
    raise CorpusError(
        "Recordings are given as a .csv manifest or as a folder with one sub-folder a class. "
        f"Received: {where}, which {'is neither' if where.exists() else 'does not exist'}. "
        f"For a published corpus name it: {', '.join(NAMES)}."
    )


def _keep_classes(corpus: Corpus, classes: Sequence[str]) -> Corpus:
    if isinstance(classes, str):
        raise CorpusError(f"`classes` must be a list of labels. Received: {classes!r}. Write [{classes!r}, ...].")
    classes = [composed(label) if isinstance(label, str) else label for label in classes]
    for label in classes:
        if label not in corpus.labels:
            raise CorpusError(
                f"`classes` must be labels of the corpus: {', '.join(corpus.labels)}. "
                f"Received: {label!r}.{did_you_mean(label, corpus.labels)}"
            )
    if len(set(classes)) < len(classes):
        raise CorpusError(f"`classes` lists each label once. Received: {list(classes)}. Delete the second mention.")
    clips = tuple(clip for clip in corpus.clips if clip.label in classes)
    return replace(corpus, clips=clips, labels=tuple(label for label in corpus.labels if label in classes))
