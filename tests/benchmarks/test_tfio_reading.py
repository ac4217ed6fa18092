"""benchmarks/tfio_reading.py: that it runs, or says where it would."""

from .scripts import run


def test_it_runs_or_says_what_it_needs(tmp_path):
    printed, written = run("tfio_reading", tmp_path, "--quick", "--files", "2")
    assert [claim["claim"].rpartition(", ")[2].split()[0] for claim in written["claims"]] == [
        "WAV",
        "FLAC",
        "MP3",
        "Vorbis",
    ]
    for claim in written["claims"]:
        assert claim["ratio"] is None or claim["ratio"]["low"] > 0
        assert claim["ratio"] or claim["figures"] == {"skipped": "make test-tfio makes the environment for it"}
    assert "in tf.data" in printed
