"""Words that error messages of this room share."""

import difflib
from collections.abc import Iterable


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """A sentence that names the known word nearest to a wrong one, or an empty string if none is near.

    Example:

    >>> did_you_mean("save", ["savee", "emodb"])
    " Did you mean 'savee'?"
    >>> did_you_mean("xyz", ["savee", "emodb"])
    ''
    """
    by_lower_case = {word.lower(): word for word in known}
    nearest = difflib.get_close_matches(str(given).lower(), by_lower_case, n=1, cutoff=0.5)
    return f" Did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""


def listed(names: Iterable[object], limit: int = 3) -> str:
    """The first names with commas, and how many more there are.

    Example:

    >>> listed(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    words = [str(name) for name in names]
    more = len(words) - limit
    return ", ".join(words[:limit]) + (f" and {more} more" if more > 0 else "")
