"""benchmarks/imports.py: that it runs and reports."""

import statistics

import keras
import pytest

from .scripts import run

pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]


def test_it_runs_and_reports(tmp_path):
    backend = keras.backend.backend()
    printed, written = run("imports", tmp_path, "--rounds", "1", "--backends", backend)
    package, program = written["claims"]
    assert package["claim"] == f"import keras_vitser.layers, keras_vitser.models, {backend}"
    assert (package["bar"], program["bar"]) == ("<= 1.1", "< 0.5 s")
    seconds = written["seconds"][backend]
    assert package["ratio"]["median"] == pytest.approx(seconds["ours"][0] / seconds["keras"][0])
    assert program["ratio"]["median"] == pytest.approx(statistics.median(written["seconds"]["help"]["help"]))
    assert "keras-vitser --help" in printed
