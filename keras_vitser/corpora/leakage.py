"""Who is on both sides of a split: counted from its parts, whatever its protocol promised."""

from collections.abc import Iterable
from dataclasses import dataclass

from keras_vitser.corpora.identity import recording_keys
from keras_vitser.corpora.split import Example, Split


@dataclass(frozen=True)
class Leaks:
    """How many examples of one part have their clip or their speaker in another.

    Attributes:
        test: Int. Examples in the test part.
        same_clip: Int. Test examples whose clip, or one of the same bytes, is in the training set in any
            copy.
        same_speaker: Int. Test examples whose speaker is in the training set.
        unnamed_speaker: Int. Test examples that name no speaker, so that nothing can be said.
        test_in_validation: Int. Test examples whose clip, or one of the same bytes, chooses the epoch.
        validation: Int. Examples in the validation part.
        validation_same_clip: Int. Validation examples whose clip is in the training set.
        validation_same_speaker: Int. Validation examples whose speaker is in the training set.

    Example:
        >>> from keras_vitser import corpora
        >>> find_leaks(corpora.protocols.paper(corpora.load("demo"))).same_speaker
        384
    """

    test: int
    same_clip: int
    same_speaker: int
    unnamed_speaker: int
    test_in_validation: int
    validation: int
    validation_same_clip: int
    validation_same_speaker: int

    def sentence(self) -> str:
        """One plain line for people."""
        line = (
            f"Of {self.test} test examples {_number(self.same_clip)} a copy of the clip in training, "
            f"{_number(self.same_speaker)} the speaker in training"
        )
        if self.unnamed_speaker:
            line += f" ({self.unnamed_speaker} name no speaker)"
        if self.test_in_validation:
            line += f", and {self.test_in_validation} also chose the epoch"
        return line + "."


def find_leaks(split: Split) -> Leaks:
    """Counts the examples of a split that have their clip or their speaker on another side.

    Args:
        split: A `Split` of any protocol, or one put together by hand.

    Returns:
        The counts.

    Raises:
        CorpusError: A clip's file is missing or cannot be read.

    Example:
        >>> from keras_vitser import corpora
        >>> split = corpora.protocols.speaker_independent(corpora.load("demo"))
        >>> find_leaks(split).sentence()
        'Of 96 test examples none has a copy of the clip in training, none has the speaker in training.'
    """
    keys = recording_keys(example.clip for part in (split.train, split.validation, split.test) for example in part)

    def same_clip(examples: Iterable[Example], others: Iterable[Example]) -> int:
        taken = {keys[other.clip] for other in others}
        return sum(keys[example.clip] in taken for example in examples)

    return Leaks(
        test=len(split.test),
        same_clip=same_clip(split.test, split.train),
        same_speaker=_same_speaker(split.test, split.train),
        unnamed_speaker=sum(example.clip.speaker is None for example in split.test),
        test_in_validation=same_clip(split.test, split.validation),
        validation=len(split.validation),
        validation_same_clip=same_clip(split.validation, split.train),
        validation_same_speaker=_same_speaker(split.validation, split.train),
    )


def _same_speaker(examples: Iterable[Example], others: Iterable[Example]) -> int:
    taken = {other.clip.speaker for other in others} - {None}
    return sum(example.clip.speaker in taken for example in examples)


def _number(count: int) -> str:
    return {0: "none has", 1: "1 has"}.get(count, f"{count} have")
