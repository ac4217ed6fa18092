"""A sound file, or its bytes, to the waveform that every other room works on.

Decoding is libsndfile's (through soundfile) or, with the extra `av`, FFmpeg's; resampling is soxr's quality "HQ".
soxr sets a resampler up in under 0.15 ms and keeps no state between calls, so
`read_waveform` may run in several threads at once.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from keras_vitser.audio.decoding import decoded
from keras_vitser.audio.file_names import existing_path
from keras_vitser.audio.full_scale import BEYOND, MOST, is_beyond_full_scale, is_whole
from keras_vitser.audio.gathering import gathered
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
_QUALITY = "HQ"  # soxr's


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
    with _opened(source) as (file, name):
        blocks = list(decoded(file, name, limit_seconds))
        waveform = gathered(block for block, _ in blocks)
        return _checked(waveform, blocks[0][1], name, sampling_rate)


def read_blocks(
    source: str | os.PathLike | bytes | bytearray | memoryview,
    *,
    sampling_rate: int = SAMPLING_RATE,
    limit_seconds: float = LIMIT_SECONDS,
) -> Iterator[np.ndarray]:
    """The waveform of `read_waveform`, sample by sample the same, a block at a time.

    A file that libsndfile reads is never in memory as a whole; of those that PyAV reads, one channel is.

    Args:
        source: As in `read_waveform`.
        sampling_rate: As there.
        limit_seconds: As there.

    Yields:
        float32 arrays `(samples,)`, one behind the other.

    Raises:
        AudioError: As in `read_waveform`, when the block that shows it is asked for; of the scale of the samples, and
            where there are none, behind the last one.

    Example:
        >>> import io, numpy as np, soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros((3000000, 1)), 16000, format="WAV")
        >>> [block.shape for block in read_blocks(file.getvalue())]
        [(1048576,), (1048576,), (902848,)]
    """
    with _opened(source) as (file, name):
        yield from _checked_blocks(decoded(file, name, limit_seconds), name, sampling_rate)


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
    return soxr.resample(waveform, from_rate, to_rate, quality=_QUALITY)


@contextmanager
def _opened(source: str | os.PathLike | bytes | bytearray | memoryview) -> Iterator[tuple[BinaryIO, str]]:
    """The file, and what messages call it. Whatever goes wrong with it is an `AudioError`."""
    if isinstance(source, bytes | bytearray | memoryview):
        name, data = "the given bytes", bytes(source)
        if not data:
            raise EmptyAudioError("the given bytes are empty; expected the bytes of a sound file")
    else:
        path = existing_path(source)
        name, data = str(path), None
        _check_file(path)
    try:
        with path.open("rb") if data is None else io.BytesIO(data) as file:
            yield file, name
    except AudioError:
        raise
    except OSError as error:
        raise AudioUnreadableError(f"{name}: cannot be opened or read ({error.strerror or error})") from None
    except Exception as error:
        raise AudioDecoderError(
            f"{name}: cannot be read ({type(error).__name__}: {error}); convert it, to FLAC for instance"
        ) from error


def _checked(waveform: np.ndarray, rate: int, name: str, sampling_rate: int) -> np.ndarray:
    """The waveform at the rate asked for."""
    _check_finite(waveform, name)
    if is_beyond_full_scale(waveform):
        raise AudioScaleError(f"{name}: {BEYOND}")
    waveform = resample(waveform, rate, sampling_rate)
    if not waveform.size:
        raise _less_than_a_sample(name, sampling_rate)
    return waveform


def _checked_blocks(blocks: Iterable[tuple[np.ndarray, int]], name: str, sampling_rate: int) -> Iterator[np.ndarray]:
    """`_checked` of a waveform in blocks, without its whole."""
    largest, are_whole, samples, resampler = 0.0, True, 0, None
    for block, rate in blocks:
        _check_finite(block, name)
        largest = max(largest, np.abs(block).max(initial=0.0))
        are_whole = are_whole and is_whole(block)
        if rate != sampling_rate:
            resampler = resampler or soxr.ResampleStream(rate, sampling_rate, 1, dtype="float32", quality=_QUALITY)
            block = resampler.resample_chunk(block)
        samples += len(block)
        if len(block):
            yield block
    if largest > MOST or (largest > 1 and are_whole):
        raise AudioScaleError(f"{name}: {BEYOND}")
    if resampler is not None:
        block = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        samples += len(block)
        if len(block):
            yield block
    if not samples:
        raise _less_than_a_sample(name, sampling_rate)


def _check_finite(waveform: np.ndarray, name: str) -> None:
    if not np.isfinite(waveform).all():
        raise NonFiniteAudioError(
            f"{name}: holds samples that are NaN or infinite; write the file again from its source"
        )


def _less_than_a_sample(name: str, sampling_rate: int) -> NoSamplesError:
    return NoSamplesError(f"{name}: lasts less than one sample at {sampling_rate} Hz; expected a recording")


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
