"""The Distiller's training step on TensorFlow."""

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
    import tensorflow as tf

    if distiller.jit_compile:  # XLA runs a step as a whole, once its data is there
        return _step(distiller, data)
    # Where an epoch's data has ended, TensorFlow would otherwise count one more step of the optimizer, without data.
    parts = tf.nest.flatten(data, expand_composites=True)
    with tf.control_dependencies([part for part in parts if part is not None]):
        return _step(distiller, data)


def _step(distiller, data):
    import tensorflow as tf

    x, y, sample_weight = distiller.unpack(data)
    inputs, teacher_features = distiller.with_teacher_features(x)
    with tf.GradientTape() as tape:
        losses, logits = distiller.student_losses(inputs, y, sample_weight, teacher_features)
        scaled_loss = distiller.optimizer.scale_loss(losses["loss"])
    variables = distiller.trainable_variables
    gradients = tape.gradient(scaled_loss, variables)
    distiller.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    losses = {name: loss * replicas for name, loss in losses.items()}  # Keras divides them by the number of replicas
    return distiller.record(losses, inputs, y, logits, sample_weight)
