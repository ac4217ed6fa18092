"""Adding a system touches models, systems, a config and tests: shown by one that has nothing of ViT-SER."""

import json

import jsonschema
import numpy as np
import pytest

from keras_vitser import Recognizer, experiments, serving
from keras_vitser.cli.overrides import overrides_of
from keras_vitser.errors import ConfigError
from keras_vitser.experiments import config as configs
from keras_vitser.experiments import systems
from keras_vitser.experiments.comparison import compare
from keras_vitser.experiments.config.files import config_schema
from keras_vitser.models import front_ends, register_front_end
from tests.experiments.systems.toy import Toy, ToyConfig
from tests.front_ends import Energies
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

OVERRIDES = {"system": "toy", "corpus.name": "demo", "corpus.classes": ["anger", "sadness"]}
OVERRIDES |= {"protocol.test_speakers": ["speaker6"], "augmentation.copies": 1, "tracking.enabled": False}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(front_ends, "_registered", {})
    monkeypatch.setitem(systems.SYSTEMS, "toy", None)
    monkeypatch.setitem(configs.CONFIGS, "toy", None)
    systems.register_system(Toy(), ToyConfig)
    register_front_end(Energies)


@pytest.fixture
def finished(tmp_path):
    return experiments.run(None, runs=tmp_path, overrides=OVERRIDES)


@pytest.mark.backends("jax", "torch", more=["jax"])  # TensorFlow trains it to export it
def test_it_is_trained_measured_saved_loaded_and_predicted_with(finished):
    assert list(finished.sentences) == ["layer"]
    assert finished.metrics["layer"]["clips"] == 4
    names = {path.name for path in finished.folder.iterdir()}
    assert {"model", "metrics.json", "predictions.csv", "report.html", "split.csv"} <= names
    assert "teacher" not in names
    rows = [json.loads(line) for line in (finished.folder / "progress.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["epoch"]) for row in rows] == [("labels", 1), ("labels", 2)]
    assert "Reads ten energies" in (finished.model_folder / "MODEL_CARD.md").read_text()
    recognizer = Recognizer.load(finished.model_folder)
    assert isinstance(recognizer.front_end, Energies)
    answer = recognizer.predict(finished.answers[0].path)
    assert (answer.label, answer.seconds_used) == (finished.answers[0].answer, 1.0)


@pytest.mark.backends("torch")
def test_its_settings_are_searched(tmp_path):
    tuning = require("tune") and experiments.tuning
    space = {"tuning.space": {"stages.labels.learning_rate": [1e-2, 1e-3]}, "tuning.algorithm": "random"}
    found = tuning.tune(None, runs=tmp_path, overrides=OVERRIDES | space | {"tuning.trials": 2, "tuning.epochs": 1})
    assert {trial.values["stages.labels.learning_rate"] for trial in found.best} == {1e-2, 1e-3}
    assert experiments.load_config(found.best_config).system == "toy"
    with pytest.raises(ConfigError, match=r"tuning\.space: say what is searched.*stages\.labels\.learning_rate"):
        tuning.tune(None, runs=tmp_path, overrides=OVERRIDES)


@pytest.mark.backends("torch")
def test_its_config_is_checked_by_options_and_schema():
    overrides = overrides_of("3", 8, None, None, ["system=toy"])
    assert overrides == {"stages.labels.epochs": 3, "stages.labels.batch_size": 8, "system": "toy"}
    with pytest.raises(ConfigError, match=r"--epochs takes one whole number, labels\. Received: '1,2,3'"):
        overrides_of("1,2,3", None, None, None, ["system=toy"])
    schema = config_schema()
    ours = schema["$defs"]["ToyConfig"]["properties"]
    assert {"extends", "system", "corpus"} <= set(ours)
    assert "teacher" not in ours
    jsonschema.validate({"system": "toy", "seed": 1}, schema)


@pytest.mark.backends("tensorflow", "jax", "torch", more=["tensorflow"])
def test_it_goes_on_after_a_stop_and_is_compared(finished, tmp_path):
    class Stopped(Exception):
        pass

    def stop(task, done, total):
        if (task, done) == ("labels", 5):
            raise Stopped

    with pytest.raises(Stopped):
        experiments.run(None, runs=tmp_path / "stopped", overrides=OVERRIDES, progress=stop)
    (folder,) = (tmp_path / "stopped").iterdir()
    again = experiments.resume(folder)
    assert again.metrics == finished.metrics
    difference = compare(finished.folder, folder)
    assert list(difference.scores) == ["layer"]
    assert not difference.config


@pytest.mark.backends("torch")
def test_it_is_tracked(tmp_path):
    mlflow = require("track")
    run = experiments.run(None, runs=tmp_path, overrides=OVERRIDES | {"tracking.enabled": True})
    tracked = experiments.track(run.folder)
    data = mlflow.tracking.MlflowClient(tracked.uri).get_run(tracked.run_id).data
    assert data.params["system"] == "toy"
    assert data.metrics["test/layer/unweighted_accuracy"] == run.metrics["layer"]["unweighted_accuracy"]


@pytest.mark.backends("tensorflow")
def test_it_is_exported(finished, tmp_path):
    tf = require("tensorflow")
    exported = serving.export(finished.folder, tmp_path / "toy", version=1)
    served = tf.saved_model.load(str(exported.path)).signatures["serving_default"]
    clip = np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32)
    here = Recognizer.load(finished.model_folder).probabilities(clip)
    np.testing.assert_allclose(served(waveform=tf.constant(clip))["probabilities"], here, rtol=1e-5)


def test_a_key_of_another_system_is_named():
    with pytest.raises(ConfigError, match="unknown key 'teacher'"):
        experiments.load_config(None, {"system": "toy", "teacher.depth": 2})
    with pytest.raises(ConfigError, match=r"system: must be one of vit_ser, toy.*'tay'.*Did you mean 'toy'"):
        experiments.load_config(None, {"system": "tay"})
