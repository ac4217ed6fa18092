"""From a config and recordings to the images of a split; runs and searches share it."""

import os
from collections.abc import Callable, Iterable

import numpy as np

from keras_vitser import corpora
from keras_vitser.audio import Augmentation
from keras_vitser.corpora import Split, cache_folder, protocols
from keras_vitser.errors import ConfigError
from keras_vitser.experiments.config import Config
from keras_vitser.experiments.image_cache import ImageCache
from keras_vitser.experiments.stages import Part
from keras_vitser.layers import LogMelImage


def front_end_of(config: Config) -> LogMelImage:
    """The front end of a config.

    Raises:
        ConfigError: Its settings do not fit together.

    Example:
        >>> front_end_of(Config()).image_size
        (128, 128)
    """
    try:
        return LogMelImage(**config.front_end.model_dump(), name="front_end")
    except ValueError as error:
        raise ConfigError(f"front_end: {error}") from None


def split_of(config: Config, data: str | os.PathLike | None) -> Split:
    """The recordings, divided as the config says.

    Raises:
        CorpusError: The data is not the corpus.
        ProtocolError: It cannot be divided so.

    Example:
        >>> from keras_vitser.experiments.config_files import load_config
        >>> len(split_of(load_config("demo"), None).test)
        32
    """
    corpus = corpora.load(
        config.corpus.name, data, config.corpus.classes, labels_as_written=config.corpus.labels_as_written
    )
    settings = {"seed": config.seed, **config.protocol.settings()}
    if config.protocol.name != "paper":
        settings["copies"] = config.augmentation.copies
    return protocols.split(corpus, config.protocol.name, **settings)


def parts_of(
    config: Config,
    front_end: LogMelImage,
    split: Split,
    names: Iterable[str],
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> list[Part]:
    """Images and labels of the named parts; those of other parts are not computed.

    Args:
        config: The config.
        front_end: Its front end.
        split: The split.
        names: Of `train`, `validation` and `test`.
        progress: Called with a task, the steps done and all its steps.

    Raises:
        AudioError: A recording cannot be used.

    Example:
        >>> from keras_vitser.experiments.config_files import load_config
        >>> config = load_config("demo", {"front_end": {"n_mels": 16, "frames": 16},
        ...     "teacher.patch_size": [16, 1], "student.patch_size": [16, 1]})
        >>> parts_of(config, front_end_of(config), split_of(config, None), ["test"])[0].images.shape
        (32, 16, 16, 1)
    """
    augmentation = config.augmentation
    strengths = Augmentation(augmentation.noise_snr_db, augmentation.speed, augmentation.shift_seconds)
    cache = ImageCache(cache_folder(), front_end, strengths, config.seed)
    parts = []
    for name in names:
        examples = getattr(split, name)
        images = cache.images(examples, lambda done, total, name=name: progress(f"{name} images", done, total))
        labels = np.array([split.corpus.label_index(example.clip) for example in examples], np.int32)
        parts.append(Part(images, labels))
    return parts
