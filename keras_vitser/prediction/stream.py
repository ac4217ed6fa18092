"""Paths in, answers out, a batch at a time: threads decode the next batch while the network hears this one."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from keras_vitser.audio import read_waveform
from keras_vitser.audio.reading_ahead import read_ahead
from keras_vitser.audio.unheard import warn_of_unheard
from keras_vitser.errors import AudioError, NoSamplesError
from keras_vitser.layers import FrontEnd
from keras_vitser.prediction.answering import NOT_FINITE, Answer, Excerpt, answers_of, excerpt_of
from keras_vitser.prediction.classifier import Classifier
from keras_vitser.prediction.row import Row

BATCH = 32  # clips; 8 MB of waveforms
_READERS = min(BATCH, os.cpu_count() or 1)


def predict_stream(
    recognizer: Classifier,
    paths: Iterable[str],
    *,
    folder: str | os.PathLike = "",
    start: int = 0,
    skip_silence: bool = False,
) -> Iterator[Row]:
    """Answers any number of recordings in constant memory; one that cannot be read stops nothing.

    At most two batches of 32 are held. Each batch goes through the same compiled graph: the
    last is filled up with silence, and where there are less than 32 recordings in all, up to
    a power of two. A recording's answer depends on its number in the list and on nothing else
    that happens, so that a list that is taken up again ends as one that was not stopped.

    Args:
        recognizer: The `Recognizer`, or another `Classifier`.
        paths: Paths of sound files.
        folder: Where relative paths begin. Defaults to the working folder.
        start: Int, a multiple of 32: how many recordings were answered before.
        skip_silence: Bool. Whether a recording longer than the network's window is used from its first sound on.
            Defaults to `False`.

    Yields:
        A `Row` a path, in their order. At the end, a warning tells how many were cut, and one in how many nothing was
        heard.

    Example:
        >>> from keras_vitser.corpora import load
        >>> from keras_vitser.models import ViTSER
        >>> from keras_vitser.recognizer import Recognizer
        >>> recognizer = Recognizer(ViTSER.student(2, depth=1), ["calm", "upset"])
        >>> rows = predict_stream(recognizer, [load("demo").clips[0].path, "nowhere.wav"])
        >>> [row.error is None for row in rows]
        [True, False]
    """
    rows = answered(recognizer, paths, folder, start, skip_silence)
    yield from telling_of_unheard(rows, recognizer.front_end.clip_seconds, skip_silence)


def answered(
    model: Classifier, paths: Iterable[str], folder: str | os.PathLike, start: int, skip_silence: bool
) -> Iterator[Row]:
    """`predict_stream` without its warnings."""
    parent = Path(folder)

    def read(path: str) -> tuple[str, Excerpt | None, str | None]:
        return path, *_read(path, parent, model.front_end, skip_silence)

    reads = read_ahead(read, map(str, paths), _READERS, BATCH)
    while batch := list(islice(reads, BATCH)):
        answers = answers_of(model, [excerpt for _, excerpt, _ in batch], rows=BATCH if start else None)
        start += len(batch)
        for (path, _, error), answer in zip(batch, answers, strict=True):
            yield _row(path, answer, error)


def telling_of_unheard(rows: Iterable[Row], seconds: float | None, skip_silence: bool) -> Iterator[Row]:
    """The rows, and warnings behind the last if recordings were cut, or are silent."""
    total = cut = silent = 0
    for row in rows:
        total += row.error is None
        cut += row.is_cut
        silent += row.heard == 0
        yield row
    warn_of_unheard(total, cut, silent, seconds, skip_silence)


def _read(path: str, parent: Path, front_end: FrontEnd, skip_silence: bool) -> tuple[Excerpt, None] | tuple[None, str]:
    """What is used of a recording, or why it cannot be read."""
    try:
        if not path:
            raise NoSamplesError("the manifest has no path in this row")
        waveform = read_waveform(parent / path, sampling_rate=front_end.sampling_rate)
    except AudioError as error:
        reason = str(error).replace(str(parent / path), path, 1)  # as it stands in the list, wherever that lies
        return None, " ".join(reason.split())
    return excerpt_of(waveform, front_end, skip_silence), None


def _row(path: str, answer: Answer | None, error: str | None) -> Row:
    if answer is None:
        return Row(path, error=error or f"{path}: {NOT_FINITE}")
    return Row(
        path,
        answer.label,
        tuple(round(float(number), 6) for number in answer.probabilities),
        round(answer.seconds_used, 3),
        answer.is_cut,
        heard=None if answer.heard is None else round(answer.heard, 6),
    )
