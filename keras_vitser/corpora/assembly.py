"""From three lists of clips to a checked `Split`: no recording on two sides, no class unlearned."""

from collections.abc import Callable, Sequence
from typing import Any

from keras_vitser.corpora.corpus import Clip, Corpus
from keras_vitser.corpora.identity import recording_keys
from keras_vitser.corpora.split import Example, Split
from keras_vitser.corpora.unreadable import left_out_sentence, readable
from keras_vitser.errors import ProtocolError
from keras_vitser.wording import listed


def assemble(
    corpus: Corpus,
    protocol: str,
    *,
    train: Sequence[Clip],
    validation: Sequence[Clip],
    test: Sequence[Clip],
    copies: int,
    describe: Callable[[int, int, int], str],
    settings: dict[str, Any],
) -> Split:
    """Leaves out what cannot be read, copies the training clips, keeps identical recordings on one side.

    Args:
        corpus: The whole corpus.
        protocol: The protocol's name.
        train: Clips to train on. Those that validation or test hold byte for byte are left out.
        validation: Clips to choose the epoch by. Those that test holds byte for byte are left out.
        test: Clips to measure on.
        copies: Int. Examples made of each training clip; the other parts stay as recorded.
        describe: Function from the numbers of clips that train, validate and test to `Split.description`.
        settings: The protocol's settings as resolved.

    Returns:
        A `Split` that is not leaky.

    Raises:
        ProtocolError: A part is empty, or a class is missing from training.
    """
    (train, validation, test), left_out = readable(corpus, train=train, validation=validation, test=test)
    keys = recording_keys([*train, *validation, *test])
    validation, warnings = _without(validation, test, keys, "validation")
    train, more_warnings = _without(train, [*validation, *test], keys, "training")
    return checked_split(
        corpus,
        protocol,
        train=tuple(Example(clip, copy) for clip in train for copy in range(copies)),
        validation=tuple(Example(clip) for clip in validation),
        test=tuple(Example(clip) for clip in test),
        warnings=[*warnings, *more_warnings],
        leaky=False,
        description=describe(len(train), len(validation), len(test)),
        settings=settings,
        left_out=left_out,
    )


def checked_split(
    corpus: Corpus,
    protocol: str,
    *,
    train: tuple[Example, ...],
    validation: tuple[Example, ...],
    test: tuple[Example, ...],
    warnings: list[str],
    leaky: bool,
    description: str,
    settings: dict[str, Any],
    left_out: dict[str, int],
) -> Split:
    """A `Split` with the warnings that its parts give: unreadable clips, missing classes, shared or unnamed speakers.

    Args:
        corpus: The whole corpus.
        protocol: The protocol's name.
        train: Examples to train on.
        validation: Examples to choose the epoch by.
        test: Examples to measure on.
        warnings: Those that are known already; the others are added to this list.
        leaky: Whether the protocol puts copies of one clip on both sides.
        description: One sentence: the parts, and how each was made.
        settings: The protocol's settings as resolved.
        left_out: Recordings that cannot be read, counted by part.

    Returns:
        A `Split`.

    Raises:
        ProtocolError: A part is empty, or a class is missing from training.
    """
    unreadable = left_out_sentence(corpus, left_out)
    why = f"{unreadable} " if unreadable else ""
    for part, examples in (("training", train), ("validation", validation), ("test", test)):
        if not examples:
            raise ProtocolError(
                f"Protocol {protocol!r} leaves no clip for the {part} part. Received: {corpus!r}, too few "
                f"clips for three parts. {why}Add clips (ten of each class are a start) or leave out small classes."
            )
        missing = _missing_classes(corpus, examples)
        if missing and part == "training":
            raise ProtocolError(
                f"Every class must stand in training. Received: {corpus!r}, where protocol {protocol!r} "
                f"leaves no training clip of {', '.join(missing)}. {why}Choose another fold, seed or test "
                "speakers, or leave the class out with `classes`."
            )
        if missing:
            warnings.append(f"The {part} part holds no clip of {', '.join(missing)}.")
    if unreadable:
        warnings.insert(0, unreadable)
    named_in_training = {example.clip.speaker for example in train} - {None}
    unnamed = sum(clip.speaker is None for clip in corpus.clips)
    shared = unnamed > 0 or any(example.clip.speaker in named_in_training for example in test)
    if unnamed:
        warnings.append(
            f"{unnamed} of {len(corpus)} clips name no speaker, so test speakers must be taken to stand in training."
        )
    elif shared:
        warnings.append("Test speakers stand in training: a score says nothing about a speaker never heard.")
    return Split(
        corpus, protocol, train, validation, test, tuple(warnings), leaky, shared, description, settings, left_out
    )


def _without(
    clips: Sequence[Clip], others: Sequence[Clip], keys: dict[Clip, str], part: str
) -> tuple[list[Clip], list[str]]:
    taken = {keys[clip] for clip in others}
    kept = [clip for clip in clips if keys[clip] not in taken]
    dropped = [clip.path.name for clip in clips if keys[clip] in taken]
    if not dropped:
        return kept, []
    return kept, [
        f"Left out of {part}, because another part holds the same recording byte for byte: {listed(dropped)}."
    ]


def _missing_classes(corpus: Corpus, examples: Sequence[Example]) -> list[str]:
    present = {example.clip.label for example in examples}
    return [label for label in corpus.labels if label not in present]
