"""The Distiller's training step on JAX."""

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from keras_vitser.distillation.distiller import Distiller


def train_step(distiller: "Distiller", data: Any) -> Any:
    """Runs teacher and student once each, and updates the student.

    Args:
        distiller: The compiled `Distiller`.
        data: What Keras gives the backend's `train_step`: here state and batch.

    Returns:
        What Keras expects of the backend's `train_step`: here logs and new state.
    """
    import jax

    (trainable, non_trainable, optimizer_state, metric_state), batch = data
    x, y, sample_weight = distiller.unpack(batch)
    fixed = [
        *zip(distiller.non_trainable_variables, non_trainable, strict=True),
        *zip(distiller.optimizer.variables, optimizer_state, strict=True),
    ]
    with keras.StatelessScope(fixed):
        inputs, teacher_features = distiller.with_teacher_features(x)

    def scaled_loss(trainable):
        learned = zip(distiller.trainable_variables, trainable, strict=True)
        with keras.StatelessScope([*fixed, *learned], collect_losses=True) as scope:
            losses, logits = distiller.student_losses(inputs, y, sample_weight, teacher_features)
            scaled = distiller.optimizer.scale_loss(losses["loss"])
        return scaled, (losses, logits, _values(distiller.non_trainable_variables, scope))

    gradients, (losses, logits, non_trainable) = jax.grad(scaled_loss, has_aux=True)(trainable)
    trainable, optimizer_state = distiller.optimizer.stateless_apply(optimizer_state, gradients, trainable)
    with keras.StatelessScope([*zip(distiller.metrics_variables, metric_state, strict=True)]) as scope:
        logs = distiller.record(losses, inputs, y, logits, sample_weight)
    metric_state = _values(distiller.metrics_variables, scope)
    return logs, (trainable, non_trainable, optimizer_state, metric_state)


def _values(variables, scope):
    return [scope.get_current_value(variable) for variable in variables]
