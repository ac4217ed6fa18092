"""Losses between what two networks know."""

from typing import Any

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

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "feature_matching", dtype: Any = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        difference = ops.abs(y_pred - y_true)
        return ops.mean(difference, axis=tuple(range(1, len(difference.shape))))


@keras.saving.register_keras_serializable(package="keras_vitser")
class SoftLabels(keras.losses.Loss):
    """Soft labels: `T² KL(softmax(teacher / T), softmax(student / T))`, from logits.

    Hinton, Vinyals and Dean (2015), "Distilling the Knowledge in a Neural Network",
    section 2; the square keeps the gradients' size the same for each temperature.

    Args:
        temperature: Positive float `T`. Defaults to 4.

    Raises:
        ValueError: The temperature is not positive.

    Example:
        >>> import numpy as np
        >>> teacher, student = np.array([[2.0, 0.0]], "float32"), np.array([[0.0, 2.0]], "float32")
        >>> round(float(SoftLabels(temperature=1.0)(teacher, student)), 4)
        1.5232
    """

    def __init__(
        self,
        temperature: float = 4.0,
        reduction: str = "sum_over_batch_size",
        name: str = "soft_labels",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not temperature > 0:
            raise ValueError(f"`temperature` must be a positive number. Received: temperature={temperature}")
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        of_teacher = ops.log_softmax(y_true / self.temperature, axis=-1)
        of_student = ops.log_softmax(y_pred / self.temperature, axis=-1)
        probability, ratio = ops.exp(of_teacher), of_student - of_teacher
        # sum p (exp(u) - 1 - u) = -sum p u: of near distributions the plain sum would cancel to nothing in float32.
        near = ops.clip(ratio, -1.0, 1.0)
        terms = ops.where(
            ops.abs(ratio) < 1.0,
            probability * (ops.expm1(near) - near),
            ops.exp(of_student) - probability - probability * ratio,
        )
        return self.temperature**2 * ops.sum(terms, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="keras_vitser")
class AttentionTransfer(keras.losses.Loss):
    """Where two networks look: the squared distance of their normalised attention.

    Attention at a position is the mean square over channels (or over heads, of
    attention weights), scaled over all positions to length 1. Zagoruyko and
    Komodakis (2017), "Paying More Attention to Attention", section 3.1, with p = 2.
    The widths may differ, so no projection is made.

    Example:
        >>> import numpy as np
        >>> left, right = np.array([[[1.0], [0.0]]], "float32"), np.array([[[0.0, 0.0], [0.0, 3.0]]], "float32")
        >>> float(AttentionTransfer()(left, right))
        2.0
    """

    needs_equal_widths = False

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "attention_transfer", dtype: Any = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.sum(ops.square(_attention(y_true) - _attention(y_pred)), axis=-1)


def _attention(feature):
    """`(batch, ..., channels)` to `(batch, positions)` of length 1; all zeros stay zeros."""
    attention = ops.mean(ops.square(feature), axis=-1)
    attention = ops.reshape(attention, (ops.shape(attention)[0], -1))  # (batch, positions)
    return ops.normalize(attention, axis=-1, order=2, epsilon=1e-12)
