"""The paper's four copies of a clip: as recorded, with noise, at another speed, shifted in time.

That there are these four is read in the paper's figures; the strengths are our choice.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_vitser.audio.reading import SAMPLING_RATE, resample


@dataclass(frozen=True)
class Augmentation:
    """How strong the copies are; a strength is drawn evenly from its range for each clip.

    Attributes:
        noise_snr_db: Signal to noise ratio of the white noise, dB: lowest and highest.
        speed: Factor of the speed (and so of the pitch): lowest and highest.
        shift_seconds: Largest shift either way, seconds.

    Example:
        >>> Augmentation(shift_seconds=0.1).speed
        (0.9, 1.1)
    """

    noise_snr_db: tuple[float, float] = (10.0, 30.0)
    speed: tuple[float, float] = (0.9, 1.1)
    shift_seconds: float = 0.5


def augment(
    waveform: np.ndarray, copy: int, generator: np.random.Generator, strengths: Augmentation | None = None
) -> np.ndarray:
    """Makes one of the four copies of a waveform.

    Args:
        waveform: float32 array `(samples,)` at 16 kHz.
        copy: Int, index into `COPIES`. 0 returns the waveform itself.
        generator: Source of the random numbers; the same state gives the same copy.
        strengths: Ranges to draw from. Defaults to `Augmentation()`.

    Returns:
        float32 array `(samples,)`; another length for a change of speed or a shift.

    Raises:
        ValueError: `copy` is no index of `COPIES`.

    Example:
        >>> import numpy as np
        >>> tone = np.sin(np.arange(16000, dtype="float32"))
        >>> augment(tone, COPIES.index("noise"), np.random.default_rng(0)).shape
        (16000,)
    """
    if copy not in range(len(COPIES)):
        raise ValueError(f"`copy` must be 0 to {len(COPIES) - 1} ({', '.join(COPIES)}). Received: copy={copy}")
    return _STEPS[COPIES[copy]](waveform, generator, strengths or Augmentation())


def _as_recorded(waveform: np.ndarray, generator: np.random.Generator, strengths: Augmentation) -> np.ndarray:
    return waveform


def _with_noise(waveform: np.ndarray, generator: np.random.Generator, strengths: Augmentation) -> np.ndarray:
    snr_db = generator.uniform(*strengths.noise_snr_db)
    noise = generator.standard_normal(len(waveform), dtype=np.float32)
    power = np.mean(np.square(waveform, dtype=np.float64))
    return waveform + noise * np.float32(np.sqrt(power * 10 ** (-snr_db / 10)))


def _at_another_speed(waveform: np.ndarray, generator: np.random.Generator, strengths: Augmentation) -> np.ndarray:
    return resample(waveform, SAMPLING_RATE * generator.uniform(*strengths.speed), SAMPLING_RATE)


def _shifted(waveform: np.ndarray, generator: np.random.Generator, strengths: Augmentation) -> np.ndarray:
    samples = round(generator.uniform(-strengths.shift_seconds, strengths.shift_seconds) * SAMPLING_RATE)
    if samples >= 0:
        return np.concatenate([np.zeros(samples, np.float32), waveform])
    return waveform[min(-samples, len(waveform) // 2) :]  # never the whole of a short clip


_STEPS: dict[str, Callable[[np.ndarray, np.random.Generator, Augmentation], np.ndarray]] = {
    "as recorded": _as_recorded,
    "noise": _with_noise,
    "speed": _at_another_speed,
    "shift": _shifted,
}
COPIES = tuple(_STEPS)
