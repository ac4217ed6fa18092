"""Runs a script of benchmarks/ as a user does, and what every script's result holds."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def call(name, folder, *options, timeout=300):
    """From another folder, with no backend chosen; the process that has ended."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)


def run(name, folder, *options, **settings):
    """What it printed and what it wrote."""
    done = call(name, folder, *options, "--json", "result.json", **settings)
    assert done.returncode == 0, done.stderr
    written = json.loads((folder / "result.json").read_text())
    assert written["benchmark"] == name
    assert written["machine"]["threads"] >= 1
    for claim in written["claims"]:
        assert set(claim) == {"claim", "peer", "ratio", "bar", "met", "figures"}
    return done.stdout, written
