"""A sound file, or its bytes, to the waveform that every other room works on.

Decoding is libsndfile's (through soundfile), resampling is soxr's quality "HQ".
soxr sets a resampler up in under 0.15 ms and keeps no state between calls, so
`read_waveform` may run in several threads at once.
"""

import io
import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from keras_vitser.audio.containers import is_cut_short, is_known_container
from keras_vitser.audio.file_names import existing_path
from keras_vitser.errors import (
    AudioIsFolderError,
    AudioNotFoundError,
    AudioTooLongError,
    AudioUnreadableError,
    EmptyAudioError,
    NonFiniteAudioError,
    NoSamplesError,
    NotAudioError,
    TruncatedAudioError,
)

SAMPLING_RATE = 16000  # Hz
LIMIT_SECONDS = 600.0
FORMATS = "WAV, FLAC, OGG, MP3, AIFF, AU and the other formats of libsndfile"


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
        limit_seconds: Positive float, seconds. Longer recordings are refused
            before they are decoded.

    Returns:
        float32 array of shape `(samples,)`: the mean of the channels, full scale
        at -1 and 1 (resampling may overshoot), at `sampling_rate`.

    Raises:
        AudioNotFoundError: There is no such file.
        AudioIsFolderError: The path is a folder.
        AudioUnreadableError: The file cannot be opened.
        EmptyAudioError: The file has no bytes.
        NotAudioError: The bytes are no sound that libsndfile reads.
        TruncatedAudioError: The file ends before its header says, or is damaged.
        NoSamplesError: The file has a header and no samples, or less than one at `sampling_rate`.
        NonFiniteAudioError: A sample is NaN or infinite.
        AudioTooLongError: The recording is longer than `limit_seconds`.

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
        samples, rate = _decode(lambda: io.BytesIO(data), name, limit_seconds)
    else:
        path = existing_path(source)
        name = str(path)
        _check_file(path)
        samples, rate = _decode(lambda: path.open("rb"), name, limit_seconds)
    waveform = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(waveform).all():
        raise NonFiniteAudioError(
            f"{name}: holds samples that are NaN or infinite; write the file again from its source"
        )
    waveform = resample(waveform, rate, sampling_rate)
    if not waveform.size:
        raise NoSamplesError(f"{name}: lasts less than one sample at {sampling_rate} Hz; expected a recording")
    return waveform


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


def _decode(open_bytes, name: str, limit_seconds: float) -> tuple[np.ndarray, int]:
    """Returns float32 samples (frames, channels) and the rate of the file."""
    try:
        with open_bytes() as file:
            known = is_known_container(file)
            cut_short = known and is_cut_short(file)
            file.seek(0)
            if cut_short:
                raise TruncatedAudioError(
                    f"{name}: ends before the sound that its header promises; copy or record it again"
                )
            return _read_samples(file, name, limit_seconds)
    except soundfile.LibsndfileError:
        if known:
            raise TruncatedAudioError(
                f"{name}: is cut off or damaged and cannot be decoded; copy or record it again"
            ) from None
        raise NotAudioError(f"{name}: is not a sound file; readable are {FORMATS}") from None
    except OSError as error:
        raise AudioUnreadableError(f"{name}: cannot be opened ({error.strerror})") from None


def _read_samples(file, name: str, limit_seconds: float) -> tuple[np.ndarray, int]:
    # A bare buffer: soundfile would take a file called x.raw for headerless samples.
    with soundfile.SoundFile(_Nameless(file)) as sound:
        rate, promised = sound.samplerate, sound.frames
        if promised > limit_seconds * rate:
            raise AudioTooLongError(
                f"{name}: lasts {promised / rate:.1f} s; at most {limit_seconds:g} s are read. "
                "Cut it into shorter files, or raise `limit_seconds`"
            )
        samples = sound.read(dtype="float32", always_2d=True)
    if not promised:
        raise NoSamplesError(f"{name}: holds no samples; expected a recording")
    if len(samples) < promised:
        raise TruncatedAudioError(
            f"{name}: ends after {len(samples) / rate:.2f} s of the {promised / rate:.2f} s that its "
            "header promises; copy or record it again"
        )
    return samples, rate


class _Nameless:
    """The reading half of a binary file, without its name."""

    def __init__(self, file):
        self.read, self.readinto, self.seek, self.tell = file.read, file.readinto, file.seek, file.tell
