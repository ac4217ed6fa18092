"""Many recordings in their order, read by threads a little ahead of who uses them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Source = TypeVar("Source")
Read = TypeVar("Read")


def read_ahead(read: Callable[[Source], Read], sources: Iterable[Source], readers: int, ahead: int) -> Iterator[Read]:
    """What `read` makes of each source, in their order; threads work on at most `ahead` that were not yet asked for.

    Args:
        read: Called with a source, in a thread.
        sources: Any number of them; taken one by one.
        readers: Positive int, threads.
        ahead: Int, 0 or more.

    Example:
        >>> list(read_ahead(str.upper, ["a", "b", "c"], readers=2, ahead=2))
        ['A', 'B', 'C']
    """
    pool = ThreadPoolExecutor(readers, thread_name_prefix="read")
    pending: deque = deque()
    try:
        for source in sources:
            pending.append(pool.submit(read, source))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
