"""What of many recordings was not heard, in a warning each: ends that were cut off, and silence."""

import warnings

from keras_vitser.audio.hearing import FLOOR_DB

_STACKLEVEL = 3  # the caller of the function that answers


def warn_of_unheard(total: int, cut: int, silent: int, seconds: float | None, skip_silence: bool = False) -> None:
    """Warns once of recordings that were cut, and once of those in which nothing was heard.

    Args:
        total: Number of recordings that were answered.
        cut: How many of them last longer than what was used of them.
        silent: How many of them are silent where they were used.
        seconds: Length of what is used at most; `None` where all is, and nothing is cut.
        skip_silence: Whether longer recordings were used from their first sound on.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_of_unheard(total=2, cut=0, silent=1, seconds=4.0)
        >>> print(str(caught[0].message)[:41])
        nothing was heard in 1 of 2 recordings: w
    """
    if cut:
        used = " from their first sound on; those" if skip_silence else "; their first"
        warnings.warn(
            f"{cut} of {total} recordings last longer than {seconds:g} s{used} {seconds:g} s were used, as the network "
            "was trained",
            stacklevel=_STACKLEVEL,
        )
    if silent:
        warnings.warn(
            f"nothing was heard in {silent} of {total} recordings: what was used of them stays under {FLOOR_DB:g} dB "
            "of full scale, so do not rely on their labels and probabilities; where sound comes later, give "
            "skip_silence (--skip-silence)",
            stacklevel=_STACKLEVEL,
        )
