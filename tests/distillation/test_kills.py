"""SIGKILL at random moments of a transfer: the resumed job ends as one that was never killed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .killable_transfer import job

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

ROOT = Path(__file__).parents[2]
LONGEST = 0.1  # seconds of training before a kill; a stage takes at least 1.6


def run(**settings):
    command = [sys.executable, "-m", "tests.distillation.killable_transfer", json.dumps(settings)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def assert_kills_change_nothing(kind, kills, folder):
    generator = np.random.default_rng(kills)
    checkpoints, weights = folder / "job", folder / "weights.npz"
    for stage in ("matching", "student"):
        for _ in range(kills):
            delay = generator.uniform(0, LONGEST)
            ended = run(kind=kind, checkpoints=str(checkpoints), kill=[stage, delay])
            assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
    ended = run(kind=kind, checkpoints=str(checkpoints), weights=str(weights))
    assert ended.returncode == 0, ended.stderr[-2000:]
    expected = job(kind)
    with np.load(weights) as found:
        assert sorted(found) == sorted(expected)
        for name, array in expected.items():
            assert np.array_equal(found[name], array), name
    assert len(list(checkpoints.iterdir())) == 4  # two of either stage, and nothing half-written


@pytest.mark.more
def test_a_kill_in_each_stage_changes_nothing(tmp_path):
    assert_kills_change_nothing("arrays", 1, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "kills"), [("arrays", 20), ("PyDataset", 5), ("callable", 5)])
def test_many_kills_in_each_stage_change_nothing(kind, kills, tmp_path):
    assert_kills_change_nothing(kind, kills, tmp_path)
