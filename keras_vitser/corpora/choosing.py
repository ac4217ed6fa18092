"""How clips and speakers are drawn: the same on every machine, whatever the version of Python and NumPy."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

from keras_vitser.corpora.corpus import Corpus

Item = TypeVar("Item")


def shuffled(items: Sequence[Item], *, seed: int, purpose: str) -> list[Item]:
    """The items in an order drawn from seed and purpose.

    The order is that of SHA-256 over purpose, seed and place, which no library's random generator can change.

    Args:
        items: In a fixed order.
        seed: Int.
        purpose: What is drawn; two purposes draw independently from one seed.

    Returns:
        All items, in another order.

    Example:
        >>> shuffled("abcde", seed=0, purpose="doc") == shuffled("abcde", seed=0, purpose="doc")
        True
    """

    def draw(place: int) -> bytes:
        return hashlib.sha256(f"{purpose}/{seed}/{place}".encode()).digest()

    return [items[place] for place in sorted(range(len(items)), key=draw)]


def shares(counts: Sequence[int], total: int) -> list[int]:
    """Shares out `total` among classes in proportion, by largest remainder.

    Every share lies within one of its exact proportion. A class is never taken whole, so that one clip of it
    is left to train on; where that holds too much back, the shares add up to less than `total`.

    Args:
        counts: Clips of each class, each at least 1.
        total: Int, at most the sum of `counts`. Clips to take.

    Returns:
        Clips to take of each class.

    Example:
        >>> shares([60, 60, 120], 49)
        [12, 12, 25]
    """
    whole = sum(counts)
    taken = [min(total * count // whole, count - 1) for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda index: -(total * counts[index] % whole))
    for index in by_remainder:
        if sum(taken) < total and taken[index] < counts[index] - 1:
            taken[index] += 1
    return taken


def stratified(
    items: Sequence[Item], labels: Sequence[str], total: int, *, seed: int, purpose: str
) -> tuple[list[Item], list[Item]]:
    """Draws `total` items, each class in proportion.

    Args:
        items: In a fixed order.
        labels: The label of each item.
        total: Int. Items to draw.
        seed: Int.
        purpose: As in `shuffled`.

    Returns:
        The items left and the items drawn, both in their old order.

    Example:
        >>> stratified([1, 2, 3, 4], ["a", "a", "b", "b"], 2, seed=1, purpose="doc")
        ([2, 4], [1, 3])
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        places[label].append(place)
    drawn: set[int] = set()
    for (label, of_class), number in zip(
        places.items(), shares([len(of_class) for of_class in places.values()], total), strict=True
    ):
        drawn.update(shuffled(of_class, seed=seed, purpose=f"{purpose}/{label}")[:number])
    left = [item for place, item in enumerate(items) if place not in drawn]
    return left, [item for place, item in enumerate(items) if place in drawn]


def dealt_speakers(corpus: Corpus, folds: int) -> list[tuple[str, ...]]:
    """Assigns a corpus' speakers to folds of nearly equal numbers of clips; without a seed, so always alike.

    Args:
        corpus: `Corpus` whose speakers are named.
        folds: Int from 2 to the number of speakers.

    Returns:
        The speakers of each fold, sorted. Folds are disjoint, none is empty, and together they hold all speakers.
    """
    clips = {speaker: sum(clip.speaker == speaker for clip in corpus.clips) for speaker in corpus.speakers}
    drawn = shuffled(corpus.speakers, seed=0, purpose="speaker folds")
    members: list[list[str]] = [[] for _ in range(folds)]
    for speaker in sorted(drawn, key=lambda speaker: -clips[speaker]):
        smallest = min(members, key=lambda fold: (sum(clips[other] for other in fold), len(fold)))
        smallest.append(speaker)
    return [tuple(sorted(fold)) for fold in members]
