"""Losses between what two networks know."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_vitser")
class FeatureMatching(keras.losses.Loss):
    """L1 between two feature maps: the mean absolute difference over the numbers of an example.

    Paper 1 (Kim and Lee 2024) matches the feature maps so, before and while the
    student learns the labels.

    Example:
        >>> import numpy as np
        >>> float(FeatureMatching()(np.zeros((2, 4), "float32"), np.full((2, 4), 0.5, "float32")))
        0.5
    """

    def __init__(self, reduction="sum_over_batch_size", name="feature_matching", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        difference = ops.abs(y_pred - y_true)
        return ops.mean(difference, axis=tuple(range(1, len(difference.shape))))
