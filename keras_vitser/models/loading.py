"""Loading a `.keras` file that holds our layers and networks, which `keras_vitser.models` has registered with Keras."""

import os

import keras

from keras_vitser.models.finite_weights import check_finite


def load_model(path: str | os.PathLike, *, compile: bool = True) -> keras.Model:
    """Loads a model saved with `model.save("name.keras")`, on any backend.

    `keras.models.load_model` does the same once `keras_vitser.layers` and
    `keras_vitser.models` are imported; this function does that for you. No code that
    a file may carry is run.

    Args:
        path: The `.keras` file.
        compile: Bool. Whether to restore optimizer, loss and metrics.

    Returns:
        The model.

    Raises:
        ValueError: The file is missing or is not a Keras model (from Keras).
        NonFiniteWeightsError: A weight is NaN or infinite.

    Example:
        >>> import os, tempfile
        >>> from keras_vitser.models import ViTSER
        >>> path = os.path.join(tempfile.mkdtemp(), "student.keras")
        >>> ViTSER.student(num_classes=7, depth=1).save(path)
        >>> load_model(path).count_params()
        496903
    """
    model = keras.saving.load_model(path, compile=compile, safe_mode=True)
    check_finite(model, path)
    return model
