"""Weights that are numbers: a network whose training has failed is neither written nor loaded."""

import os

import keras
from keras import ops

from keras_vitser.errors import NonFiniteWeightsError


def check_finite(network: keras.Model, where: str | os.PathLike) -> None:
    """Refuses a network that has a weight which is NaN or infinite.

    Args:
        network: The network.
        where: The file or folder that it is written to or comes from.

    Raises:
        NonFiniteWeightsError: It has; the message names the layer.

    Example:
        >>> check_finite(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), "model.keras")
    """
    for variable in network.weights:
        if keras.backend.is_float_dtype(variable.dtype) and not bool(ops.all(ops.isfinite(variable))):
            layer, _, weight = variable.path.rpartition("/")
            raise NonFiniteWeightsError(
                f"{os.fspath(where)}: the layer {layer} has a weight ({weight}) that is NaN or infinite, so every "
                "answer would be wrong; its training had failed: train anew, with a lower learning rate"
            )
