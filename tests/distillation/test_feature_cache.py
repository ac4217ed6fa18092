"""keras_vitser/distillation/feature_cache.py"""

import numpy as np
import pytest

from keras_vitser.distillation import attach_teacher_features
from keras_vitser.distillation.feature_cache import detach_teacher_features


def test_what_was_attached_comes_back():
    inputs, features = np.zeros((4, 8)), np.ones((4, 3))
    detached = detach_teacher_features(attach_teacher_features(inputs, features))
    assert detached[0] is inputs
    assert detached[1] is features


@pytest.mark.parametrize("x", [np.zeros(3), {"inputs": 1}, {"inputs": 1, "other": 2}, [1, 2]])
def test_plain_inputs_are_left_alone(x):
    inputs, features = detach_teacher_features(x)
    assert inputs is x
    assert features is None
