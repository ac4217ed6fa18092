"""What is heard in a recording, for a person to look at: when the network listened, and how the answer moves."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, cast

import numpy as np
from keras import ops

from keras_vitser.audio import FLOOR_DB
from keras_vitser.evaluation.figures import new_figure
from keras_vitser.prediction.windows import answered_windows, blocks_of
from keras_vitser.recognizer import Answer, Recognizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEP = 0.5  # seconds between two windows of the timeline
_WINDOWS = 240  # two minutes; of a longer recording the rest is not heard


@dataclass(frozen=True)
class Heard:
    """What is heard in a recording.

    Attributes:
        answer: The network's answer to what it uses, the first `clip_seconds`.
        image: float32 array `(bands, frames)`, what the network sees of it; the highest band is the first row.
        attention: float32 array `(columns,)`, how much it listens to each column of patches, of sum 1; `None` for a
            network that does not tell.
        starts: float64 array `(windows,)`, s: where the windows of the timeline begin, each as long as the network's
            clip.
        timeline: float32 array `(windows, classes)`, the probabilities in each window.
        seconds: Length of the recording.
        clip_seconds: Length of what the network uses at a time.

    Example:
        >>> from keras_vitser.models import ViTSER
        >>> heard = listen(Recognizer(ViTSER.student(2, depth=1), ["calm", "upset"]), np.zeros(96000, "float32"))
        >>> heard.image.shape, heard.attention.shape, heard.starts.tolist()
        ((128, 128), (128,), [0.0, 0.5, 1.0, 1.5, 2.0])
    """

    answer: Answer
    image: np.ndarray
    attention: np.ndarray | None
    starts: np.ndarray
    timeline: np.ndarray
    seconds: float
    clip_seconds: float


def listen(recognizer: Recognizer, source: str | os.PathLike | bytes | np.ndarray) -> Heard:
    """Hears a recording as a whole: the answer, and the same question every half second.

    Args:
        recognizer: The model.
        source: Path of a sound file, the bytes of one, or a float32 array `(samples,)` at the model's rate.

    Returns:
        What is `Heard`.

    Raises:
        AudioError: A file cannot be used; the message says why.
        PredictionError: An array cannot be used.
    """
    front_end, network = recognizer.front_end, recognizer.network
    samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for block in blocks_of(source, front_end.sampling_rate):
            samples += len(block)
            yield block

    blocks = counted()
    windows = answered_windows(recognizer, blocks, _STEP, most=_WINDOWS)
    first = next(windows)
    timeline = [(window.start, window.answer.probabilities) for window in chain([first], windows)]
    for _ in blocks:  # to the end, as it is told how long the recording lasts
        pass

    images = front_end(first.samples[None])
    attention = None
    if hasattr(network, "attention_over_time"):
        attention = ops.convert_to_numpy(network.attention_over_time(images))[0]
    return Heard(
        answer=first.answer,
        image=ops.convert_to_numpy(images)[0, :, :, 0],
        attention=attention,
        starts=np.array([start for start, _ in timeline]),
        timeline=np.stack([probabilities for _, probabilities in timeline]),
        seconds=samples / front_end.sampling_rate,
        clip_seconds=cast(float, front_end.clip_seconds),  # `answered_windows` refuses what has none
    )


def heard_sentence(heard: Heard) -> str:
    """How much sound the answer rests on, in words; Markdown.

    Example:
        >>> from keras_vitser.models import ViTSER
        >>> recognizer = Recognizer(ViTSER.student(2, depth=1), ["calm", "upset"])
        >>> heard_sentence(listen(recognizer, np.zeros(96000, "float32")))[:57]
        '**Nothing was heard** in the 4 s that the answer is to: a'
        >>> heard_sentence(listen(recognizer, np.sin(np.arange(16000, dtype="float32"))))
        'Sound was heard in 25.0 % of the 4 s that the answer is to.'
    """
    window = f"the {heard.clip_seconds:g} s that the answer is to"
    if heard.answer.heard:
        return f"Sound was heard in {100 * heard.answer.heard:.1f} % of {window}."
    return (
        f"**Nothing was heard** in {window}: all of it is under {FLOOR_DB:g} dB of full scale, so do not rely "
        "on the emotion that is named. Is the microphone on?"
    )


def heard_figure(heard: Heard) -> "Figure":
    """Draws the spectrogram with the attention above it, and below it the timeline of the probabilities.

    Example:
        >>> from keras_vitser.models import ViTSER
        >>> heard = listen(Recognizer(ViTSER.student(2, depth=1), ["calm", "upset"]), np.zeros(96000, "float32"))
        >>> [axes.get_ylabel() for axes in heard_figure(heard).axes]
        ['attention', 'mel band', 'probability']
    """
    figure = new_figure((9, 6))
    attention, spectrogram, timeline = figure.subplots(3, 1, height_ratios=(1, 3, 2.4))

    _draw_attention(attention, heard)
    bands = len(heard.image)
    spectrogram.imshow(heard.image, aspect="auto", cmap="magma", extent=(0, heard.clip_seconds, 0, bands))
    if heard.seconds < heard.clip_seconds:
        spectrogram.axvline(heard.seconds, color="white", linestyle=":")
    spectrogram.set(ylabel="mel band", xlabel=f"seconds; the answer is to the first {heard.clip_seconds:g}")
    _draw_timeline(timeline, heard)
    return figure


def _draw_attention(axes, heard: Heard) -> None:
    axes.set(ylabel="attention", xlim=(0, heard.clip_seconds), xticks=[], yticks=[])
    if heard.attention is None:
        axes.text(0.5, 0.5, "this network does not tell", transform=axes.transAxes, ha="center", va="center")
        return
    edges = np.linspace(0, heard.clip_seconds, len(heard.attention) + 1)
    axes.stairs(heard.attention, edges, fill=True, color="C1")


def _draw_timeline(axes, heard: Heard) -> None:
    # A window's answer stands from its start to the next one's; the last to the recording's end.
    edges = np.append(heard.starts, max(heard.seconds, heard.starts[-1] + _STEP))
    for place, label in enumerate(heard.answer.labels):
        axes.stairs(heard.timeline[:, place], edges, baseline=None, label=label, linewidth=2)
    axes.set(ylim=(0, 1), xlim=(0, edges[-1]), ylabel="probability")
    axes.set_xlabel(f"seconds; each answer is to the {heard.clip_seconds:g} s from there on")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
