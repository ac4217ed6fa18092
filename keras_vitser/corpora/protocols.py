"""The ways to split a corpus, from the published one, which leaks, to unseen speakers.

Each protocol is a function from a `Corpus` to a `Split`. All but `paper` split the clips first and copy the
training part afterwards, and never put byte-identical clips on two sides.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from keras_vitser.audio import COPIES
from keras_vitser.corpora import ravdess
from keras_vitser.corpora.assembly import assemble, checked_split
from keras_vitser.corpora.checks import check_speakers_named, integer, known_speakers, number_of_copies
from keras_vitser.corpora.choosing import dealt_speakers, shuffled, stratified
from keras_vitser.corpora.corpus import Clip, Corpus
from keras_vitser.corpora.split import Example, Split
from keras_vitser.corpora.unreadable import readable
from keras_vitser.errors import ProtocolError
from keras_vitser.wording import did_you_mean

__all__ = [
    "COPIES",
    "PROTOCOLS",
    "RAVDESS_FOLDS",
    "Example",
    "Split",
    "leave_one_speaker_out",
    "paper",
    "random",
    "speaker_independent",
    "split",
]

# EmoBox (arXiv 2406.07162): the test actors of each of its folds.
RAVDESS_FOLDS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)

MOST_FOLDS_BY_DEFAULT = 5
SPEAKERS_TO_SPARE = 5  # with as many to train on, one speaker in five validates


def paper(corpus: Corpus, *, seed: int = 0) -> Split:
    """The published way, kept to reproduce published figures: augment first, then split. It leaks.

    Four copies of every clip make one pool; a stratified fifth of the pool tests and also chooses the epoch.
    So copies of nearly every test clip, and every speaker, are in the training set. That the authors split so is
    inferred from the totals of their confusion matrices (384 of SAVEE, 428 of EmoDB, 5954 of CREMA-D).

    Args:
        corpus: The `Corpus`.
        seed: Int. Another seed draws another fifth.

    Returns:
        A `Split` with `leaky=True` and the same examples in `validation` and `test`.

    Raises:
        ProtocolError: There are too few clips.

    Example:
        >>> from keras_vitser import corpora
        >>> split = paper(corpora.load("demo"))
        >>> len(split.train), len(split.test), split.leaky
        (1536, 384, True)
    """
    seed = integer("seed", seed)
    pool = [Example(clip, copy) for clip in corpus.clips for copy in range(len(COPIES))]
    labels = [example.clip.label for example in pool]
    total = math.ceil(len(pool) / 5)
    train, test = stratified(pool, labels, total, seed=seed, purpose="paper")
    (train, test), left_out = readable(corpus, train=train, test=test)
    return checked_split(
        corpus,
        "paper",
        train=tuple(train),
        validation=tuple(test),
        test=tuple(test),
        warnings=[
            "Leaky by design: copies of test clips stand in training.",
            "The epoch is chosen on the test part, so the score is that of the luckiest epoch.",
        ],
        leaky=True,
        description=(
            f"The paper's way, which is leaky: of {len(train) + len(test)} images ({len(COPIES)} copies of each clip) "
            f"{len(train)} train and a stratified {len(test)} both choose the epoch and test, "
            f"with copies of the test clips and their speakers in training, seed {seed}."
        ),
        settings={"seed": seed, "copies": len(COPIES)},
        left_out={**left_out, "validation": left_out["test"]},
    )


def random(corpus: Corpus, *, test_fraction: float = 0.2, seed: int = 0, copies: int = 4) -> Split:
    """Random clips, each class in proportion, split before augmenting. Speakers are on all sides.

    Args:
        corpus: The `Corpus`.
        test_fraction: Number above 0 and below 1. Share of the clips to test on.
        seed: Int. Another seed draws other clips.
        copies: Int from 1 to 4. Examples made of each training clip; 1 is no augmentation.

    Returns:
        A `Split`; a stratified fifth of the training clips validates.

    Raises:
        ProtocolError: A setting is out of range or there are too few clips.

    Example:
        >>> from keras_vitser import corpora
        >>> random(corpora.load("demo"))
        Split(demo, random: 1228 train, 77 validation, 96 test)
    """
    seed, copies = integer("seed", seed), number_of_copies(copies)
    if not isinstance(test_fraction, float) or not 0 < test_fraction < 1:
        raise ProtocolError(
            f"`test_fraction` must lie above 0 and below 1. Received: {test_fraction!r}. A usual value is 0.2."
        )
    others, test = _stratified_part(corpus.clips, test_fraction, seed=seed, purpose="random test")
    train, validation = _stratified_part(others, 0.2, seed=seed, purpose="validation")
    return assemble(
        corpus,
        "random",
        train=train,
        validation=validation,
        test=test,
        copies=copies,
        describe=lambda train, validation, test: (
            f"Random clips: {train} train{_in_copies(copies)}, {validation} choose the epoch (a stratified "
            f"20 % of the training clips), {test} test (a stratified {100 * test_fraction:g} % of all), "
            f"speakers not kept apart, seed {seed}."
        ),
        settings={"seed": seed, "copies": copies, "test_fraction": test_fraction},
    )


def speaker_independent(
    corpus: Corpus,
    *,
    test_speakers: Sequence[str] | None = None,
    fold: int | None = None,
    folds: int | None = None,
    seed: int = 0,
    copies: int = 4,
) -> Split:
    """Tests on speakers unseen in training: those named, or those of one fold.

    Folds hold whole speakers, do not depend on the seed, are disjoint and together hold all speakers. Six
    folds of RAVDESS with all its actors are those of EmoBox (arXiv 2406.07162).

    Args:
        corpus: `Corpus` whose speakers are named.
        test_speakers: Names of the speakers to test on; not together with `fold` or `folds`.
        fold: Int from 1 to `folds`. Defaults to 1.
        folds: Int from 2 to the number of speakers. Defaults to 6 for RAVDESS with all its actors, else
            to 5 or the number of speakers, whichever is smaller.
        seed: Int. Draws the validation part.
        copies: Int from 1 to 4. Examples made of each training clip; 1 is no augmentation.

    Returns:
        A `Split`. One in five of the other speakers validates if they are at least five, else a stratified
        fifth of their clips.

    Raises:
        ProtocolError: A clip names no speaker, a setting is out of range, a speaker is unknown, no speaker
            is left to train on, or a class is missing from training.

    Example:
        >>> from keras_vitser import corpora
        >>> split = speaker_independent(corpora.load("demo"), fold=1, folds=30)
        >>> split.settings["test_speakers"], split.speakers_shared
        (['speaker37', 'speaker54'], False)
    """
    check_speakers_named(corpus, "speaker_independent")
    if test_speakers is not None:
        if fold is not None or folds is not None:
            raise ProtocolError(
                "Test speakers are given by name or as a fold, not both. "
                f"Received: test_speakers={test_speakers!r}, fold={fold!r}, folds={folds!r}. Leave one out."
            )
        tested: Sequence[str] = known_speakers(corpus, test_speakers)
        title = "Speakers never heard"
    else:
        all_folds = _folds(corpus, folds)
        folds = len(all_folds)
        fold = integer("fold", 1 if fold is None else fold, 1, folds)
        tested = all_folds[fold - 1]
        title = f"Speakers never heard, fold {fold} of {folds}"
    settings = {"test_speakers": list(tested), "fold": fold, "folds": folds}
    return _apart(corpus, "speaker_independent", tested, title, settings, seed, copies)


def leave_one_speaker_out(
    corpus: Corpus, *, speaker: str | None = None, fold: int | None = None, seed: int = 0, copies: int = 4
) -> Split:
    """Tests on one speaker and trains on the others.

    Args:
        corpus: `Corpus` whose speakers are named.
        speaker: Name of the speaker to test on; not together with `fold`.
        fold: Int from 1 to the number of speakers, in the order of `Corpus.speakers`. Defaults to 1.
        seed: Int. Draws the validation part.
        copies: Int from 1 to 4. Examples made of each training clip; 1 is no augmentation.

    Returns:
        A `Split`, with a validation part as in `speaker_independent`.

    Raises:
        ProtocolError: As in `speaker_independent`.

    Example:
        >>> from keras_vitser import corpora
        >>> leave_one_speaker_out(corpora.load("demo"), speaker="speaker3")
        Split(demo, leave_one_speaker_out: 1536 train, 88 validation, 8 test)
    """
    check_speakers_named(corpus, "leave_one_speaker_out")
    if speaker is not None and fold is not None:
        raise ProtocolError(
            "The speaker to leave out is given by name or as a fold, not both. "
            f"Received: speaker={speaker!r}, fold={fold!r}. Leave one out."
        )
    folds = len(corpus.speakers)
    if speaker is not None:
        (left_out,) = known_speakers(corpus, [speaker])
        fold = corpus.speakers.index(left_out) + 1
    fold = integer("fold", 1 if fold is None else fold, 1, folds)
    left_out = corpus.speakers[fold - 1]
    settings = {"test_speakers": [left_out], "fold": fold, "folds": folds}
    title = f"One speaker left out, fold {fold} of {folds}"
    return _apart(corpus, "leave_one_speaker_out", (left_out,), title, settings, seed, copies)


PROTOCOLS: dict[str, Callable[..., Split]] = {
    "paper": paper,
    "random": random,
    "speaker_independent": speaker_independent,
    "leave_one_speaker_out": leave_one_speaker_out,
}


def split(corpus: Corpus, protocol_name: str, **settings: Any) -> Split:
    """Splits a corpus by the protocol of that name.

    Args:
        corpus: The `Corpus`.
        protocol_name: One of `PROTOCOLS`.
        **settings: The protocol's own settings.

    Returns:
        A `Split`.

    Raises:
        ProtocolError: The name or a setting is unknown, or the protocol refuses the corpus.

    Example:
        >>> from keras_vitser import corpora
        >>> split(corpora.load("demo"), "random", seed=1, copies=1)
        Split(demo, random: 307 train, 77 validation, 96 test)
    """
    if protocol_name not in PROTOCOLS:
        raise ProtocolError(
            f"The protocol must be one of {', '.join(PROTOCOLS)}. "
            f"Received: {protocol_name!r}.{did_you_mean(protocol_name, PROTOCOLS)}"
        )
    protocol = PROTOCOLS[protocol_name]
    known = [name for name in inspect.signature(protocol).parameters if name != "corpus"]
    for name in settings:
        if name not in known:
            raise ProtocolError(
                f"Protocol {protocol_name!r} has the settings {', '.join(known)}. "
                f"Received: {name!r}.{did_you_mean(name, known)}"
            )
    return protocol(corpus, **settings)


def _apart(
    corpus: Corpus,
    name: str,
    tested: Sequence[str],
    title: str,
    settings: dict[str, Any],
    seed: int,
    copies: int,
) -> Split:
    """The split that tests on these speakers and on nobody else."""
    seed, copies = integer("seed", seed), number_of_copies(copies)
    others = [speaker for speaker in corpus.speakers if speaker not in tested]
    if not others:
        raise ProtocolError(
            "At least one speaker must be left to train on. "
            f"Received: {corpus!r} with all speakers in the test part ({', '.join(tested)}). Test on fewer."
        )
    test = [clip for clip in corpus.clips if clip.speaker in tested]
    rest = [clip for clip in corpus.clips if clip.speaker not in tested]
    if len(others) >= SPEAKERS_TO_SPARE:
        drawn = shuffled(others, seed=seed, purpose="validation speakers")
        validating = sorted(drawn[: len(others) // 5])
        validation = [clip for clip in rest if clip.speaker in validating]
        train = [clip for clip in rest if clip.speaker not in validating]
        how = f"whole speakers, neither trained nor tested on: {', '.join(validating)}"
    else:
        train, validation = _stratified_part(rest, 0.2, seed=seed, purpose="validation")
        how = "a stratified 20 % of the training clips, of the training speakers"
    return assemble(
        corpus,
        name,
        train=train,
        validation=validation,
        test=test,
        copies=copies,
        describe=lambda train, validation, test: (
            f"{title}: {train} clips train{_in_copies(copies)}, {validation} choose the epoch ({how}), "
            f"{test} test (speaker{'s' if len(tested) > 1 else ''} {', '.join(tested)}), seed {seed}."
        ),
        settings={"seed": seed, "copies": copies, **settings},
    )


def _folds(corpus: Corpus, folds: int | None) -> Sequence[Sequence[str]]:
    is_whole_ravdess = corpus.name == "ravdess" and corpus.speakers == ravdess.ACTORS
    if folds is None:
        folds = len(RAVDESS_FOLDS) if is_whole_ravdess else min(MOST_FOLDS_BY_DEFAULT, len(corpus.speakers))
    folds = integer("folds", folds, 2, len(corpus.speakers))
    if is_whole_ravdess and folds == len(RAVDESS_FOLDS):
        return RAVDESS_FOLDS
    return dealt_speakers(corpus, folds)


def _stratified_part(
    clips: Sequence[Clip], fraction: float, *, seed: int, purpose: str
) -> tuple[list[Clip], list[Clip]]:
    # Rounded first: 0.07 * 100 is 7.000000000000001, of which the ceiling would be 8.
    total = math.ceil(round(fraction * len(clips), 6))
    return stratified(clips, [clip.label for clip in clips], total, seed=seed, purpose=purpose)


def _in_copies(copies: int) -> str:
    return f" (each in {copies} copies)" if copies > 1 else " (as recorded)"
