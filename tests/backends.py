"""Which backends a test runs on: those of its closest marker `backends`, and the first alone where there is none.

`backends("tensorflow", "jax", "torch", more=["jax"])` leaves what compiles for long on JAX to `make test-more` there.
"""

import re

import pytest

BACKENDS = ("tensorflow", "jax", "torch")


def backends_of_file(text: str) -> set[str]:
    """The first, and all that the markers in a file name: on others it need not be imported."""
    named = " ".join(re.findall(r"\bbackends\(([^)]*)\)", text))
    return {BACKENDS[0], *(backend for backend in BACKENDS if f'"{backend}"' in named)}


def backends_of(item: pytest.Item) -> tuple[str, ...]:
    """The backends of a collected test."""
    marker = item.get_closest_marker("backends")
    names = marker.args if marker else BACKENDS[:1]
    if not names or not set(names) <= set(BACKENDS):
        raise pytest.UsageError(f"{item.nodeid}: backends{names} must name some of {', '.join(BACKENDS)}")
    return names


def backends_of_more(item: pytest.Item) -> tuple[str, ...]:
    """The backends on which `make test` leaves a collected test to `make test-more`."""
    marker = item.get_closest_marker("backends")
    more = tuple(marker.kwargs.get("more", ())) if marker else ()
    if not set(more) <= set(backends_of(item)):
        raise pytest.UsageError(f"{item.nodeid}: more={more} must name some of the backends that it runs on")
    return more
