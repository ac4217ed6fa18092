"""How far chance alone can move a score: 95 % intervals.

Both intervals take clips as independent of each other. Clips of one speaker are alike, so
with few speakers the true uncertainty about new speakers is wider.
"""

import math
from collections.abc import Callable

import numpy as np

_Z = 1.959963984540054  # two-sided 95 % of a normal distribution


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    Args:
        successes: Int, 0 to `n`.
        n: Positive int, the number of trials.

    Returns:
        Lower and upper edge, 0..1.

    Raises:
        ValueError: `n` is not positive, or `successes` is outside 0 to `n`.

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
        the American Statistical Association 22 (1927), doi 10.1080/01621459.1927.10502953.

    Example:
        >>> [round(edge, 3) for edge in wilson_interval(8, 10)]
        [0.49, 0.943]
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(
            f"`n` must be positive and `successes` between 0 and `n`. Received: successes={successes}, n={n}"
        )
    share, spread = successes / n, _Z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    labels: np.ndarray,
    predictions: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    seed: int = 0,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile bootstrap, 95 %, of a statistic of the confusion matrix.

    Clips are drawn with replacement within their true class, so that each resample has as many
    clips a class as the original and none drops out. Where every clip is right, every
    resample is too, and the interval is a point.

    Args:
        labels: Int array `(clips,)`, the true classes, from 0.
        predictions: Int array `(clips,)`, the answers, from 0.
        statistic: Function of confusion matrices `(resamples, classes, classes)` to
            `(resamples,)`, for example `unweighted_accuracy`. Rows are true classes.
        seed: Int. The same seed gives the same interval.
        resamples: Positive int.

    Returns:
        Lower and upper edge.

    Raises:
        ValueError: The arrays are empty, differ in shape, or hold anything but ints from 0.

    Example:
        >>> from keras_vitser.evaluation import unweighted_accuracy
        >>> low, high = bootstrap_interval([0] * 50 + [1] * 50, [0] * 80 + [1] * 20, unweighted_accuracy)
        >>> round(low, 2), round(high, 2)
        (0.63, 0.77)
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape or not labels.size:
        raise ValueError(
            "`labels` and `predictions` must both be (clips,), at least one clip. "
            f"Received: {labels.shape} and {predictions.shape}"
        )
    for name, values in (("labels", labels), ("predictions", predictions)):
        if not np.issubdtype(values.dtype, np.integer) or values.min() < 0:
            raise ValueError(f"`{name}` must be ints from 0. Received: {values.dtype}, the smallest {values.min()}")
    classes = int(max(labels.max(), predictions.max())) + 1
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    clips = counts.sum(axis=1)
    # Drawing n clips of a class with replacement is drawing how many of them get each answer.
    shares = counts / np.maximum(clips, 1)[:, None]
    drawn = np.random.default_rng(seed).multinomial(clips, shares, size=(resamples, classes))
    low, high = np.quantile(statistic(drawn), [0.025, 0.975])
    return float(low), float(high)
