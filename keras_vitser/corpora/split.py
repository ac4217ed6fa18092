"""What a protocol answers: who trains, who chooses the epoch, who tests."""

from dataclasses import dataclass, field
from typing import Any

from keras_vitser.corpora.corpus import Clip, Corpus


@dataclass(frozen=True)
class Example:
    """One clip as a network is given it.

    Attributes:
        clip: The recording.
        copy: Int, a place in `COPIES`: 0 as recorded, 1 with noise, 2 at another speed, 3 shifted in
            time.

    Example:
        >>> from pathlib import Path
        >>> from keras_vitser.audio import COPIES
        >>> COPIES[Example(Clip(Path("a.wav"), "anger"), copy=2).copy]
        'speed'
    """

    clip: Clip
    copy: int = 0


@dataclass(frozen=True)
class Split:
    """A corpus in three parts.

    Attributes:
        corpus: The `Corpus` that was split.
        protocol: The protocol's name.
        train: Examples to learn from.
        validation: Examples to choose the epoch by.
        test: Examples to measure on.
        warnings: Sentences that belong beside every score on this split.
        leaky: Whether the protocol puts copies of one clip on both sides.
        speakers_shared: Whether a test speaker is in the training set; true where speakers are not
            named.
        description: One sentence: the parts, how each was made, fold and seed.
        settings: Dict of plain values: the protocol's settings as resolved (seed, copies, test
            speakers, ...).
        left_out: Dict from the name of a part to its number of recordings that cannot be read, which are
            left out.

    Example:
        >>> from keras_vitser import corpora
        >>> split = corpora.protocols.speaker_independent(corpora.load("demo"), test_speakers=["speaker2"])
        >>> len(split.train), len(split.validation), len(split.test), split.speakers_shared
        (1536, 88, 8, False)
    """

    corpus: Corpus
    protocol: str
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    warnings: tuple[str, ...]
    leaky: bool
    speakers_shared: bool
    description: str
    settings: dict[str, Any] = field(hash=False)
    left_out: dict[str, int] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        return (
            f"Split({self.corpus.name}, {self.protocol}: {len(self.train)} train, "
            f"{len(self.validation)} validation, {len(self.test)} test)"
        )
