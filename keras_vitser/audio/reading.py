"""A sound file, or its bytes, to the waveform that every other room works on.

Decoding is libsndfile's (through soundfile) or, with the extra `av`, FFmpeg's; resampling is soxr's quality "HQ".
soxr sets a resampler up in under 0.15 ms and keeps no state between calls, so
`read_waveform` may run in several threads at once.
"""

import io
import os
from functools import partial
from pathlib import Path

import numpy as np
import soxr

from keras_vitser.audio.decoding import decoded
from keras_vitser.audio.file_names import existing_path
from keras_vitser.audio.full_scale import BEYOND, is_beyond_full_scale
from keras_vitser.errors import (
    AudioDecoderError,
    AudioError,
    AudioIsFolderError,
    AudioNotFoundError,
    AudioScaleError,
    AudioUnreadableError,
    EmptyAudioError,
    NonFiniteAudioError,
    NoSamplesError,
)

SAMPLING_RATE = 16000  # Hz
LIMIT_SECONDS = 600.0


def read_waveform(
    source: str | os.PathLike | bytes | bytearray | memoryview,
    *,
    sampling_rate: int = SAMPLING_RATE,
    limit_seconds: float = LIMIT_SECONDS,
) -> np.ndarray:
    """Reads a recording of any rate and channel count as a mono waveform.

    Args:
        source: Path of a sound file, or the bytes of one.
        sampling_rate: Positive int, Hz. Rate of the waveform returned.
        limit_seconds: Positive float, seconds. Longer recordings are refused,
            before they are decoded where their headers say how long they are.

    Returns:
        float32 array of shape `(samples,)`: the mean of the channels, full scale
        at -1 and 1 (resampling may overshoot), at `sampling_rate`.

    Raises:
        AudioNotFoundError: There is no such file.
        AudioIsFolderError: The path is a folder.
        AudioUnreadableError: The file cannot be opened.
        EmptyAudioError: The file has no bytes.
        NotAudioError: The bytes are no sound.
        AudioCodecError: They are, in a container or codec that is not decoded here; the message says how to go on.
        TruncatedAudioError: The file ends before its header says, or is damaged.
        NoSamplesError: The file has a header and no samples, or less than one at `sampling_rate`.
        NonFiniteAudioError: A sample is NaN or infinite.
        AudioScaleError: Float samples are on another scale than that of -1 to 1.
        AudioTooLongError: The recording is longer than `limit_seconds`.
        AudioDecoderError: Anything else went wrong while the file was read.

    Example:
        >>> import io, numpy as np, soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros((44100, 2)), 44100, format="WAV")
        >>> read_waveform(file.getvalue()).shape
        (16000,)
    """
    if isinstance(source, bytes | bytearray | memoryview):
        name, data = "the given bytes", bytes(source)
        if not data:
            raise EmptyAudioError("the given bytes are empty; expected the bytes of a sound file")
        open_file = partial(io.BytesIO, data)
    else:
        path = existing_path(source)
        name, open_file = str(path), partial(path.open, "rb")
        _check_file(path)
    try:
        with open_file() as file:
            waveform, rate = decoded(file, name, limit_seconds)
        return _checked(waveform, rate, name, sampling_rate)
    except AudioError:
        raise
    except OSError as error:
        raise AudioUnreadableError(f"{name}: cannot be opened or read ({error.strerror or error})") from None
    except Exception as error:
        raise AudioDecoderError(
            f"{name}: cannot be read ({type(error).__name__}: {error}); convert it, to FLAC for instance"
        ) from error


def resample(waveform: np.ndarray, from_rate: float, to_rate: float) -> np.ndarray:
    """Changes the rate of a waveform with soxr's "HQ" filter.

    Args:
        waveform: float32 array `(samples,)`.
        from_rate: Positive number, Hz.
        to_rate: Positive number, Hz.

    Returns:
        float32 array `(about samples * to_rate / from_rate,)`.

    Example:
        >>> import numpy as np
        >>> resample(np.zeros(48000, "float32"), 48000, 16000).shape
        (16000,)
    """
    waveform = np.ascontiguousarray(waveform, dtype=np.float32)
    if from_rate == to_rate:
        return waveform
    return soxr.resample(waveform, from_rate, to_rate, quality="HQ")


def _checked(waveform: np.ndarray, rate: int, name: str, sampling_rate: int) -> np.ndarray:
    """The waveform at the rate asked for."""
    if not np.isfinite(waveform).all():
        raise NonFiniteAudioError(
            f"{name}: holds samples that are NaN or infinite; write the file again from its source"
        )
    if is_beyond_full_scale(waveform):
        raise AudioScaleError(f"{name}: {BEYOND}")
    waveform = resample(waveform, rate, sampling_rate)
    if not waveform.size:
        raise NoSamplesError(f"{name}: lasts less than one sample at {sampling_rate} Hz; expected a recording")
    return waveform


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise AudioNotFoundError(f"{path}: no such file; expected the path of a sound file") from None
    except OSError as error:
        raise AudioUnreadableError(f"{path}: cannot be opened ({error.strerror})") from None
    if path.is_dir():
        raise AudioIsFolderError(f"{path}: is a folder; expected the path of one sound file")
    if not size:
        raise EmptyAudioError(f"{path}: is an empty file; expected a sound file")
