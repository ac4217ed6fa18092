"""benchmarks/distillation.py, on small networks: that it runs and reports, not how fast."""

import statistics

import keras
import pytest

from tests.benchmarks.scripts import call, run

pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]

CONTESTANTS = {"ours", "ours, cached", "built-in"}
ROUNDS, BATCH = 2, 4


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the script printed, and what it wrote about the current backend."""
    folder = tmp_path_factory.mktemp("benchmark")
    options = ["--backends", keras.backend.backend(), "--batch", str(BATCH), "--rounds", str(ROUNDS), "--steps", "1"]
    return run("distillation", folder, "--tiny", *options)


@pytest.fixture
def result(report):
    return report[1]["backends"][keras.backend.backend()]


def test_it_says_what_was_run(report, result):
    printed, written = report
    assert written["benchmark"] == "distillation"
    assert written["settings"] == {"batch": BATCH, "rounds": ROUNDS, "steps": 1, "tiny": True}
    assert written["machine"]["threads"] >= 1
    assert result["versions"]["keras"] == keras.__version__
    assert keras.backend.backend() in printed
    assert all(row in printed for row in ("ours / built-in", "ours, cached / built-in", "outside"))


def test_all_have_the_same_losses(result):
    assert set(result["losses"]) == CONTESTANTS
    ours = result["losses"]["ours"]
    assert all(losses == pytest.approx(ours, rel=1e-5) for losses in result["losses"].values())


def test_figures_follow_from_the_seconds(result):
    """The ratio is the median of the rounds' own ratios, not the ratio of medians."""
    seconds = result["seconds_per_step"]
    assert all(len(values) == ROUNDS and min(values) > 0 for values in seconds.values())
    for key, name in (("speedup", "ours"), ("speedup_cached", "ours, cached")):
        ratios = [theirs / ours for theirs, ours in zip(seconds["built-in"], seconds[name], strict=True)]
        expected = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
        assert result[key] == pytest.approx(expected)
    of_batch = [BATCH / value for value in seconds["ours"]]
    assert result["samples_per_second"]["ours"]["median"] == pytest.approx(statistics.median(of_batch))
    assert result["other_share"]["high"] < 1


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--backends", "numpy"), "invalid choice: 'numpy'"), (("--rounds", "0"), "must be at least 1. Received: 0")],
)
def test_a_wrong_option_is_named(tmp_path, options, said):
    done = call("distillation", tmp_path, *options)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


def test_a_child_that_fails_is_told_in_one_line(tmp_path):
    done = call("distillation", tmp_path, "--tiny", "--backends", keras.backend.backend(), "--batch", str(2**40))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"{keras.backend.backend()}: ")
