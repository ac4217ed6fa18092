"""benchmarks/prediction.py and benchmarks/scale.py: that they run and report, not how fast."""

import keras
import numpy as np
import pytest

from tests.benchmarks.scripts import call, run
from tests.requirements import require

pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]


@pytest.fixture(scope="module")
def prediction(tmp_path_factory):
    require("torch")
    folder = tmp_path_factory.mktemp("prediction")
    options = ["--backends", keras.backend.backend(), "--calls", "3", "--files", "3", "--rounds", "2"]
    return run("prediction", folder, *options)


def test_both_give_the_same_answers(prediction):
    result = prediction[1]["backends"][keras.backend.backend()]
    assert 0 < result["difference"] < 1e-4


def test_figures_follow_from_the_seconds(prediction):
    printed, written = prediction
    result = written["backends"][keras.backend.backend()]
    ours, peer = (
        np.percentile(result["clip_seconds"][name], [50, 99]) for name in ("ours", "librosa and eager PyTorch")
    )
    assert result["clip_ratio"] == pytest.approx(peer[0] / ours[0])
    assert result["clip_ratio_99"] == pytest.approx(peer[1] / ours[1])
    seconds = result["folder_seconds"]
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["librosa and eager PyTorch"], strict=True)]
    assert result["folder_ratio"] == pytest.approx(np.median(ratios))
    best = [claim for claim in written["claims"] if claim["bar"]]
    for claim, key, bar in zip(best, ("clip_ratio", "clip_ratio_99", "folder_ratio"), (2, 2, 4), strict=True):
        assert (claim["bar"], claim["met"]) == (f">= {bar}", result[key] >= bar)
        assert claim["ratio"]["median"] == pytest.approx(result[key])
    assert all(row in printed for row in ("peer / ours, median", "folder: peer / ours", "largest difference"))


def test_the_curve_has_a_row_a_list(tmp_path):
    options = ["--tiny", "--quick", "--backend", keras.backend.backend()]
    printed, written = run("scale", tmp_path, *options)
    assert [row["clips"] for row in written["curve"]] == [700, 1400]
    claim, memory = written["claims"]
    costs = [row["seconds_per_clip"] for row in written["curve"]]
    assert min(costs) > 0
    assert claim["ratio"]["median"] == pytest.approx(costs[1] / costs[0])
    assert (claim["bar"], claim["met"]) == ("<= 1.1", costs[1] <= 1.1 * costs[0])
    first, last = (row["peak_bytes"] for row in written["curve"])
    assert memory["ratio"]["median"] == pytest.approx((last - first) / 1e6)
    assert "ms a clip" in printed


@pytest.mark.long
@pytest.mark.backends("jax")  # once will do: what grows or does not is no backend's
def test_a_million_paths_take_no_more_memory_than_ten_thousand(tmp_path):
    _, written = run("scale", tmp_path, "--tiny", "--clips", "10000", "1000000", "--backend", "jax", timeout=3600)
    assert [row["clips"] for row in written["curve"]] == [10_000, 1_000_000]
    assert written["claims"][1]["met"], written["curve"]


def test_a_list_that_is_too_short_is_named(tmp_path):
    done = call("scale", tmp_path, "--clips", "100")
    assert done.returncode == 2
    assert "must be at least 640. Received: 100" in done.stderr.splitlines()[-1]
