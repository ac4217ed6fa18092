"""What soxr does to a waveform of each rate, measured by impulses, as filters of one strided convolution.

soxr is linear, and where rates have a whole ratio it repeats: each frame of `stride` samples becomes a frame of
`phases` samples by the same filters. Impulses at each sample of a frame give all of their taps. Only the first few
samples of a recording differ, because soxr begins without the history of its second filter; they have taps of their
own.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_vitser.audio.reading import SAMPLING_RATE, resample

COMMON_RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz
_REACH = 512  # samples either side of a frame that are looked at; beyond about 270 there is only rounding
_SMALLEST_TAP = 1e-7  # a step of float32 beside 1
_FEWEST_PHASES = 64  # several periods make a frame, so that the convolution is a matrix product of some size
_FIRST = 8  # samples at the start with taps of their own; soxr differs in 5


@dataclass(frozen=True)
class ResamplingFilter:
    """From one rate to another, as arrays.

    Attributes:
        stride: Samples of a frame before.
        phases: Samples of a frame after.
        before: Samples before a frame that its filters begin at.
        taps: float32 array `(width, phases)`.
        first_taps: float32 array `(samples, 8)`: from a recording's first samples to its first 8 after.

    Example:
        >>> third = ResamplingFilter(3, 1, 4, np.zeros((11, 1)), np.zeros((16, 8)))
        >>> third.samples_after(48000)
        16000
    """

    stride: int
    phases: int
    before: int
    taps: np.ndarray
    first_taps: np.ndarray

    def samples_after(self, samples: Any) -> Any:
        """Length of what soxr makes of `samples` samples; of ints or int64 tensors."""
        return (2 * samples * self.phases + self.stride) // (2 * self.stride)


@functools.cache
def measured_filter(from_rate: int, to_rate: int = SAMPLING_RATE) -> ResamplingFilter:
    """Measures the filter that `keras_vitser.audio.resample` applies.

    Args:
        from_rate: Positive int, Hz.
        to_rate: Positive int, Hz, not `from_rate`.

    Returns:
        The filter, whose arrays cannot be written. Of white noise it makes what `resample` makes, but for -130 dB.

    Example:
        >>> filter = measured_filter(44100)
        >>> filter.stride, filter.phases, filter.samples_after(44100)
        (441, 160, 16000)
    """
    period = from_rate // math.gcd(from_rate, to_rate)
    periods = -(-_FEWEST_PHASES * from_rate // (to_rate * period))
    stride = periods * period
    phases = stride * to_rate // from_rate

    lead = -(-_REACH // stride) * stride
    taps = np.zeros((stride + 2 * _REACH, phases), np.float32)
    for sample in range(stride):
        answer = _answer_to_impulse(lead + sample, 2 * lead + stride, from_rate, to_rate)
        for frame, values in enumerate(answer[: len(answer) // phases * phases].reshape(-1, phases)):
            place = lead + sample - frame * stride + _REACH
            if 0 <= place < len(taps):
                taps[place] = values
    read = np.flatnonzero(np.abs(taps).max(axis=1) > _SMALLEST_TAP)
    answers = [_answer_to_impulse(sample, 2 * _REACH, from_rate, to_rate)[:_FIRST] for sample in range(_REACH)]
    first_taps = np.array(answers, np.float32)
    taps.flags.writeable = first_taps.flags.writeable = False
    return ResamplingFilter(
        stride=stride,
        phases=phases,
        before=_REACH - int(read[0]),
        taps=taps[read[0] : read[-1] + 1],
        first_taps=first_taps,
    )


def _answer_to_impulse(place: int, samples: int, from_rate: int, to_rate: int) -> np.ndarray:
    impulse = np.zeros(samples, np.float32)
    impulse[place] = 1
    return resample(impulse, from_rate, to_rate)
