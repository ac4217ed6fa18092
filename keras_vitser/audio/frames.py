"""How many samples a clip of some seconds has, and how many frames its spectrogram: said here alone.

The front end and the config of an experiment, which must know the width of an image before Keras is there, both ask.
"""


def clip_samples(clip_seconds: float, sampling_rate: float) -> int:
    """Samples of a clip, to the nearest one.

    Args:
        clip_seconds: Positive float, seconds.
        sampling_rate: Positive number, Hz.

    Example:
        >>> clip_samples(4.02, 16000)  # int() of the product would be 64319
        64320
    """
    return round(clip_seconds * sampling_rate)


def frame_count(samples: int, hop_length: int) -> int:
    """Frames of the spectrogram of a clip: one is centred on each multiple of `hop_length`, from sample 0 on.

    Args:
        samples: Int, samples of the clip.
        hop_length: Positive int, samples between frames.

    Example:
        >>> frame_count(64000, 64)
        1001
    """
    return samples // hop_length + 1
