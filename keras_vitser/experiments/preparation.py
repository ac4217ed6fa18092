"""From a config and recordings to the examples of a split; runs and searches share it."""

import functools
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_vitser import corpora
from keras_vitser.audio import Augmentation
from keras_vitser.corpora import Clip, Corpus, Split, cache_folder, protocols
from keras_vitser.corpora.identity import recording_keys
from keras_vitser.corpora.unreadable import by_reason, unreadable_error
from keras_vitser.errors import KerasViTSERError, ProtocolError
from keras_vitser.experiments.config import Common
from keras_vitser.experiments.feature_store import FeatureStore
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.experiments.stages import Part
from keras_vitser.experiments.systems import system_of
from keras_vitser.layers import FrontEnd

log = logging.getLogger(__name__)


def front_end_of(config: Common) -> FrontEnd:
    """The front end of a config.

    Raises:
        ConfigError: Its settings do not fit together.

    Example:
        >>> from keras_vitser.experiments.config import Config
        >>> front_end_of(Config()).image_size
        (128, 128)
    """
    return system_of(config).front_end(config)


def split_of(config: Common, data: str | os.PathLike | None, left_out: Collection[Sequence] = ()) -> Split:
    """The recordings, divided as the config says. No recording is decoded.

    Args:
        config: The config.
        data: Where the recordings are.
        left_out: Path (from the corpus' folder), label and speaker of recordings that were found to be unreadable. Now
            they may be gone, or mended.

    Raises:
        CorpusError: The data is not the corpus.
        ProtocolError: It cannot be divided so.

    Example:
        >>> from keras_vitser.experiments.config import load_config
        >>> len(split_of(load_config("demo"), None).test)
        160
    """
    corpus = _corpus_of(config, data)
    here = {corpus.relative_path(clip): clip for clip in corpus.clips} if left_out else {}
    gone = [
        Clip(Path(os.path.normpath(corpus.folder / path)), label, speaker)
        for path, label, speaker in left_out
        if path not in here
    ]
    unreadable = frozenset([*gone, *(here[path] for path, _, _ in left_out if path in here)])
    return _divided(config, replace(corpus, clips=(*corpus.clips, *gone), unreadable=unreadable))


def readable_split_of(
    config: Common,
    data: str | os.PathLike | None,
    refuse: Callable[[Split], None] = lambda split: None,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> Split:
    """`split_of`, after every recording was read once; what comes of it is kept for `parts_of`.

    Args:
        config: The config; it says whether recordings that cannot be read are refused or left out.
        data: Where the recordings are.
        refuse: Called with the split, the first time before anything is read, so that it may raise early.
        progress: Called with a task, the steps done and all its steps.

    Raises:
        UnreadableRecordingsError: Recordings cannot be read; the message names them all.
        CorpusError: The data is not the corpus.
        ProtocolError: It cannot be divided so.
        RunFolderError: What comes of them cannot be kept.

    Example:
        >>> from keras_vitser.experiments.config import load_config
        >>> config = load_config("demo", {"front_end": {"n_mels": 16, "frames": 16},
        ...     "teacher.patch_size": [16, 1], "student.patch_size": [16, 1]})
        >>> readable_split_of(config, None).left_out
        {'train': 0, 'validation': 0, 'test': 0}
    """
    corpus = _corpus_of(config, data)
    if all(os.access(clip.path, os.R_OK) for clip in corpus.clips):  # else dividing stops at the first that is not
        try:
            refuse(_divided(config, corpus))
        except ProtocolError:
            # Copies of one bad file count as one recording, and may take a class or a part all its clips.
            if not _unreadable(config, _copies_of(corpus), progress):
                raise
    reasons = _unreadable(config, corpus, progress)
    if reasons and not config.corpus.leave_out_unreadable:
        raise unreadable_error(corpus, reasons)
    if reasons:
        log.warning("recordings that cannot be read are left out: %s", by_reason(corpus, reasons))
    split = _divided(config, replace(corpus, unreadable=frozenset(reasons)))
    refuse(split)
    return split


def refuse_unreadable(
    config: Common, corpus: Corpus, progress: Callable[[str, int, int], None] = lambda task, done, total: None
) -> None:
    """Reads every recording that is not left out already, of a run that was begun before.

    Raises:
        UnreadableRecordingsError: Recordings cannot be read; the message names them all.
        RunFolderError: What comes of them cannot be kept.
    """
    if reasons := _unreadable(config, corpus, progress):
        raise unreadable_error(corpus, reasons, "They could be read as the run began: mend them, or begin a new run")


def parts_of(
    config: Common,
    front_end: FrontEnd,
    split: Split,
    names: Iterable[str],
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> list[Part]:
    """Examples of the named parts; those of other parts are not computed.

    Args:
        config: The config.
        front_end: Its front end.
        split: The split.
        names: Of `train`, `validation` and `test`.
        progress: Called with a task, the steps done and all its steps.

    Raises:
        AudioError: A recording cannot be used.

    Example:
        >>> from keras_vitser.experiments.config import load_config
        >>> config = load_config("demo", {"front_end": {"n_mels": 16, "frames": 16},
        ...     "teacher.patch_size": [16, 1], "student.patch_size": [16, 1]})
        >>> parts_of(config, front_end_of(config), split_of(config, None), ["test"])[0].x.shape
        (160, 16, 16, 1)
    """
    store = _store(config, front_end)
    parts = []
    for name in names:
        examples = getattr(split, name)
        x = store.features(examples, functools.partial(progress, f"{name} images"))
        labels = np.array([split.corpus.label_index(example.clip) for example in examples], np.int32)
        parts.append(Part(x, labels))
    return parts


def _corpus_of(config: Common, data: str | os.PathLike | None) -> Corpus:
    section = config.corpus
    return corpora.load(
        section.name, data, section.classes, labels_as_written=section.labels_as_written, missing_ok=True
    )


def _copies_of(corpus: Corpus) -> Corpus:
    """The clips of which there are others with the same bytes."""
    keys = recording_keys(corpus.clips)
    counts = Counter(keys.values())
    return replace(corpus, clips=tuple(clip for clip in corpus.clips if counts[keys[clip]] > 1))


def _divided(config: Common, corpus: Corpus) -> Split:
    settings = {"seed": config.seed, **config.protocol.settings()}
    if config.protocol.name != "paper":
        settings["copies"] = config.augmentation.copies
    return protocols.split(corpus, config.protocol.name, **settings)


def _unreadable(
    config: Common, corpus: Corpus, progress: Callable[[str, int, int], None]
) -> dict[Clip, KerasViTSERError]:
    clips = [clip for clip in corpus.clips if clip not in corpus.unreadable]
    try:
        return _store(config, front_end_of(config)).unreadable(
            clips, lambda done, total: progress("recordings", done, total)
        )
    except OSError as error:
        if isinstance(error, KerasViTSERError):
            raise
        raise RunFolder(cache_folder()).cannot_be_written(error) from error


def _store(config: Common, front_end: FrontEnd) -> FeatureStore:
    augmentation = config.augmentation
    strengths = Augmentation(augmentation.noise_snr_db, augmentation.speed, augmentation.shift_seconds)
    return FeatureStore(cache_folder(), front_end, strengths, config.seed, config.stored_as)
