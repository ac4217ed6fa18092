import numpy as np
import pytest
from scipy import stats

from keras_vitser.evaluation import bootstrap_interval, unweighted_accuracy, weighted_accuracy, wilson_interval


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 10), (45, 120), (1439, 1440)])
def test_wilson_is_scipys(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, n), expected, atol=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(ValueError, match=f"Received: successes={successes}, n={n}"):
        wilson_interval(successes, n)


def drawn_clip_by_clip(labels, predictions, resamples, seed):
    """UA of resamples, the slow way: clips drawn one by one within their class."""
    rng = np.random.default_rng(seed)
    recalls = []
    for label in np.unique(labels):
        right = (predictions == label)[labels == label]
        recalls.append(rng.choice(right, (resamples, len(right))).mean(axis=1))
    return np.mean(recalls, axis=0)


def test_bootstrap_agrees_with_drawing_clip_by_clip():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 150)
    predictions = np.where(rng.random(150) < 0.6, labels, rng.integers(0, 4, 150))
    expected = np.quantile(drawn_clip_by_clip(labels, predictions, 20000, seed=1), [0.025, 0.975])
    got = bootstrap_interval(labels, predictions, unweighted_accuracy, resamples=20000)
    np.testing.assert_allclose(got, expected, atol=0.006)  # both edges are random: about 0.001 each


def test_bootstrap_covers_the_truth_about_as_often_as_promised():
    rng = np.random.default_rng(0)
    labels, recalls = np.repeat([0, 1, 2], [60, 30, 30]), np.array([0.8, 0.5, 0.6])
    covered = 0
    for seed in range(200):
        predictions = np.where(rng.random(120) < recalls[labels], labels, (labels + 1) % 3)
        low, high = bootstrap_interval(labels, predictions, unweighted_accuracy, seed=seed, resamples=400)
        covered += low <= recalls.mean() <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_bootstrap_keeps_the_classes_and_repeats_itself():
    seen = []
    labels, predictions = np.array([2, 2, 0, 2]), np.array([0, 2, 0, 2])

    def statistic(matrices):
        seen.append(matrices)
        return weighted_accuracy(matrices)

    first = bootstrap_interval(labels, predictions, statistic, seed=7, resamples=50)
    assert first == bootstrap_interval(labels, predictions, statistic, seed=7, resamples=50)
    assert seen[0].shape == (50, 3, 3)
    assert (seen[0].sum(axis=2) == [1, 0, 3]).all()
    assert (seen[0][:, 2, 1] == 0).all()


def test_bootstrap_of_one_clip_is_a_point():
    assert bootstrap_interval([1], [0], unweighted_accuracy) == (0, 0)


@pytest.mark.parametrize(("labels", "predictions"), [([], []), ([0], [0, 1]), ([-1], [0]), ([0.0], [0])])
def test_bootstrap_refuses_what_are_no_classes(labels, predictions):
    with pytest.raises(ValueError, match="Received: "):
        bootstrap_interval(labels, predictions, unweighted_accuracy)
