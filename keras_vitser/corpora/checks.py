"""Whether a protocol was asked for something that it can do, and with what words it says no."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from keras_vitser.audio import COPIES
from keras_vitser.audio.file_names import composed
from keras_vitser.corpora.corpus import Corpus
from keras_vitser.errors import ProtocolError
from keras_vitser.wording import did_you_mean, listed


def check_speakers_named(corpus: Corpus, protocol: str) -> None:
    """Refuses a corpus whose clips do not all name their speaker, or that has one speaker alone.

    Args:
        corpus: The corpus.
        protocol: The protocol's name, for the error.

    Raises:
        ProtocolError: A clip names no speaker, or there are fewer than two speakers.
    """
    unnamed = [clip.path.name for clip in corpus.clips if clip.speaker is None]
    if unnamed:
        raise ProtocolError(
            f"Protocol {protocol!r} needs every clip's speaker. Received: {corpus!r}, where {len(unnamed)} "
            f"clips name none: {listed(unnamed)}. List the clips in a manifest with a speaker column, or use "
            "the protocol random."
        )
    if len(corpus.speakers) < 2:
        raise ProtocolError(
            f"Protocol {protocol!r} needs at least two speakers. Received: {corpus!r}. Use the protocol random."
        )


def known_speakers(corpus: Corpus, names: Sequence[str] | str) -> tuple[str, ...]:
    """Speakers that were asked for.

    Args:
        corpus: The corpus.
        names: One name or several, in any normal form of Unicode.

    Returns:
        The names in NFC, sorted, each once.

    Raises:
        ProtocolError: There is no name, or one is no speaker of the corpus.
    """
    names = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    if not names:
        raise ProtocolError("`test_speakers` must name at least one speaker. Received: an empty list.")
    for name in names:
        if not isinstance(name, str):
            raise ProtocolError(f"Speakers are named by text. Received: {name!r}. Put the name in quotes.")
    names = [composed(name) for name in names]
    for name in names:
        if name not in corpus.speakers:
            raise ProtocolError(
                f"Speakers must be of the corpus: {listed(corpus.speakers, 30)}. "
                f"Received: {name!r}.{did_you_mean(name, corpus.speakers)}"
            )
    return tuple(sorted(set(names)))


def integer(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """A setting that must be an integer.

    Args:
        name: The setting's name, for the error.
        value: What was given.
        low: The least that is allowed. Defaults to any.
        high: The most that is allowed, where there is a least.

    Returns:
        The value as an int.

    Raises:
        ProtocolError: It is no integer, or out of range.

    Example:
        >>> integer("fold", 2, 1, 5)
        2
    """
    allowed = "an integer" if low is None else f"an integer from {low} to {high}"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if (
        number is None
        or isinstance(value, bool)
        or (low is not None and high is not None and not low <= number <= high)
    ):
        raise ProtocolError(f"`{name}` must be {allowed}. Received: {value!r}.")
    return number


def number_of_copies(copies: int) -> int:
    """The number of examples made of a training clip.

    Args:
        copies: Int from 1 to 4.

    Returns:
        The same.

    Raises:
        ProtocolError: It is something else.
    """
    return integer("copies", copies, 1, len(COPIES))
