"""A long recording as windows that overlap, each answered as a recording by itself, and never held as a whole."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from keras_vitser.audio import waveform_of
from keras_vitser.audio.reading import read_blocks
from keras_vitser.errors import PredictionError
from keras_vitser.prediction.answering import NOT_FINITE, Answer, answers_of, excerpt_of
from keras_vitser.prediction.classifier import Classifier
from keras_vitser.prediction.stream import BATCH


@dataclass(frozen=True)
class Window:
    """A part of a recording, and the answer to it.

    Attributes:
        start: Where it begins, in seconds.
        samples: float32 array `(samples,)`.
        answer: The network's answer to it.
    """

    start: float
    samples: np.ndarray
    answer: Answer


def answered_windows(
    model: Classifier, blocks: Iterable[np.ndarray], step_seconds: float, most: int | None = None
) -> Iterator[Window]:
    """Asks again and again over a recording, in batches of 32 windows.

    Args:
        model: The `Classifier`.
        blocks: What `blocks_of` gives. No more of them are taken than the windows that are asked for need.
        step_seconds: Positive float, seconds between the starts of two windows, at most a window's length.
        most: Positive int, windows after which no more are answered. Defaults to none.

    Yields:
        A `Window` for each that lies in the recording as a whole, in their order; of a recording shorter than one, one.

    Raises:
        AudioError: The recording cannot be read; the message says why.
        PredictionError: The network's answer is no number, or its front end has no window.

    Example:
        >>> from keras_vitser.models import ViTSER
        >>> model = Classifier(ViTSER.student(2, depth=1), ["calm", "upset"])
        >>> [window.start for window in answered_windows(model, [np.zeros(96000, "float32")], step_seconds=1.0)]
        [0.0, 1.0, 2.0]
    """
    front_end = model.front_end
    if front_end.clip_samples is None:
        raise PredictionError("this model hears a recording as a whole, so that it has no windows; ask for its answer")
    step = round(step_seconds * front_end.sampling_rate)
    windows = enumerate(islice(windows_of(blocks, front_end.clip_samples, step), most))
    while batch := list(islice(windows, BATCH)):
        answers = answers_of(model, [excerpt_of(samples, front_end) for _, samples in batch])
        for (number, samples), answer in zip(batch, answers, strict=True):
            if answer is None:
                raise PredictionError(NOT_FINITE)
            yield Window(number * step / front_end.sampling_rate, samples, answer)


def blocks_of(source: str | os.PathLike | bytes | np.ndarray, sampling_rate: int) -> Iterator[np.ndarray]:
    """A recording at the network's rate, a block at a time where its reader allows it (`read_blocks`).

    Args:
        source: Path of a sound file, the bytes of one, or a float array `(samples,)` at that rate.
        sampling_rate: Hz.

    Yields:
        float32 arrays `(samples,)`.

    Raises:
        AudioError: A file cannot be used; the message says why.
        PredictionError: An array cannot be used.

    Example:
        >>> [block.shape for block in blocks_of(np.zeros(96000), 16000)]
        [(96000,)]
    """
    if isinstance(source, np.ndarray):
        yield waveform_of(source, sampling_rate, sampling_rate)
    else:
        yield from read_blocks(source, sampling_rate=sampling_rate)


def windows_of(blocks: Iterable[np.ndarray], length: int, step: int) -> Iterator[np.ndarray]:
    """Parts of a recording that begin a step apart.

    Args:
        blocks: float32 arrays `(samples,)`, one behind the other.
        length: Positive int, samples of a window.
        step: Positive int, samples between the starts of two, at most `length`.

    Yields:
        float32 arrays `(length,)`; all of the recording where that is shorter. Each is a copy, which holds no block.

    Example:
        >>> [window.tolist() for window in windows_of([np.arange(4), np.arange(4, 7)], length=4, step=2)]
        [[0, 1, 2, 3], [2, 3, 4, 5]]
    """
    rest, is_first = np.zeros(0, np.float32), True
    for block in blocks:
        rest = np.concatenate([rest, block]) if len(rest) else block
        start = 0
        while len(rest) - start >= length:
            yield rest[start : start + length].copy()
            start, is_first = start + step, False
        rest = rest[start:].copy()
    if is_first:
        yield rest
