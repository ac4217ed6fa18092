"""What an older version has left behind is taken up by this one: `made.py` says how it was made."""

import csv
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_vitser import Recognizer, experiments
from tests.old_versions.made import LABELS, recordings

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

VERSIONS = sorted(path.name for path in Path(__file__).parent.glob("[0-9]*"))
NETWORKS = ("teacher", "student", "student_alone")


@pytest.fixture(params=VERSIONS)
def left(request):
    return Path(__file__).parent / request.param / keras.backend.backend()


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    return recordings(tmp_path / "data")


def predictions(folder):
    """Probabilities by recording and network, in the order of the labels."""
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (row["path"], network): [float(row[f"{network}_{label}"]) for label in LABELS]
        for row in rows
        for network in NETWORKS
    }


def numbers(values, name=""):
    """Every number of `metrics.json` by its place."""
    if isinstance(values, dict):
        return {key: number for part in values for key, number in numbers(values[part], f"{name}.{part}").items()}
    if isinstance(values, list):
        return {key: n for place, value in enumerate(values) for key, n in numbers(value, f"{name}.{place}").items()}
    return {name: values} if isinstance(values, int | float) else {}


def test_there_is_an_older_version():
    assert VERSIONS


def test_its_model_folder_answers_as_it_did(left, data):
    recognizer = Recognizer.load(left / "model")
    assert recognizer.labels == LABELS
    expected = {path: values for (path, network), values in predictions(left).items() if network == "student"}
    assert len(expected) == 4
    for path, values in expected.items():
        answer = recognizer.predict(data.parent / path)
        np.testing.assert_allclose(answer.probabilities, values, rtol=0, atol=1e-6)


def test_its_stopped_run_ends_as_it_would_have(left, data, tmp_path):
    folder = Path(shutil.copytree(left / "stopped", tmp_path / "run"))
    trained = set()
    finished = experiments.resume(folder, data, progress=lambda task, done, total: trained.add(task))
    assert {"matching", "student", "student_alone"} <= trained
    assert "teacher" not in trained
    expected, found = numbers(json.loads((left / "metrics.json").read_text())), numbers(finished.metrics)
    assert len(expected) > 40
    assert found == pytest.approx(expected, abs=1e-6)
    then, now = predictions(left), predictions(folder)
    assert then.keys() == now.keys()
    for key, values in then.items():
        np.testing.assert_allclose(now[key], values, rtol=0, atol=2e-6)
