"""benchmarks/log_mel.py and folder_to_images.py, on few clips: that they run, agree and report, not how fast."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("name", ["log_mel", "folder_to_images"])
def test_it_compares_and_reports(tmp_path, name):
    backend = keras.backend.backend()
    file = tmp_path / "result.json"
    options = ["--backends", backend, "--clips", "3", "--rounds", "2", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *options], env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text())
    assert report["benchmark"] == name
    result = report["backends"][backend]
    worst = result["decibels"] if name == "folder_to_images" else max(result["decibels"].values())
    assert worst <= 0.02
    assert all(len(values) == 2 and min(values) > 0 for values in result["seconds"].values())
    assert backend in done.stdout
