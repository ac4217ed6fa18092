"""The paper's stages (b) and (c) one after the other (paper 1: Kim and Lee 2024)."""

import keras

from keras_vitser.distillation.distiller import Distiller


def halving_schedule(learning_rate, halve_every=10):
    """A callback that halves the learning rate every `halve_every` epochs.

    Args:
        learning_rate: Positive float, the rate of the first epochs.
        halve_every: Positive int, epochs. Defaults to 10, the paper's.

    Returns:
        `keras.callbacks.LearningRateScheduler`.

    Example:
        >>> schedule = halving_schedule(1e-4).schedule
        >>> [schedule(epoch) for epoch in (0, 9, 10, 20)]
        [0.0001, 0.0001, 5e-05, 2.5e-05]
    """
    return keras.callbacks.LearningRateScheduler(lambda epoch: learning_rate * 0.5 ** (epoch // halve_every))


def transfer(
    teacher,
    student,
    ds,
    *,
    matching_epochs=50,
    tuning_epochs=50,
    alpha=10.0,
    learning_rate=1e-4,
    **fit_arguments,
):
    """Teaches a student: first its features alone (b), then labels and features together (c).

    Each stage has an Adam of its own, halved every 10 epochs.

    Args:
        teacher: Functional `keras.Model`, trained.
        student: Functional `keras.Model` that returns logits. Trained in place.
        ds: Batches of `(x, y)`: a `tf.data.Dataset` or a `keras.utils.PyDataset`.
        matching_epochs: Int, epochs of stage (b). Defaults to 50.
        tuning_epochs: Int, epochs of stage (c). Defaults to 50.
        alpha: Float, weight of the feature loss in stage (c). Defaults to 10.
        learning_rate: Float, of both stages. Defaults to 1e-4.
        **fit_arguments: For `keras.Model.fit` in both stages (`verbose`, `steps_per_epoch`, ...).

    Returns:
        Dict of the two `keras.callbacks.History`: `{"matching": ..., "student": ...}`.

    Raises:
        DistillationError: The two networks cannot work together.

    Example:
        >>> import keras, numpy as np
        >>> class Batches(keras.utils.PyDataset):
        ...     def __len__(self):
        ...         return 1
        ...     def __getitem__(self, index):
        ...         return np.ones((2, 3), "float32"), np.array([0, 1])
        >>> networks = [
        ...     keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)]) for _ in range(2)
        ... ]
        >>> histories = transfer(*networks, Batches(), matching_epochs=1, tuning_epochs=2, verbose=0)
        >>> len(histories["student"].history["loss"])
        2
    """
    stages = {
        "matching": (Distiller(teacher, student, alpha=1.0, label_weight=0.0), matching_epochs),
        "student": (Distiller(teacher, student, alpha=alpha), tuning_epochs),
    }
    histories = {}
    for stage, (distiller, epochs) in stages.items():
        distiller.compile(keras.optimizers.Adam(learning_rate))
        histories[stage] = distiller.fit(
            ds, epochs=epochs, callbacks=[halving_schedule(learning_rate)], **fit_arguments
        )
    return histories
