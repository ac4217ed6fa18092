"""Scores that are known by hand."""

import numpy as np
import pytest

from keras_vitser.evaluation import Scores, score

NAMES = ["calm", "cross", "<script>alert(1)</script>"]
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])
ANSWERS = np.array([0, 0, 0, 1, 1, 0, 2, 2])
SPEAKERS = ["ann", "ann", "ann", "ann", "bo", "bo", "bo", "bo"]


@pytest.fixture
def scores() -> Scores:
    """Eight clips of two speakers and three classes, six right; the last class has an ugly name."""
    return score(LABELS, np.full((8, 3), 0.1) + 0.7 * np.eye(3)[ANSWERS], NAMES, SPEAKERS)
