"""Arrays of samples to waveforms: what `Recognizer` and the clients of a server take beside sound files."""

from typing import Any

import numpy as np

from keras_vitser.audio.reading import resample
from keras_vitser.errors import NonFiniteAudioError, NoSamplesError, PredictionError


def waveform_of(samples: np.ndarray, sampling_rate: float | None, to_rate: int) -> np.ndarray:
    """An array of samples at the rate that a network hears.

    Args:
        samples: Float array `(samples,)`, full scale at -1 and 1.
        sampling_rate: Hz, of the array.
        to_rate: Hz, of the waveform returned.

    Returns:
        float32 array `(about samples * to_rate / sampling_rate,)`.

    Raises:
        PredictionError: The array or its rate cannot be used; the message says why.
        NoSamplesError: The array lasts less than one sample.
        NonFiniteAudioError: A sample is NaN or infinite.

    Example:
        >>> waveform_of(np.zeros(48000), 48000, 16000).shape
        (16000,)
    """
    waveform = resample(*_checked(samples, sampling_rate), to_rate)
    if not waveform.size:
        raise NoSamplesError(f"the given array lasts less than one sample at {to_rate} Hz; expected a recording")
    return waveform


def _checked(item: Any, sampling_rate: Any) -> tuple[np.ndarray, float]:
    if not isinstance(item, np.ndarray):
        raise PredictionError(
            "a recording is a path, the bytes of a sound file, or a NumPy array of samples. "
            f"Received: {type(item).__name__}; give numpy.asarray(samples, 'float32')"
        )
    if sampling_rate is None:
        raise PredictionError(
            "an array does not say how fast it was recorded; give its rate in Hz, sampling_rate=16000 for instance"
        )
    is_number = isinstance(sampling_rate, int | float | np.number) and not isinstance(sampling_rate, bool)
    if not (is_number and 0 < sampling_rate < float("inf")):
        raise PredictionError(f"`sampling_rate` must be a positive number, Hz. Received: {sampling_rate!r}")
    if item.ndim != 1 or not np.issubdtype(item.dtype, np.floating):
        raise PredictionError(
            "an array must be of floats and of shape (samples,), full scale at -1 and 1. "
            f"Received: {item.dtype} of shape {item.shape}; average channels, divide 16-bit samples by 32768, "
            "and give several recordings as a list"
        )
    if not item.size:
        raise NoSamplesError("the given array holds no samples; expected a recording")
    with np.errstate(over="ignore"):
        samples = item.astype(np.float32)
    if not np.isfinite(samples).all():
        raise NonFiniteAudioError("the given array holds samples that are NaN or infinite")
    return samples, sampling_rate
