"""A model folder as MLflow packs models, for `mlflow models serve` and `mlflow.pyfunc.load_model`."""

from pathlib import Path

import numpy as np

import keras_vitser
from keras_vitser.models.model_folder import read_settings

_SCRIPT = Path(__file__).with_name("mlflow_model.py")


def save_mlflow_model(model: Path, labels: list[str], backend: str, path: Path) -> None:
    """Writes a new folder that holds the model folder, the script that loads it, its signature and an input example.

    Its metadata says at how many Hz samples are to be (`sampling_rate`), and where full scale is (`full_scale`).

    Args:
        model: Model folder.
        labels: Its labels, in order.
        backend: The Keras backend that it is loaded on where none is chosen.
        path: New folder.

    Raises:
        ImportError: MLflow is not installed.
        ModelFolderError: The model folder is damaged.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    rate = read_settings(model)["sampling_rate"]
    numbers = ["score", "heard", *(f"probability_{label}" for label in labels)]
    answers = [ColSpec(DataType.string, "label"), *(ColSpec(DataType.double, name) for name in numbers)]
    waveforms = TensorSpec(np.dtype(np.float32), (-1, -1))
    mlflow.pyfunc.save_model(
        path,
        python_model=str(_SCRIPT),
        artifacts={"model": str(model)},
        model_config={"backend": backend},
        signature=ModelSignature(Schema([waveforms]), Schema(answers)),
        input_example=np.zeros((1, rate), np.float32),
        metadata={"sampling_rate": rate, "full_scale": [-1, 1]},
        # Given, as MLflow would otherwise run the model to see what it imports.
        pip_requirements=[f"keras-vitser[{backend},track]=={keras_vitser.__version__}"],
    )
