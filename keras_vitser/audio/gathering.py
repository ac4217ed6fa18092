"""Blocks of samples to one channel, within the limit, and as long as was promised."""

from collections.abc import Iterable, Iterator

import numpy as np

from keras_vitser.errors import AudioTooLongError, NoSamplesError, TruncatedAudioError


def mono_blocks(
    blocks: Iterable[np.ndarray],
    rate: int,
    name: str,
    limit_seconds: float,
    *,
    promised: int | None = None,
    slack: int = 0,
) -> Iterator[np.ndarray]:
    """The mean of the channels of each block.

    Args:
        blocks: Float32 arrays `(frames, channels)`. After the limit no more are taken.
        rate: Positive int, Hz.
        name: What messages call the file.
        limit_seconds: Positive float, seconds.
        promised: Int, frames that the header promises, or `None` where it does not.
        slack: Int, frames that may be missing, or too many.

    Yields:
        float32 arrays `(frames,)`.

    Raises:
        AudioTooLongError: The blocks last longer than the limit, or are promised to.
        NoSamplesError: There are none.
        TruncatedAudioError: There are less than promised.

    Example:
        >>> blocks = mono_blocks([np.zeros((8, 2), "float32"), np.ones((8, 2), "float32")], 16000, "it", 600.0)
        >>> [float(block.sum()) for block in blocks]
        [0.0, 8.0]
    """
    if promised is not None and promised > limit_seconds * rate + slack:
        raise _too_long(name, f"{promised / rate:.1f} s", limit_seconds)
    count = 0
    for block in blocks:
        count += len(block)
        if count > limit_seconds * rate + slack:
            raise _too_long(name, f"longer than {limit_seconds:g} s", limit_seconds)
        yield block.mean(axis=1, dtype=np.float32)
    if promised is not None and count < promised - slack:
        raise TruncatedAudioError(
            f"{name}: ends after {count / rate:.2f} s of the {promised / rate:.2f} s that its "
            "header promises; copy or record it again"
        )
    if not count:
        raise NoSamplesError(f"{name}: holds no samples; expected a recording")


def gathered(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """One array of all blocks, one behind the other.

    Example:
        >>> gathered([np.zeros(8), np.zeros(4)]).shape
        (12,)
    """
    parts = list(blocks)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _too_long(name: str, lasts: str, limit_seconds: float) -> AudioTooLongError:
    error = AudioTooLongError(f"{name}: lasts {lasts}; at most {limit_seconds:g} s are read. Cut it into shorter files")
    error.add_note("In Python, read_waveform(..., limit_seconds=...) reads longer ones.")  # in a traceback alone
    return error
