"""benchmarks/log_mel.py and folder_to_images.py, on few clips: that they run, agree and report, not how fast."""

import keras
import pytest

from tests.benchmarks.scripts import run

pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]


@pytest.mark.parametrize("name", ["log_mel", "folder_to_images"])
def test_it_compares_and_reports(tmp_path, name):
    backend = keras.backend.backend()
    printed, written = run(name, tmp_path, "--backends", backend, "--clips", "3", "--rounds", "2")
    result = written["backends"][backend]
    worst = result["decibels"] if name == "folder_to_images" else max(result["decibels"].values())
    assert worst <= 0.02
    assert all(len(values) == 2 and min(values) > 0 for values in result["seconds"].values())
    assert backend in printed
    bars = {"log_mel": [">= 4", ">= 2"], "folder_to_images": [">= 2.5", "< 1500 MB"]}
    assert [claim["bar"] for claim in written["claims"] if claim["bar"]] == bars[name]
