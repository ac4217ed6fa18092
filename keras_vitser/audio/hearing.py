"""Whether there is anything to hear: how much of a recording is above a floor, and where that begins.

A recording is divided into frames of 20 ms, and a frame is *heard* where its level, the root of the mean square about
its own mean, is above -70 dB of full scale, ten steps of 16 bits. The floor is that of loudness meters (ITU-R BS.1770,
the absolute gate). Noise of one step of 16 bits is 20 dB below it, a muted microphone's constant offset is no sound,
and the quietest of 4991 clips of acted speech (RAVDESS, peak 0.006) has frames 15 dB above it.
"""

import numpy as np

FLOOR_DB = -70.0  # of full scale
FLOOR_SQUARE = 10 ** (FLOOR_DB / 10)
_FRAME_SECONDS = 0.02
_SEARCHED_AT_A_TIME = 500  # frames; the first sound is seldom far from the start


def heard_share(waveform: np.ndarray, samples: int, sampling_rate: float) -> float:
    """The share of a network's window in which something is heard.

    Args:
        waveform: Float array `(samples,)`, full scale at -1 and 1. Frames are counted from its start; what comes
            behind the window is left out, and a window that is longer is silent behind it.
        samples: Positive int, length of the window.
        sampling_rate: Hz.

    Returns:
        Frames of 20 ms that are heard, by all frames of the window: 0 to 1. The last frame may be a part of one, and is
        filled up with zeros.

    Example:
        >>> tone = np.sin(np.arange(16000))
        >>> heard_share(tone, 64000, 16000), heard_share(tone / 32768, 64000, 16000)
        (0.25, 0.0)
    """
    frame = frame_samples(sampling_rate)
    return float(_is_heard(waveform[:samples], frame).sum() / -(-samples // frame))


def from_first_sound(waveform: np.ndarray, samples: int, sampling_rate: float) -> np.ndarray:
    """A recording without the silence before its first sound, if it lasts longer than the network's window.

    Args:
        waveform: Float array `(samples,)`, full scale at -1 and 1.
        samples: Positive int, length of the window.
        sampling_rate: Hz.

    Returns:
        The waveform from the first frame on that is heard; as it is where none is, or where all of it fits the window.

    Example:
        >>> waveform = np.concatenate([np.zeros(80000), np.sin(np.arange(16000))])
        >>> from_first_sound(waveform, 64000, 16000).shape, from_first_sound(waveform, 96000, 16000).shape
        ((16000,), (96000,))
    """
    return waveform[_first_sound(waveform, frame_samples(sampling_rate)) :] if len(waveform) > samples else waveform


def frame_samples(sampling_rate: float) -> int:
    """Samples of a frame.

    Example:
        >>> frame_samples(16000)
        320
    """
    return max(1, round(_FRAME_SECONDS * sampling_rate))


def _first_sound(waveform: np.ndarray, frame: int) -> int:
    """The sample at which the first frame that is heard begins, or 0."""
    step = _SEARCHED_AT_A_TIME * frame
    for start in range(0, len(waveform), step):
        heard = _is_heard(waveform[start : start + step], frame)
        if heard.any():
            return start + int(heard.argmax()) * frame
    return 0


def _is_heard(waveform: np.ndarray, frame: int) -> np.ndarray:
    padded = np.pad(waveform, (0, -len(waveform) % frame))
    return padded.reshape(-1, frame).var(axis=1, dtype=np.float64) > FLOOR_SQUARE  # (frames,)
