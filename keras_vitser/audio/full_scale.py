"""Full scale is at -1 and 1: how samples on another scale are told. `graph.faults.scale_fault` does it in a graph.

Samples given as numbers do not say what full scale is. Whole numbers beyond it are integers of 16 bits or others, whose
type was lost on the way, as in JSON. Other waveforms may pass full scale: resampling makes less than 3 of it, and
recorders of 32-bit float keep some headroom. Beyond 16 (24 dB) no waveform goes that is on our scale. Files of floats
come on another scale too, by the same mistake.
"""

import numpy as np

from keras_vitser.errors import PredictionError

MOST = 16.0
BEYOND = (
    "holds samples on another scale than that of -1 to 1; divide them by what full scale is, 32768 for 16 bits, "
    "and write the file again"
)
EXPECTED = "floats at {rate} Hz with full scale at -1 and 1, such as 16-bit samples divided by 32768"


def is_beyond_full_scale(waveform: np.ndarray) -> bool:
    """Whether samples are on another scale than that of -1 to 1; not where one is NaN or infinite.

    Args:
        waveform: Array of numbers.

    Example:
        >>> is_beyond_full_scale(np.array([0.0, 1.0, -1.25])), is_beyond_full_scale(np.array([0.0, 1.0, -2.0]))
        (False, True)
    """
    largest = np.abs(waveform).max(initial=0.0)
    return bool(1 < largest < np.inf and (largest > MOST or is_whole(waveform)))


def is_whole(waveform: np.ndarray) -> bool:
    """Whether all samples are whole numbers.

    Args:
        waveform: Array of numbers.

    Example:
        >>> is_whole(np.array([0.0, 2.0])), is_whole(np.array([0.0, 0.5]))
        (True, False)
    """
    return bool((waveform == np.round(waveform)).all())


def check_full_scale(waveform: np.ndarray, rate: int, name: str = "the given array") -> None:
    """Refuses a waveform on another scale.

    Args:
        waveform: Array of numbers.
        rate: Hz, that its samples should have; said in the error.
        name: What the error calls it.

    Raises:
        PredictionError: It is on another scale.

    Example:
        >>> check_full_scale(np.array([0.5, -0.25]), 16000)
    """
    if is_beyond_full_scale(waveform):
        raise PredictionError(
            f"{name} holds samples up to {np.abs(waveform).max():g}; expected {EXPECTED.format(rate=rate)}"
        )
