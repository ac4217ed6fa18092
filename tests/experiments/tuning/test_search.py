"""The hypermodel, on each backend; and what a search is begun with."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.requirements import require

keras_tuner = require("tune")

from keras_vitser.errors import DivergedError, ProtocolError, RunFolderError, TuningError
from keras_vitser.experiments import load_config, run, stages
from keras_vitser.experiments.feature_store import FeatureStore
from keras_vitser.experiments.preparation import front_end_of, split_of
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.experiments.tuning import OBJECTIVE, ViTSERHyperModel, tune
from keras_vitser.training.batches import Mask, Shift
from tests.experiments.made_up import TINY
from tests.experiments.tuning import quick_search
from tests.experiments.tuning.killable_search import REAL, job
from tests.experiments.tuning.quick_search import OVERRIDES

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")
once = pytest.mark.backends("torch")


@pytest.fixture
def quick(monkeypatch):
    """Trials that train nothing."""
    monkeypatch.setattr(ViTSERHyperModel, "build", quick_search.build)
    monkeypatch.setattr(ViTSERHyperModel, "fit", quick_search.fit)
    monkeypatch.setattr(keras.utils, "clear_session", lambda: None)


def part(seed, examples=24):
    """Images whose class shows."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, examples).astype(np.int32)
    images = generator.random((examples, 16, 16, 1), np.float32) / 2
    images[:, :8] += labels[:, None, None, None] / 2
    return stages.Part(images, labels)


class TestHyperModel:
    @once
    def test_it_works_in_a_plain_random_search(self, tmp_path):
        model = ViTSERHyperModel(load_config(None, REAL), num_classes=2)
        objective = keras_tuner.Objective(OBJECTIVE, "max")
        tuner = keras_tuner.RandomSearch(model, objective=objective, max_trials=2, seed=1, directory=tmp_path)
        train, validation = part(0), part(1)
        validation_data = (validation.x, validation.labels)
        tuner.search(train.x, train.labels, validation_data=validation_data, epochs=2, verbose=0)
        trials = tuner.oracle.get_best_trials(2)
        assert [trial.status for trial in trials] == ["COMPLETED"] * 2
        rates = {trial.hyperparameters.get("stages.student.learning_rate") for trial in trials}
        assert len(rates) == 2
        assert all(1e-4 <= rate <= 1e-2 for rate in rates)
        best = tuner.get_best_models(1)[0]
        watched = stages.BestEpoch(best, validation)
        watched.on_epoch_end(0, logs := {})
        assert logs[OBJECTIVE] == pytest.approx(trials[0].score)

    def test_a_trial_is_stage_a_of_a_run(self):
        overrides = TINY | {"tuning.network": "teacher", "augmentation.time_mask": 4, "augmentation.time_shift": 2}
        overrides |= {"stages.teacher.halve_every": 1, "tuning.epochs": 2, "stages.teacher.epochs": 2}
        overrides |= {"tuning.space": {"stages.teacher.learning_rate": [1e-2], "teacher.patch_width": [2]}}
        model = ViTSERHyperModel(load_config(None, overrides), num_classes=2)
        train, validation = part(0), part(1)
        hp = keras_tuner.HyperParameters()
        network = model.build(hp)
        scores = model.fit(
            hp, network, train.x, train.labels, validation_data=(validation.x, validation.labels), verbose=0
        )
        config = model.config_of(hp)
        assert (config.teacher.patch_size, config.stages.teacher.learning_rate) == ((16, 2), 1e-2)
        other = model.build(hp)
        rows = []
        watcher = stages.Watcher(rows.append)
        augment = (Shift(2, 0), Mask(4, 0))
        settings = config.stages.teacher
        lesson = stages.Lesson("teacher", settings, train, validation, config.seed, watcher, augment=augment)
        stages.train_by_labels(lesson, other)
        for ours, theirs in zip(network.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        best = max(rows, key=lambda row: (row[OBJECTIVE], -row["validation_loss"]))
        assert scores["validation_loss"] == pytest.approx(best["validation_loss"], rel=1e-6)

    def test_a_network_follows_from_seed_and_values(self):
        def weights(seed, depth):
            overrides = OVERRIDES | {"seed": seed, "tuning.space": {"student.depth": [depth]}}
            return ViTSERHyperModel(load_config(None, overrides), 2).build(keras_tuner.HyperParameters()).get_weights()

        first, again, other = weights(0, 1), weights(0, 1), weights(1, 1)
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
        assert len(weights(0, 2)) > len(first)

    @once
    def test_a_network_takes_the_images_of_its_front_end(self):
        """4.02 s are 64320 samples, of which floating point makes 64319.99999999999."""
        overrides = OVERRIDES | {"front_end.clip_seconds": 4.02, "front_end.hop_length": 160, "front_end.frames": None}
        overrides["tuning.space"] = {"student.depth": [1]}
        model = ViTSERHyperModel(load_config(None, overrides), 2)
        network = model.build(keras_tuner.HyperParameters())
        assert network.input_shape[1:] == (*front_end_of(model.config).image_size, 1)

    @once
    def test_values_come_back_as_the_space_states_them(self):
        model = ViTSERHyperModel(load_config(None, OVERRIDES), 2)
        for key, value in {"student.patch_width": 2, "student.depth": 3, "student.dropout": 0.1}.items():
            sent = float(np.float32(value)) if isinstance(value, float) else value
            assert model.exact(key, sent) == value
        assert model.exact("stages.student.learning_rate", float(np.float32(1.2345678e-3))) == 0.00123457

    @once
    def test_without_a_space_patch_width_and_depth_are_searched(self):
        hp = keras_tuner.HyperParameters()
        space = {"front_end.frames": 120, "tuning.network": "teacher"}
        model = ViTSERHyperModel(load_config(None, space), 2)
        model.config_of(hp)
        assert [domain.name for domain in hp.space] == ["teacher.patch_width", "teacher.depth"]
        assert hp.space[0].values == [1, 2, 4, 8]


@once
def test_the_test_part_is_never_read(tmp_path, quick, monkeypatch):
    read = []
    images = FeatureStore.features

    def watched(self, examples, progress=None):
        read.extend(examples)
        return images(self, examples, progress)

    monkeypatch.setattr(FeatureStore, "features", watched)
    search = tune(None, runs=tmp_path, overrides=OVERRIDES)
    split = split_of(load_config(search.folder / "config.yaml"), None)
    assert set(read) == set(split.train) | set(split.validation)
    assert split.test
    assert not set(read) & set(split.test)


@once
def test_a_search_leaves_a_table_and_a_config_to_train_with(tmp_path, quick):
    steps = []
    search = tune(None, runs=tmp_path, overrides=OVERRIDES, progress=lambda *step: steps.append(step))
    assert search.folder.parent == tmp_path
    assert "tune_demo_speaker_independent_s0" in search.folder.name
    lines = (search.folder / "trials.csv").read_text().splitlines()
    assert len(lines) == 1 + len(search.trials) == 5
    assert lines[0].startswith("trial,student.patch_width,student.depth,")
    best = search.best[0]
    assert best.best[OBJECTIVE] == max(trial.best[OBJECTIVE] for trial in search.trials)
    config = load_config(search.best_config)
    assert {key: config.value_at(key) for key in best.values} == best.values
    assert search.best_config.read_text().startswith(f"# Trial {best.name} of 4 of ")
    assert (search.chance, search.clips) == (0.5, 44)
    assert ("trials", 4, 4) in steps
    assert ("epochs of a trial", 3, 3) in steps
    again = tune(resume=search.folder)
    assert again == search


@once
def test_the_best_config_trains(tmp_path, quick):
    search = tune(None, runs=tmp_path, overrides=OVERRIDES)
    overrides = {"stages.teacher.epochs": 0, "stages.matching.epochs": 0}
    finished = run(search.best_config, runs=tmp_path, overrides=overrides)
    assert load_config(finished.folder / "config.yaml").student == load_config(search.best_config).student


@pytest.mark.more
@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("algorithm", ["hyperband", "bayesian"])
def test_real_trials(algorithm, tmp_path):
    """Random search has its own, below."""
    overrides = REAL | {"tuning.algorithm": algorithm, "tuning.epochs": 3, "tuning.trials": 4}
    search = tune(None, runs=tmp_path, overrides=overrides)
    assert [trial.status for trial in search.trials] == ["completed"] * 4
    if algorithm == "hyperband":
        assert [[row["epoch"] for row in trial.rows] for trial in search.trials] == [[1], [1], [1], [2, 3]]
        promoted = search.trials[3]
        first = next(trial for trial in search.trials if trial.values == promoted.values)
        assert first.rank == max(trial.rank for trial in search.trials[:3])
        assert promoted.rows[0]["loss"] < first.rows[0]["loss"]


def test_a_trial_diverges_at_its_first_loss_that_is_not_finite(tmp_path):
    rates = {"tuning.space": {"stages.student.learning_rate": [1e30]}}
    model = ViTSERHyperModel(load_config(None, OVERRIDES | rates), 2)
    hp = keras_tuner.HyperParameters()
    network, data, told = model.build(hp), part(0), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: told.append(logs))
    validation = data.x, data.labels
    with pytest.raises(DivergedError, match=r"stage student diverged: .* of epoch 1 is nan, at learning rate 1e\+30"):
        model.fit(hp, network, data.x, data.labels, validation_data=validation, callbacks=[note], verbose=0)
    assert told == []


@once
def test_a_search_whose_trials_all_diverged_ends_with_one_line(tmp_path, quick, monkeypatch, caplog):
    def fit(*args, **kwargs):
        raise DivergedError("stage student diverged: the loss of epoch 1 is nan, at learning rate 0.01")

    monkeypatch.setattr(ViTSERHyperModel, "fit", fit)
    line = r"all 4 trials diverged; search lower learning rates. The last: stage student diverged: the loss of epoch 1"
    with pytest.raises(TuningError, match=line):
        tune(None, runs=tmp_path, overrides=OVERRIDES)
    assert "go on with" not in caplog.text
    assert caplog.text.count(" diverged (stage student diverged: the loss") == 4
    (folder,) = tmp_path.iterdir()
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["status"], row[OBJECTIVE], row["epochs"]) for row in rows] == [("diverged", "", "0")] * 4
    with pytest.raises(TuningError, match=line):
        tune(resume=folder)


@pytest.mark.more
@pytest.mark.backends("tensorflow")
class TestResume:
    def test_a_killed_search_goes_on_where_it_was(self, tmp_path):
        expected = job(tmp_path / "unkilled").trials
        runs = tmp_path / "killed"
        settings = json.dumps({"runs": str(runs), "kill": [1, 1.0]})
        command = [sys.executable, "-m", "tests.experiments.tuning.killable_search", settings]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
        (folder,) = runs.iterdir()
        first = folder / "tuning" / "trial_0" / "epochs.jsonl"
        written = first.read_bytes()
        found = job(runs, resume=True).trials
        assert first.read_bytes() == written, "a finished trial was tried again"
        assert [trial.values for trial in found] == [trial.values for trial in expected]
        assert [trial.best[OBJECTIVE] for trial in found] == [trial.best[OBJECTIVE] for trial in expected]

    def test_a_run_is_no_search(self, tmp_path):
        (tmp_path / "config.yaml").write_text("")
        (tmp_path / "split.csv").write_text("")
        with pytest.raises(RunFolderError, match="is no search of `keras-vitser tune`"):
            tune(resume=tmp_path)

    def test_a_search_that_is_under_way_is_refused(self, tmp_path, quick):
        def stop(task, done, total):
            if (task, done) == ("trials", 1):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            tune(None, runs=tmp_path, overrides=OVERRIDES, progress=stop)
        (folder,) = tmp_path.iterdir()
        with RunFolder.open(folder).lock():
            code = f"from keras_vitser.experiments.tuning import tune; tune(resume={str(folder)!r})"
            second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
        assert "another process works in it" in second.stderr.splitlines()[-1]
        assert len(tune(resume=folder).trials) == 4


@once
class TestRefusals:
    def test_a_protocol_that_chooses_by_the_test_part(self, tmp_path):
        overrides = {"protocol": {"name": "paper"}}
        with pytest.raises(ProtocolError, match="chooses by the test part"):
            tune("demo", runs=tmp_path, overrides=overrides)
        assert not list(tmp_path.iterdir())

    def test_a_worker_without_a_search(self, monkeypatch):
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        with pytest.raises(TuningError, match="KERASTUNER_TUNER_ID and KERASTUNER_ORACLE_PORT must be set"):
            tune("demo")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker1")
        with pytest.raises(TuningError, match="--resume RUN"):
            tune("demo")
        with pytest.raises(TuningError, match="leave out one"):
            tune("demo", workers=2)

    def test_keras_tuner_is_named_where_it_is_missing(self):
        code = "import sys; sys.modules['keras_tuner'] = None; import keras_vitser.experiments as e; e.load_config; "
        code += "e.tuning"
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=dict(os.environ)
        )
        assert ended.returncode
        assert "TuningError: KerasTuner is not installed" in ended.stderr.splitlines()[-1]
        assert "keras-vitser[tune]" in ended.stderr.splitlines()[-1]
