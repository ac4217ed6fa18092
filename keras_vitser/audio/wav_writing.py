"""Whole numbers to a WAV file."""

import io
import wave

import numpy as np


def wav_file(samples: np.ndarray, rate: int, width: int = 2) -> bytes:
    """A mono WAV file of PCM.

    Args:
        samples: Array of whole numbers, `(samples,)`, which fit into `width` bytes with a sign.
        rate: Positive int, Hz.
        width: Int from 2 to 4, bytes of a sample. Defaults to 2.

    Returns:
        The file's bytes.

    Example:
        >>> len(wav_file(np.zeros(16000, "int16"), 16000))
        32044
    """
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, width, rate, 0, "NONE", ""))
        sound.writeframes(samples.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :width].tobytes())
    return file.getvalue()
