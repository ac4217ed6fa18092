"""benchmarks/tfio_reading.py: that it runs where it can, and what it says elsewhere."""

import pytest
import tfio_reading

from .scripts import run

pytestmark = pytest.mark.backends("tensorflow")

FORMATS = ["WAV 44.1 kHz", "FLAC 16 kHz", "MP3 44.1 kHz", "Vorbis 44.1 kHz"]


@pytest.mark.tfio
def test_it_runs_and_reports(tmp_path):
    printed, written = run("tfio_reading", tmp_path, "--quick", "--files", "2")
    for claim, name in zip(written["claims"], FORMATS, strict=True):
        assert claim["claim"].endswith(name)
        assert claim["ratio"]["low"] > 0
    assert "in tf.data" in printed


def test_the_ratio_is_that_of_the_seconds():
    seconds = {"in the graph": [1.0, 2.0], "soundfile, in the same pipeline": [3.0, 3.0]}
    for claim in tfio_reading.claims_of({"seconds": dict.fromkeys(FORMATS, seconds)}, 6):
        assert claim["ratio"] == {"median": 2.25, "low": 1.5, "high": 3.0}
        assert claim["figures"]["clips_per_second"]["in the graph"]["high"] == 6


def test_without_the_environment_it_says_how_to_make_one():
    claims = tfio_reading.claims_of(None, 6)
    assert [claim["claim"].rpartition(", ")[2] for claim in claims] == FORMATS
    assert all(claim["figures"] == {"skipped": "make test-tfio makes the environment for it"} for claim in claims)
