"""Words that error messages share."""

import difflib
import re
from collections.abc import Iterable


def nearest(given: object, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """The known word nearest to a wrong one, whatever the case, if one is near.

    Args:
        given: What was given.
        known: The words that there are.
        cutoff: Float in 0..1, the likeness that is near, as in `difflib.get_close_matches`.

    Example:
        >>> nearest("Save", ["savee", "emodb"])
        'savee'
    """
    by_lower_case = {word.lower(): word for word in known}
    found = difflib.get_close_matches(str(given).lower(), by_lower_case, n=1, cutoff=cutoff)
    return by_lower_case[found[0]] if found else None


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """A sentence that names the known word nearest to a wrong one, or an empty string if none is near.

    Example:
        >>> did_you_mean("save", ["savee", "emodb"])
        " Did you mean 'savee'?"
        >>> did_you_mean("xyz", ["savee", "emodb"])
        ''
    """
    near = nearest(given, known)
    return f" Did you mean {near!r}?" if near else ""


def listed(names: Iterable[object], limit: int = 3) -> str:
    """The first names with commas, and how many more there are.

    Example:
        >>> listed(["a", "b", "c", "d"])
        'a, b, c and 1 more'
    """
    words = [str(name) for name in names]
    more = len(words) - limit
    return ", ".join(words[:limit]) + (f" and {more} more" if more > 0 else "")


def by_number(name: str) -> list[str | int]:
    """A key to sort names by, which takes the digits within them for numbers.

    Example:
        >>> sorted(["speaker12", "speaker3", "DC"], key=by_number)
        ['DC', 'speaker3', 'speaker12']
    """
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
