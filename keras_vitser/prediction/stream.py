"""Paths in, answers out, a batch at a time: threads decode the next batch while the network hears this one."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from keras_vitser.audio import from_first_sound, heard_share, read_waveform
from keras_vitser.audio.reading_ahead import read_ahead
from keras_vitser.audio.unheard import warn_of_unheard
from keras_vitser.errors import AudioError, NoSamplesError
from keras_vitser.layers import FrontEnd
from keras_vitser.prediction.row import Row
from keras_vitser.recognizer import NOT_FINITE, Recognizer

BATCH = 32  # clips; 8 MB of waveforms
_READERS = min(BATCH, os.cpu_count() or 1)


def predict_stream(
    recognizer: Recognizer,
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
        recognizer: The `Recognizer`.
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
        >>> recognizer = Recognizer(ViTSER.student(2, depth=1), ["calm", "upset"])
        >>> rows = predict_stream(recognizer, [load("demo").clips[0].path, "nowhere.wav"])
        >>> [row.error is None for row in rows]
        [True, False]
    """
    rows = answered(recognizer, paths, folder, start, skip_silence)
    yield from telling_of_unheard(rows, recognizer.front_end.clip_seconds, skip_silence)


def answered(
    recognizer: Recognizer, paths: Iterable[str], folder: str | os.PathLike, start: int, skip_silence: bool
) -> Iterator[Row]:
    """`predict_stream` without its warnings."""
    front_end, parent = recognizer.front_end, Path(folder)

    def read(path):
        return _read(path, parent, front_end, skip_silence)

    reads = read_ahead(read, map(str, paths), _READERS, BATCH)
    while batch := list(islice(reads, BATCH)):
        size = BATCH if start else 1 << (len(batch) - 1).bit_length()
        start += len(batch)
        clips, lengths = front_end.clips([samples for _, samples, _ in batch], rows=size)
        probabilities = recognizer.probabilities(clips, lengths) if lengths.any() else clips
        for (row, samples, is_cut), numbers in zip(batch, probabilities, strict=False):
            if row.error is None and not np.isfinite(numbers).all():
                row = Row(row.path, error=f"{row.path}: {NOT_FINITE}")
            if row.error is not None:
                yield row
                continue
            label = recognizer.labels[int(numbers.argmax())]
            rounded = tuple(round(float(number), 6) for number in numbers)
            seconds = round(len(samples) / front_end.sampling_rate, 3)
            yield Row(row.path, label, rounded, seconds, is_cut, heard=row.heard)


def telling_of_unheard(rows: Iterable[Row], seconds: float, skip_silence: bool) -> Iterator[Row]:
    """The rows, and warnings behind the last if recordings were cut, or are silent."""
    total = cut = silent = 0
    for row in rows:
        total += row.error is None
        cut += row.is_cut
        silent += row.heard == 0
        yield row
    warn_of_unheard(total, cut, silent, seconds, skip_silence)


def _read(path: str, parent: Path, front_end: FrontEnd, skip_silence: bool) -> tuple[Row, np.ndarray, bool]:
    """The path's row, the samples that are used, and whether there were more."""
    rate, window = front_end.sampling_rate, front_end.clip_samples
    try:
        if not path:
            raise NoSamplesError("the manifest has no path in this row")
        waveform = read_waveform(parent / path, sampling_rate=rate)
    except AudioError as error:
        reason = str(error).replace(str(parent / path), path, 1)  # as it stands in the list, wherever that lies
        return Row(path, error=" ".join(reason.split())), np.zeros(0, np.float32), False
    waveform = from_first_sound(waveform, window, rate) if skip_silence and window else waveform
    row = Row(path, heard=round(heard_share(waveform, window or len(waveform), rate), 6))
    used = front_end.used(waveform)
    return row, used.copy(), len(waveform) > len(used)  # a copy: the rest of an hour is let go
