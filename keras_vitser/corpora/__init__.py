"""Corpora of emotional speech: clips with label and speaker, and the protocols that split them."""

import importlib
from typing import TYPE_CHECKING, Any

_MODULES = ("leakage", "protocols")
_NAMES = {
    "DESCRIPTIONS": "registry",
    "NAMES": "registry",
    "Clip": "corpus",
    "Corpus": "corpus",
    "Example": "split",
    "Leaks": "leakage",
    "Split": "split",
    "cache_folder": "demo",
    "find_leaks": "leakage",
    "load": "registry",
    "load_any": "registry",
    "sound_files": "reading",
}

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

if TYPE_CHECKING:
    from keras_vitser.corpora import leakage, protocols
    from keras_vitser.corpora.corpus import Clip, Corpus
    from keras_vitser.corpora.demo import cache_folder
    from keras_vitser.corpora.leakage import Leaks, find_leaks
    from keras_vitser.corpora.reading import sound_files
    from keras_vitser.corpora.registry import DESCRIPTIONS, NAMES, load, load_any
    from keras_vitser.corpora.split import Example, Split


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"keras_vitser.corpora.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"keras_vitser.corpora.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'keras_vitser.corpora' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
