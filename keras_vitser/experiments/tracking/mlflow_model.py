"""The script that MLflow runs to load a model of ours ("models from code"): nothing is pickled.

It is copied beside the model folder by `keras_vitser.experiments.tracking.mlflow_packaging`.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

if TYPE_CHECKING:
    from keras_vitser.recognizer import Answer


class SpeechEmotion(mlflow.pyfunc.PythonModel):
    """From waveforms, float32 `(batch, samples)` with full scale at -1 and 1, to a table with a row a waveform.

    Its columns are `label`, `score` (the label's probability), `heard` (the share of the network's window in which
    something is heard; 0 is silence) and `probability_<label>` for each class. Of a waveform longer than the network's
    window (its model card says how long) the beginning is used; a shorter one is padded with zeros.

    Samples carry no rate: `sampling_rate` in the model's metadata says at how many Hz they are to be, 16000 as a rule.
    Waveforms on another scale, as 16-bit samples are, are refused.
    """

    def load_context(self, context: Any) -> None:
        if "keras" not in sys.modules:
            os.environ.setdefault("KERAS_BACKEND", context.model_config["backend"])
        from keras_vitser.recognizer import Recognizer

        self._recognizer = Recognizer.load(context.artifacts["model"])

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        from keras_vitser.errors import KerasViTSERError

        try:
            answers = self._answers(np.asarray(model_input, np.float32))
        except KerasViTSERError as error:  # the server answers other errors without their words
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return pd.DataFrame(
            [
                {"label": answer.label, "score": float(answer.probabilities.max()), "heard": answer.heard}
                | {
                    f"probability_{label}": float(value)
                    for label, value in zip(answer.labels, answer.probabilities, strict=True)
                }
                for answer in answers
            ]
        )

    def _answers(self, waveforms: np.ndarray) -> "list[Answer]":
        from keras_vitser.audio.full_scale import check_full_scale
        from keras_vitser.errors import PredictionError

        if waveforms.ndim != 2 or not waveforms.size:
            raise PredictionError(
                f"waveform holds no samples; expected recordings, (batch, samples). Received: {waveforms.shape}"
            )
        rate = self._recognizer.front_end.sampling_rate
        for row, waveform in enumerate(waveforms):
            check_full_scale(waveform, rate, f"waveform[{row}]")
        return self._recognizer.predict(list(waveforms), sampling_rate=rate)


mlflow.models.set_model(SpeechEmotion())
