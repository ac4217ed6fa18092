"""Recordings that cannot be read: all named in one error, or left out of a split and counted beside its scores."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TypeVar

from keras_vitser.corpora.corpus import Clip, Corpus
from keras_vitser.corpora.split import Example
from keras_vitser.errors import UnreadableRecordingsError
from keras_vitser.wording import listed

_MOST_NAMED = 20
_TO_DO = "Mend or delete them, or leave them out with --leave-out-unreadable (in a config: corpus.leave_out_unreadable)"

Item = TypeVar("Item", Clip, Example)


def readable(corpus: Corpus, **parts: Sequence[Item]) -> tuple[list[list[Item]], dict[str, int]]:
    """The parts of a split without the clips that `corpus.unreadable` names, and how many of these each had.

    Args:
        corpus: The corpus.
        **parts: Clips or examples by the name of their part.

    Returns:
        A list a part, in the order given, and a dict from the name of a part to the number of clips that it lost.

    Example:
        >>> from pathlib import Path
        >>> good, bad = (Clip(Path(name), "anger") for name in ("a.wav", "b.wav"))
        >>> corpus = Corpus("mine", Path(), (good, bad), ("anger",), "mine", unreadable=frozenset({bad}))
        >>> parts, left_out = readable(corpus, train=[bad], test=[good])
        >>> parts == [[], [good]], left_out
        (True, {'train': 1, 'test': 0})
    """
    kept, left_out = [], {}
    for name, items in parts.items():
        kept.append([item for item in items if _clip(item) not in corpus.unreadable])
        left_out[name] = len({_clip(item) for item in items} & corpus.unreadable)
    return kept, left_out


def left_out_sentence(corpus: Corpus, left_out: Mapping[str, int] | None = None) -> str:
    """How many recordings are left out because they cannot be read, by part, and the first of them by name.

    Args:
        corpus: The corpus.
        left_out: Number of clips by part, or `None` where there are no parts.

    Returns:
        One sentence, or `""` where all can be read.

    Example:
        >>> from pathlib import Path
        >>> clip = Clip(Path("a.wav"), "anger")
        >>> left_out_sentence(Corpus("mine", Path(), (clip,), ("anger",), "mine", unreadable=frozenset({clip})))
        '1 of 1 recordings cannot be read and is left out: a.wav.'
    """
    if not corpus.unreadable:
        return ""
    names = [corpus.relative_path(clip) for clip in corpus.clips if clip in corpus.unreadable]
    by_part = ", ".join(f"{count} of {part}" for part, count in (left_out or {}).items() if count)
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{len(names)} of {len(corpus)} recordings cannot be read and {verb} left out"
        f"{' (' + by_part + ')' if by_part else ''}: {listed(names)}."
    )


def by_reason(corpus: Corpus, reasons: Mapping[Clip, Exception]) -> str:
    """The recordings that cannot be read, those of one reason together, at most 20 by name.

    Args:
        corpus: The corpus.
        reasons: Why, by clip; a clip's path at the start of a message is left out.

    Returns:
        One line.

    Example:
        >>> from pathlib import Path
        >>> clips = [Clip(Path(name), "anger") for name in ("a.wav", "b.wav")]
        >>> corpus = Corpus("mine", Path(), clips, ("anger",), "mine")
        >>> by_reason(corpus, {clip: ValueError("is empty") for clip in clips})
        'a.wav, b.wav: is empty'
    """
    names = defaultdict(list)
    for clip, error in islice(reasons.items(), _MOST_NAMED):
        names[str(error).removeprefix(f"{clip.path}: ")].append(corpus.relative_path(clip))
    groups = [f"{', '.join(of_reason)}: {reason}" for reason, of_reason in names.items()]
    if len(reasons) > _MOST_NAMED:
        groups.append(f"and {len(reasons) - _MOST_NAMED} more")
    return " | ".join(groups)


def unreadable_error(
    corpus: Corpus, reasons: Mapping[Clip, Exception], to_do: str = _TO_DO
) -> UnreadableRecordingsError:
    """One error for all recordings that cannot be read.

    Args:
        corpus: The corpus.
        reasons: Why, by clip.
        to_do: What can be done.

    Returns:
        The error, to be raised.
    """
    return UnreadableRecordingsError(
        f"{len(reasons)} of {len(corpus)} recordings in {corpus.folder} cannot be read: {by_reason(corpus, reasons)}. "
        f"{to_do}"
    )


def _clip(item: Clip | Example) -> Clip:
    return item.clip if isinstance(item, Example) else item
