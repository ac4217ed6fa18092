"""The script that MLflow runs to load a model of ours ("models from code"): nothing is pickled.

It is copied beside the model folder by `keras_vitser.experiments.mlflow_packaging`.
"""

import os
import sys

import mlflow
import numpy as np
import pandas as pd


class SpeechEmotion(mlflow.pyfunc.PythonModel):
    """From waveforms, float32 `(batch, samples)` at 16 kHz, to a table with a row a waveform.

    Its columns are `label`, `score` (the label's probability), `heard` (the share of the network's window in which
    something is heard; 0 is silence) and `probability_<label>` for each class. Of a waveform longer than the network's
    4 s the first 4 s are used; a shorter one is padded with zeros.
    """

    def load_context(self, context):
        if "keras" not in sys.modules:
            os.environ.setdefault("KERAS_BACKEND", context.model_config["backend"])
        from keras_vitser.recognizer import Recognizer

        self._recognizer = Recognizer.load(context.artifacts["model"])

    def predict(self, context, model_input: np.ndarray, params=None) -> pd.DataFrame:
        rate = self._recognizer.front_end.sampling_rate
        answers = self._recognizer.predict(list(np.asarray(model_input, np.float32)), sampling_rate=rate)
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


mlflow.models.set_model(SpeechEmotion())
