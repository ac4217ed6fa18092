"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest

RECORDINGS_VARIABLE = "KERAS_VITSER_RECORDINGS"
DEFAULT_RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings (savee, ravdess, emodb, ...), or a skip that says where it was looked for."""
    folder = Path(os.environ.get(RECORDINGS_VARIABLE, DEFAULT_RECORDINGS))
    if not (folder / "savee").is_dir():
        pytest.skip(f"no real recordings in {folder}; set {RECORDINGS_VARIABLE}")
    return folder
