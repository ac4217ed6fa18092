"""Made-up corpora: tiny files, since no reader and no protocol decodes a sound."""

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import pytest

from keras_vitser.corpora import Clip, Corpus

Counts = Mapping[tuple[str | None, str], int]  # clips of each speaker and label


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Writes files of distinct content below a folder of the test's own, and returns that folder."""

    def write_files(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        return tmp_path

    return write_files


@pytest.fixture(scope="session")
def make_corpus(tmp_path_factory) -> Callable[[Counts], Corpus]:
    """Makes a corpus of so many clips by speaker and label; its files are shared among tests."""
    folder = tmp_path_factory.mktemp("clips")

    def file(number: int) -> Path:
        path = folder / f"{number:04d}.wav"
        if not path.exists():
            path.write_bytes(f"{number:04d}".encode())  # equal sizes, so that contents are compared
        return path

    def make(counts: Counts) -> Corpus:
        numbers = count()
        clips = [
            Clip(file(next(numbers)), label, speaker)
            for (speaker, label), times in counts.items()
            for _ in range(times)
        ]
        return Corpus("made up", folder, tuple(clips), tuple(sorted({clip.label for clip in clips})), "none")

    return make
