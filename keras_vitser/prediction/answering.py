"""From a recording to its answer: the one path of `Recognizer`, the command line, Ray's actors and the page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_vitser.audio import from_first_sound, heard_share
from keras_vitser.layers import FrontEnd
from keras_vitser.prediction.classifier import Classifier

NOT_FINITE = "the network's answer is NaN or infinite, so no label is told; train the network anew"
_NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Answer:
    """What was heard in one recording.

    Attributes:
        label: The most probable label.
        probabilities: float32 array `(classes,)`, sums to 1, in the order of `labels`.
        labels: The labels.
        seconds_used: Seconds of the recording that were read, at most the network's length.
        heard: Share of the network's window in which something is heard, 0 to 1, as `keras_vitser.audio.heard_share`
            counts it. Where it is 0, do not rely on the label. `None` where nobody looked.
        is_cut: Whether the recording lasts longer than what was used of it.

    Example:
        >>> Answer("calm", np.array([0.75, 0.25], "float32"), ("calm", "upset"), 4.0, heard=0.5, is_cut=True).label
        'calm'
    """

    label: str
    probabilities: np.ndarray
    labels: tuple[str, ...]
    seconds_used: float
    heard: float | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class Excerpt:
    """What a network is given of a recording.

    Attributes:
        samples: float32 array `(samples,)`, at most the front end's `clip_samples`.
        heard: Share of the front end's window in which something is heard; of all samples where it has none.
        is_cut: Whether the recording lasts longer.
    """

    samples: np.ndarray
    heard: float
    is_cut: bool


def excerpt_of(waveform: np.ndarray, front_end: FrontEnd, skip_silence: bool = False) -> Excerpt:
    """What a network is given of a waveform.

    Args:
        waveform: float32 array `(samples,)` at the front end's rate, of one sample or more.
        front_end: The network's front end.
        skip_silence: Bool. Whether a waveform longer than the window is used from its first sound on. Defaults to
            `False`. Where the front end has no window, all is used.

    Returns:
        An `Excerpt`, which holds no more of a longer waveform than what is used.

    Example:
        >>> from keras_vitser.layers import LogMelImage
        >>> excerpt = excerpt_of(np.zeros(80000, "float32"), LogMelImage())
        >>> excerpt.samples.shape, excerpt.heard, excerpt.is_cut
        ((64000,), 0.0, True)
    """
    window, rate = front_end.clip_samples, front_end.sampling_rate
    if skip_silence and window:
        waveform = from_first_sound(waveform, window, rate)
    samples = front_end.used(waveform)
    is_cut = len(waveform) > len(samples)
    return Excerpt(samples.copy() if is_cut else samples, heard_share(samples, window or len(samples), rate), is_cut)


def answers_of(model: Classifier, excerpts: Sequence[Excerpt | None], rows: int | None = None) -> list[Answer | None]:
    """Answers a batch.

    Args:
        model: The `Classifier`.
        excerpts: What it is given of each recording; `None` keeps the index of a recording that could not be read.
        rows: Int, at least as many as excerpts: the batch is filled up with silence to so many. Defaults to the next
            power of two, so that a handful of compiled graphs serve every batch.

    Returns:
        An `Answer` an excerpt; `None` where there is no excerpt, or where the network's answer is `NOT_FINITE`.

    Example:
        >>> from keras_vitser.models import ViTSER
        >>> model = Classifier(ViTSER.student(2, depth=1), ["calm", "upset"])
        >>> answer, none = answers_of(model, [excerpt_of(np.zeros(8000, "float32"), model.front_end), None])
        >>> answer.seconds_used, none is None
        (0.5, True)
    """
    rows = 1 << (len(excerpts) - 1).bit_length() if rows is None else rows
    waveforms = [_NOTHING if excerpt is None else excerpt.samples for excerpt in excerpts]
    clips, lengths = model.front_end.clips(waveforms, rows=rows)
    if not lengths.any():
        return [None] * len(excerpts)
    answers: list[Answer | None] = []
    for excerpt, numbers, length in zip(excerpts, model.probabilities(clips, lengths), lengths, strict=False):
        if excerpt is None or not np.isfinite(numbers).all():
            answers.append(None)
            continue
        label, seconds = model.labels[int(numbers.argmax())], int(length) / model.front_end.sampling_rate
        answers.append(Answer(label, numbers, model.labels, seconds, excerpt.heard, excerpt.is_cut))
    return answers
