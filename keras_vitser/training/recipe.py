"""How a network learns labels (paper 1: Kim and Lee 2024): optimizer, loss, and how the learning rate falls."""

import keras

LEARNING_RATE = 1e-4
HALVE_EVERY = 10  # epochs


def adam(learning_rate: float = LEARNING_RATE, weight_decay: float = 0.0) -> keras.optimizers.Optimizer:
    """The paper's optimizer.

    Args:
        learning_rate: Positive float. Defaults to 1e-4, the paper's.
        weight_decay: Float of at least 0, decoupled (AdamW's). Defaults to 0.

    Returns:
        A new `keras.optimizers.Adam`.

    Example:
        >>> adam(weight_decay=0.01).weight_decay
        0.01
    """
    return keras.optimizers.Adam(learning_rate, weight_decay=weight_decay or None)


def label_loss() -> keras.losses.Loss:
    """Cross-entropy of integer labels and logits.

    Example:
        >>> import numpy as np
        >>> round(float(label_loss()(np.array([1]), np.array([[0.0, 0.0]]))), 3)
        0.693
    """
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def label_metrics() -> list[keras.metrics.Metric]:
    """What the logs say beside the loss: `accuracy`, the share of labels that are right.

    Example:
        >>> [metric.name for metric in label_metrics()]
        ['accuracy']
    """
    return [keras.metrics.SparseCategoricalAccuracy("accuracy")]


def compile_for_labels(
    network: keras.Model, learning_rate: float = LEARNING_RATE, weight_decay: float = 0.0
) -> keras.Model:
    """Compiles a network that returns logits, to learn integer labels.

    Args:
        network: `keras.Model`.
        learning_rate: As for `adam`.
        weight_decay: As for `adam`.

    Returns:
        The network.

    Example:
        >>> import numpy as np
        >>> network = compile_for_labels(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
        >>> sorted(network.fit(np.ones((4, 3)), np.array([0, 1, 0, 1]), verbose=0).history)
        ['accuracy', 'loss']
    """
    network.compile(adam(learning_rate, weight_decay), label_loss(), metrics=label_metrics())
    return network


def halving_schedule(learning_rate: float, halve_every: int = HALVE_EVERY) -> keras.callbacks.LearningRateScheduler:
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
