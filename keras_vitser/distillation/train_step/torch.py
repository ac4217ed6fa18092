"""The Distiller's training step on PyTorch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_vitser.distillation.distiller import Distiller


def train_step(distiller: "Distiller", data: Any) -> Any:
    """Runs teacher and student once each, and updates the student.

    Args:
        distiller: The compiled `Distiller`.
        data: What Keras gives the backend's `train_step`.

    Returns:
        What Keras expects of the backend's `train_step`.
    """
    import torch

    x, y, sample_weight = distiller.unpack(data)
    with torch.no_grad():
        inputs, teacher_features = distiller.with_teacher_features(x)
    losses, logits = distiller.student_losses(inputs, y, sample_weight, teacher_features)
    distiller.zero_grad()
    distiller.optimizer.scale_loss(losses["loss"]).backward()
    variables = distiller.trainable_variables
    with torch.no_grad():
        distiller.optimizer.apply([variable.value.grad for variable in variables], variables)
        return distiller.record(losses, inputs, y, logits, sample_weight)
