"""The model as `mlflow models serve` serves it, by its application in this process; lists of samples are its input."""

import json

import keras
import numpy as np
import pytest

from tests.requirements import require

require("track")
require("serve")

import mlflow
from mlflow.pyfunc import scoring_server
from starlette.testclient import TestClient

from keras_vitser.experiments.tracking.mlflow_packaging import save_mlflow_model
from keras_vitser.recognizer import Recognizer
from tests.experiments.made_up import front_end, network
from tests.serving.sample_lists import CASES, RATE

pytestmark = [
    pytest.mark.backends("tensorflow"),
    pytest.mark.filterwarnings("ignore:.*recordings last longer"),
]
LABELS = ["anger", "calm", "sadness"]


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer(network("student", 3), LABELS, front_end())


@pytest.fixture(scope="module")
def packed(recognizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    save_mlflow_model(recognizer.save(folder / "model"), LABELS, keras.backend.backend(), folder / "packed")
    return folder / "packed"


@pytest.fixture(scope="module")
def client(packed):
    return TestClient(scoring_server.init(mlflow.pyfunc.load_model(str(packed))))


@pytest.mark.parametrize("name", CASES)
def test_a_list_of_samples_is_answered_or_refused_with_the_reason(name, client, recognizer):
    case = CASES[name]
    response = client.post(
        "/invocations", content=json.dumps({"inputs": case.value}), headers={"Content-Type": "application/json"}
    )
    if case.mlflow:
        assert response.status_code == 400
        assert case.mlflow in response.json()["message"]
        return
    assert response.status_code == 200, response.text
    waveforms = [np.array(row, "float32") for row in case.value]
    for row, answer in zip(
        response.json()["predictions"], recognizer.predict(waveforms, sampling_rate=RATE), strict=True
    ):
        found = [row[f"probability_{label}"] for label in LABELS]
        np.testing.assert_allclose(found, answer.probabilities, rtol=0, atol=1e-6)
        assert row["label"] == answer.label


def test_the_metadata_names_the_rate_and_full_scale(packed):
    assert mlflow.models.Model.load(str(packed)).metadata == {"sampling_rate": 16000, "full_scale": [-1, 1]}
