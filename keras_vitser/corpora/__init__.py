"""Corpora of emotional speech: clips with label and speaker, and the protocols that split them."""

from keras_vitser.corpora import leakage, protocols
from keras_vitser.corpora.corpus import Clip, Corpus
from keras_vitser.corpora.demo import cache_folder
from keras_vitser.corpora.leakage import Leaks, find_leaks
from keras_vitser.corpora.reading import sound_files
from keras_vitser.corpora.registry import DESCRIPTIONS, NAMES, load, load_any
from keras_vitser.corpora.split import Example, Split

__all__ = [
    "DESCRIPTIONS",
    "NAMES",
    "Clip",
    "Corpus",
    "Example",
    "Leaks",
    "Split",
    "cache_folder",
    "find_leaks",
    "leakage",
    "load",
    "load_any",
    "protocols",
    "sound_files",
]
