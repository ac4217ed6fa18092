"""One tiny run from end to end, what it leaves behind, and what further runs make of it.

Runs are dear, so they are few: the first, the same again (which cannot be tracked), and one on two of
the classes that starts from the networks of the first, under the protocol that leaks.
"""

import csv
import hashlib
import importlib.util
import json
import logging
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_vitser import corpora, experiments
from keras_vitser.corpora import protocols
from keras_vitser.errors import ConfigError, CorpusError, LeakageError, ModelFolderError, ProtocolError, RunFolderError
from keras_vitser.experiments import load_config
from keras_vitser.experiments.comparison import compare
from keras_vitser.recognizer import Recognizer
from tests.experiments.made_up import TINY, chirp
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch", more=["jax"])

TRACKED = keras.backend.backend() == "torch"  # once will do
TWO = ("anger", "sadness")
LABELS = ("anger", "happiness", "neutral", "sadness")
TINY_DEMO = TINY | {
    "corpus.name": "demo",
    "protocol.test_speakers": ["speaker6"],
    "stages.teacher.epochs": 2,
    "stages.save_interval": 3600.0,  # so that the count of checkpoints does not depend on the machine's speed
    "seed": 3,
}
FILES = {
    "config.yaml",
    "environment.json",
    "split.csv",
    "progress.jsonl",
    "metrics.json",
    "predictions.csv",
    "report.html",
    "checkpoints/.lock",
    "checkpoints/teacher-000002.npz",  # after the state at its start
    "checkpoints/matching-000002.npz",
    "checkpoints/student-000002.npz",
    "figures/confusion_teacher.png",
    "figures/confusion_student.png",
    "figures/learning_curves.png",
    *(
        f"{place}/{name}"
        for place in ("teacher", "model")
        for name in ("model.keras", "recognizer.json", "MODEL_CARD.md")
    ),
}


def run(runs, progress=lambda *step: None, **overrides):
    values = TINY_DEMO | {key.replace("__", "."): value for key, value in overrides.items()}
    return experiments.run(None, runs=runs, overrides=values, progress=progress)


class Logged(logging.Handler):
    """The package's log lines while it is entered."""

    def __enter__(self):
        self.lines = []
        self.logger = logging.getLogger("keras_vitser")
        self.level = self.logger.level
        self.logger.setLevel(logging.INFO)
        self.logger.addHandler(self)
        return self

    def __exit__(self, *exception):
        self.logger.removeHandler(self)
        self.logger.setLevel(self.level)

    def emit(self, record):
        self.lines.append(record.getMessage())


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(path):
    """The rows of a CSV below its `#` comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def weights_of(folder):
    return Recognizer.load(folder).network.get_weights()


def same(first, second):
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def first(runs, steps):
    """The run that is looked at, tracked on one backend if MLflow is installed."""
    return run(runs, lambda *step: steps.append(step), tracking__enabled=TRACKED)


@pytest.fixture(scope="module")
def split():
    return protocols.speaker_independent(corpora.load("demo"), test_speakers=["speaker6"], seed=3, copies=1)


class TestRunFolder:
    def test_every_file_is_there_and_none_is_half(self, first):
        files = {path.relative_to(first.folder).as_posix(): path for path in first.folder.rglob("*") if path.is_file()}
        tracked = {"tracking.json"} if TRACKED and importlib.util.find_spec("mlflow") else set()
        assert set(files) == FILES | tracked
        assert all(path.stat().st_size for name, path in files.items() if name != "checkpoints/.lock")

    def test_its_name_says_corpus_protocol_and_seed(self, first):
        assert first.folder.name.endswith("_demo_speaker_independent_s3")

    def test_the_config_reads_back(self, first):
        expected = load_config(None, TINY_DEMO | {"tracking.enabled": TRACKED})
        assert load_config(first.folder / "config.yaml") == expected

    def test_the_environment_says_versions_and_backend(self, first):
        environment = read_json(first.folder / "environment.json")
        assert environment["backend"] == keras.backend.backend()
        assert environment["versions"]["keras"] == keras.__version__
        assert environment["python"].startswith("3.")

    def test_the_split_is_the_protocols(self, first, split):
        text = (first.folder / "split.csv").read_text(encoding="utf-8")
        assert "# protocol: speaker_independent" in text
        assert f"# {split.description}" in text
        assert all(f"# {warning}" in text for warning in split.warnings)
        found = {
            (row["path"], row["copy"], row["label"], row["speaker"], row["part"])
            for row in rows_of(first.folder / "split.csv")
        }
        expected = {
            (split.corpus.relative_path(example.clip), "as recorded", example.clip.label, example.clip.speaker, part)
            for part in ("train", "validation", "test")
            for example in getattr(split, part)
        }
        assert found == expected

    def test_progress_has_a_line_a_stage_and_epoch(self, first):
        rows = [json.loads(line) for line in (first.folder / "progress.jsonl").read_text().splitlines()]
        assert [(row["stage"], row["epoch"]) for row in rows] == [
            ("teacher", 1), ("teacher", 2), ("matching", 1), ("student", 1),
        ]  # fmt: skip
        assert all(np.isfinite(row["loss"]) for row in rows)

    def test_progress_is_shown_from_images_to_tracking(self, first, steps):
        tasks = list(dict.fromkeys(task for task, _, _ in steps))
        assert tasks == [
            "recordings", "train images", "validation images", "test images", "teacher", "validation",
            "teacher features", "matching", "student", "test of the teacher", "test of the student", "report",
            "tracking",
        ]  # fmt: skip
        for task in tasks:
            _, done, total = [step for step in steps if step[0] == task][-1]
            assert done == total > 0

    def test_the_metrics_are_the_runs_and_stand_beside_chance(self, first, split):
        metrics = read_json(first.folder / "metrics.json")
        assert metrics == json.loads(json.dumps(first.metrics))
        assert (metrics["corpus"], metrics["protocol"], metrics["leaky"]) == ("demo", "speaker_independent", False)
        assert metrics["given"] == {}
        for role in ("teacher", "student"):
            scores = metrics[role]
            assert scores["clips"] == len(split.test) == 8
            assert scores["chance"] == {"largest_class": 0.25, "uniform": 0.25}
            assert [row["label"] for row in scores["per_class"]] == list(LABELS)
            assert [row["speaker"] for row in scores["per_speaker"]] == ["speaker6"]
            assert "chance 25.0 %" in first.sentences[role]
            assert "speaker_independent" in first.sentences[role]

    def test_the_predictions_are_those_of_the_metrics(self, first, split):
        rows = rows_of(first.folder / "predictions.csv")
        assert [row["path"] for row in rows] == [split.corpus.relative_path(example.clip) for example in split.test]
        assert [row["label"] for row in rows] == [example.clip.label for example in split.test]
        for role in ("teacher", "student"):
            numbers = np.array([[float(row[f"{role}_{label}"]) for label in LABELS] for row in rows])
            np.testing.assert_allclose(numbers.sum(axis=1), 1, atol=1e-5)
            answers = [row[role] for row in rows]
            assert all(numbers[i, LABELS.index(answer)] >= numbers[i].max() - 2e-6 for i, answer in enumerate(answers))
            confusion = np.zeros((4, 4), int)
            for row, answer in zip(rows, answers, strict=True):
                confusion[LABELS.index(row["label"]), LABELS.index(answer)] += 1
            scores = first.metrics[role]
            assert scores["confusion"] == confusion.tolist()
            assert scores["weighted_accuracy"] == pytest.approx(confusion.trace() / 8)
            assert scores["unweighted_accuracy"] == pytest.approx(np.mean(confusion.diagonal() / confusion.sum(axis=1)))

    def test_the_figures_are_pictures_and_stand_in_the_report(self, first):
        for path in (first.folder / "figures").iterdir():
            assert path.read_bytes().startswith(b"\x89PNG")
        html = (first.folder / "report.html").read_text(encoding="utf-8")
        assert html.count("data:image/png;base64,") == 3
        for role in ("teacher", "student"):
            assert first.sentences[role] in html

    @pytest.mark.parametrize("place", ["teacher", "model"])
    def test_a_model_folder_is_whole(self, first, split, place):
        folder = first.folder / place
        settings = read_json(folder / "recognizer.json")
        for name, expected in settings["sha256"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
        assert set(settings["sha256"]) == {"model.keras", "MODEL_CARD.md"}
        role = "student" if place == "model" else "teacher"
        card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert first.sentences[role] in card
        assert role in card.splitlines()[0]
        known = Recognizer.load(folder).provenance
        heard = {example.clip.content_hash for example in (*split.train, *split.validation)}
        assert known.clips == heard
        assert known.speakers == {f"demo/speaker{number}" for number in range(1, 61) if number != 6}
        assert (known.protocol, known.leaky, known.sentence) == ("speaker_independent", False, first.sentences[role])

    def test_the_model_answers_as_the_run_measured(self, first, split):
        recognizer = Recognizer.load(first.model_folder)
        answers = recognizer.predict([example.clip.path for example in split.test])
        rows = rows_of(first.folder / "predictions.csv")
        for answer, row in zip(answers, rows, strict=True):
            np.testing.assert_allclose(
                answer.probabilities, [float(row[f"student_{label}"]) for label in LABELS], atol=1e-5
            )

    def test_the_checkpoints_are_the_models(self, first):
        network = Recognizer.load(first.model_folder).network
        with np.load(first.folder / "checkpoints" / "student-000002.npz") as arrays:
            kept = [arrays[f"model_{place}"] for place in range(len(network.variables))]
        assert same([keras.ops.convert_to_numpy(variable) for variable in network.variables], kept)


@pytest.fixture(scope="module")
def client(runs):
    mlflow = require("track")
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")


@pytest.fixture(scope="module")
def tracked(first, client):
    """By name: the run itself as `run`, and its stages."""
    experiment = client.get_experiment_by_name("keras_vitser")
    found = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in found if "mlflow.parentRunId" not in run.data.tags)
    stages = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(found) == 1 + len(stages)
    return {"run": parent} | {stage.info.run_name: stage for stage in stages}


@pytest.mark.backends("torch")
class TestTracking:
    def test_the_run_is_finished_under_the_folders_name_and_has_a_run_a_stage(self, first, tracked):
        assert tracked["run"].info.run_name == first.folder.name
        assert set(tracked) == {"run", "teacher", "matching", "student"}
        assert {run.info.status for run in tracked.values()} == {"FINISHED"}

    def test_the_run_folder_says_where_it_is(self, first, tracked):
        state = read_json(first.folder / "tracking.json")
        assert state == {
            "uri": None,
            "experiment": "keras_vitser",
            "run": tracked["run"].info.run_id,
            "stages": {stage: tracked[stage].info.run_id for stage in ("teacher", "matching", "student")},
            "complete": True,
        }

    def test_every_value_of_the_config_is_a_parameter(self, tracked):
        params = tracked["run"].data.params
        assert params["stages.student.alpha"] == "10.0"
        assert params["seed"] == "3"
        assert params["protocol.test_speakers"] == "['speaker6']"
        assert "stages.teacher.from" in params
        assert tracked["student"].data.params["alpha"] == "10.0"
        assert tracked["teacher"].data.params["epochs"] == "2"

    def test_the_protocol_and_the_corpus_are_tags(self, first, tracked, split):
        tags = tracked["run"].data.tags
        assert (tags["protocol"], tags["leaky"]) == ("speaker_independent", "False")
        assert tags["split"] == split.description
        assert tags["corpus.fingerprint"] == split.corpus.fingerprint
        for sentence in first.sentences.values():
            assert sentence in tags["mlflow.note.content"]

    def test_the_parts_of_the_split_are_inputs(self, tracked, split):
        inputs = {each.tags[0].value: each.dataset for each in tracked["run"].inputs.dataset_inputs}
        assert set(inputs) == {"train", "validation", "test"}
        assert len({data.digest for data in inputs.values()}) == 3
        for part, data in inputs.items():
            assert data.name == "demo"
            profile = json.loads(data.profile)
            assert profile["examples"] == len(getattr(split, part))
            assert (profile["fingerprint"], profile["leaky"]) == (split.corpus.fingerprint, False)
            assert json.loads(data.source)["split"] == split.description

    def test_each_stage_has_its_metrics_by_epoch(self, first, client, tracked):
        rows = [json.loads(line) for line in (first.folder / "progress.jsonl").read_text().splitlines()]
        for stage, epochs in (("teacher", 2), ("matching", 1), ("student", 1)):
            history = client.get_metric_history(tracked[stage].info.run_id, "loss")
            expected = [(row["epoch"], row["loss"]) for row in rows if row["stage"] == stage]
            assert [(metric.step, metric.value) for metric in history] == expected
            assert len(history) == epochs
            assert 0 <= tracked[stage].data.metrics["system/cpu_utilization_percentage"] <= 100
        assert "validation_unweighted_accuracy" in tracked["student"].data.metrics

    def test_the_scores_stand_beside_chance(self, first, tracked):
        metrics = tracked["run"].data.metrics
        for role in ("teacher", "student"):
            for name in ("weighted_accuracy", "unweighted_accuracy", "macro_f1"):
                assert metrics[f"test/{role}/{name}"] == first.metrics[role][name]
        assert metrics["test/chance_uniform"] == 0.25
        assert metrics["test/chance_largest_class"] == 0.25

    def test_figures_and_model_are_artifacts(self, client, tracked, runs):
        def names(folder=None):
            return {Path(file.path).name for file in client.list_artifacts(tracked["run"].info.run_id, folder)}

        assert {"report.html", "config.yaml", "split.csv", "metrics.json"} <= names()
        assert {"confusion_student.png", "confusion_teacher.png", "learning_curves.png"} <= names("figures")
        assert names("model") == {"model.keras", "recognizer.json", "MODEL_CARD.md"}
        assert Path(tracked["run"].info.artifact_uri.removeprefix("file://")).is_relative_to(runs)

    def test_mlflow_loads_the_model_without_a_pickle(self, first, tracked):
        import mlflow

        place = f"{tracked['run'].info.artifact_uri}/mlflow_model"
        model = mlflow.pyfunc.load_model(place)
        for seconds in (0.25, 4):
            waveforms = np.stack([chirp(number, seconds) for number in range(3)])
            found = model.predict(waveforms)
            answers = Recognizer.load(first.model_folder).predict(list(waveforms), sampling_rate=16000)
            assert list(found["label"]) == [answer.label for answer in answers]
            expected = [answer.probabilities for answer in answers]
            np.testing.assert_allclose(found[[f"probability_{label}" for label in LABELS]], expected, atol=1e-6)
            np.testing.assert_allclose(found["score"], np.max(expected, axis=1), atol=1e-6)
            assert list(found["heard"]) == [answer.heard for answer in answers] == [-(-seconds // 0.02) / 200] * 3
        assert model.metadata.signature.inputs.inputs[0].type == np.float32
        assert model.metadata.signature.outputs.input_names() == list(found)
        assert model.input_example.shape == (1, 16000)
        files = [path.name for path in Path(place.removeprefix("file://")).rglob("*")]
        assert "mlflow_model.py" in files
        assert not [name for name in files if name.endswith((".pkl", ".pickle"))]


@pytest.fixture(scope="module")
def again(runs, first, tmp_path_factory):
    if TRACKED:
        require("track")
    no_store = tmp_path_factory.mktemp("no store") / "file"
    no_store.write_text("not a folder")
    np.random.default_rng(0)
    keras.utils.set_random_seed(99)
    with Logged() as log:
        finished = run(runs, tracking__enabled=TRACKED, tracking__uri=f"sqlite:///{no_store / 'mlflow.db'}")
    return finished, log.lines


class TestTheSameAgain:
    """Config, seed and data as before; the tracking store cannot be opened."""

    def test_the_same_config_and_seed_give_the_same_metrics(self, first, again):
        texts = [(folder / "metrics.json").read_text() for folder in (first.folder, again[0].folder)]
        assert texts[0] == texts[1]

    def test_and_the_same_weights(self, first, again):
        for place in ("teacher", "model"):
            assert same(weights_of(first.folder / place), weights_of(again[0].folder / place))

    def test_a_second_run_of_the_day_has_a_folder_of_its_own(self, first, again):
        assert again[0].folder.name == f"{first.folder.name}-2"

    @pytest.mark.backends("torch")
    def test_a_tracking_store_that_fails_stops_nothing(self, again):
        finished, lines = again
        assert (finished.folder / "metrics.json").is_file()
        for words in ("tracking stopped", f"keras-vitser track {finished.folder}"):
            warnings = [line for line in lines if words in line]
            assert len(warnings) == 1
            assert "\n" not in warnings[0]


def progress_of(run):
    return [json.loads(line) for line in (run.folder / "progress.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    return run(tmp_path_factory.mktemp("compared"), stages__compare_alone=True, tracking__enabled=True)


@pytest.mark.backends("tensorflow", "jax", "torch", more=["tensorflow", "jax"])
class TestComparedWithTheStudentAlone:
    def test_it_is_the_student_of_a_run_without_a_teacher(self, compared, tmp_path):
        without = {"stages__teacher__epochs": 0, "stages__matching__epochs": 0, "stages__student__alpha": 0.0}
        alone = run(tmp_path, **without)
        assert compared.metrics["student_alone"] == alone.metrics["student"]
        assert not (alone.folder / "teacher").exists()
        assert list(alone.sentences) == ["student"]
        assert {row["stage"] for row in progress_of(alone)} == {"student"}
        assert compare(compared.folder, alone.folder).scores["teacher"][1] is None
        rows = [rows_of(each.folder / "predictions.csv") for each in (compared, alone)]
        for row, expected in zip(*rows, strict=True):
            for label in LABELS:
                assert row[f"student_alone_{label}"] == expected[f"student_{label}"]
        assert compared.metrics["student"]["log_loss"] != compared.metrics["student_alone"]["log_loss"]

    def test_and_the_taught_one_is_as_without_the_comparison(self, compared, first):
        assert compared.metrics["student"] == first.metrics["student"]
        assert same(weights_of(compared.model_folder), weights_of(first.model_folder))

    def test_it_stands_beside_the_other_wherever_scores_do(self, compared):
        sentence, folder = compared.sentences["student_alone"], compared.folder
        assert f"Student alone: {sentence}" in (folder / "report.html").read_text(encoding="utf-8")
        assert sentence in (folder / "model" / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert (folder / "figures" / "confusion_student_alone.png").is_file()
        assert experiments.resume(folder).sentences == compared.sentences
        scores = compare(folder, folder).scores["student_alone"][0]
        assert scores["unweighted_accuracy"] == compared.metrics["student_alone"]["unweighted_accuracy"]

    def test_its_training_is_a_stage_of_its_own(self, compared):
        assert [row["stage"] for row in progress_of(compared)][-2:] == ["student", "student_alone"]
        assert (compared.folder / "checkpoints" / "student_alone-000002.npz").is_file()
        if importlib.util.find_spec("mlflow"):
            assert list(read_json(compared.folder / "tracking.json")["stages"])[-1] == "student_alone"

    def test_the_first_test_clip_of_each_class_is_answered(self, compared, split):
        rows = rows_of(compared.folder / "predictions.csv")
        for answered, label in zip(compared.answers, LABELS, strict=True):
            row = next(row for row in rows if row["label"] == label)
            assert split.corpus.folder / row["path"] == answered.path
            assert (row["label"], row["student"]) == (answered.label, answered.answer)
            assert answered.probability == pytest.approx(float(row[f"student_{answered.answer}"]), abs=1e-6)
            assert answered.is_right == (row["label"] == row["student"])


@pytest.fixture(scope="module")
def onward(runs, first):
    with Logged() as log:
        finished = run(
            runs,
            corpus__classes=list(TWO),
            protocol={"name": "paper"},
            stages__teacher__from=str(first.folder),
            stages__student__initial_weights=str(first.folder),
            stages__matching__epochs=0,
            stages__student__learning_rate=1e-7,
        )
    return finished, log.lines


@pytest.mark.backends("torch")
class TestGivenNetworks:
    """A teacher and a student of four classes go on, on two of them, under the protocol that leaks."""

    def test_stage_a_is_skipped_and_the_teacher_is_the_given_one(self, first, onward):
        finished, lines = onward
        rows = [json.loads(line) for line in (finished.folder / "progress.jsonl").read_text().splitlines()]
        assert [row["stage"] for row in rows] == ["student"]
        assert any("teacher is given" in line for line in lines)
        assert same(weights_of(finished.folder / "teacher"), weights_of(first.folder / "teacher"))
        assert Recognizer.load(finished.folder / "teacher").labels == LABELS

    def test_the_hash_of_each_given_network_is_recorded(self, first, onward):
        given = read_json(onward[0].folder / "metrics.json")["given"]
        for role, place in (("teacher", "teacher"), ("student", "model")):
            file = first.folder / place / "model.keras"
            assert given[role]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
            assert Path(given[role]["folder"]) == first.folder / place

    def test_other_labels_have_a_new_head_on_the_given_body(self, first, onward):
        """At a learning rate of 1e-7 the body has hardly moved from where it was given."""
        given = Recognizer.load(first.model_folder)
        student = Recognizer.load(onward[0].model_folder)
        assert student.labels == TWO
        assert student.network.output_shape == (None, 2)
        for layer in student.network.layers:
            if layer.name != "head":
                before = given.network.get_layer(layer.name).get_weights()
                for old, new in zip(before, layer.get_weights(), strict=True):
                    np.testing.assert_allclose(new, old, atol=1e-4)

    def test_what_the_given_ones_heard_is_remembered(self, first, onward):
        own, given = Recognizer.load(onward[0].model_folder), Recognizer.load(first.model_folder)
        assert given.provenance.clips <= own.provenance.clips
        assert given.provenance.speakers <= own.provenance.speakers
        teacher = Recognizer.load(onward[0].folder / "teacher")
        assert teacher.provenance == Recognizer.load(first.folder / "teacher").provenance

    def test_a_teacher_of_other_classes_is_not_scored(self, onward):
        assert "teacher" not in onward[0].metrics
        assert set(onward[0].sentences) == {"student"}

    def test_leaky_stands_in_the_line_of_every_score(self, onward):
        finished, _ = onward
        assert finished.metrics["leaky"] is True
        assert "LEAKY" in finished.sentences["student"]
        html = (finished.folder / "report.html").read_text(encoding="utf-8")
        assert finished.sentences["student"].replace("`", "&#96;") in html or finished.sentences["student"] in html
        assert finished.sentences["student"] in (finished.model_folder / "MODEL_CARD.md").read_text(encoding="utf-8")
        known = Recognizer.load(finished.model_folder).provenance
        assert known.leaky
        assert "LEAKY" in known.sentence

    def test_each_copy_has_its_line(self, onward):
        rows = rows_of(onward[0].folder / "predictions.csv")
        assert {row["copy"] for row in rows} == {"as recorded", "noise", "speed", "shift"}
        assert len(rows) == onward[0].metrics["student"]["clips"]


ROLES = ["stages__teacher__from", "stages__student__initial_weights"]


@pytest.mark.backends("torch")
@pytest.mark.parametrize("key", ROLES)
class TestRefusals:
    """Before anything is trained or written."""

    @pytest.fixture(autouse=True)
    def nothing_is_written(self, tmp_path):
        yield
        assert list(tmp_path.iterdir()) == []

    def test_a_network_that_heard_the_test_speaker_is_refused(self, first, tmp_path, key):
        with pytest.raises(LeakageError, match="trained on 8 of the 8 test clips") as caught:
            run(tmp_path, **{key: str(first.folder), "protocol__test_speakers": ["speaker1"]})
        assert key.replace("__", ".") in str(caught.value)

    def test_a_network_that_heard_a_test_clip_is_refused(self, first, tmp_path, key):
        with pytest.raises(LeakageError, match=r"\d+ of the \d+ test clips"):
            run(tmp_path, **{key: str(first.model_folder), "protocol": {"name": "random"}})

    def test_another_front_end_is_refused(self, first, tmp_path, key):
        with pytest.raises(ConfigError, match="top_db"):
            run(tmp_path, **{key: str(first.folder), "front_end__top_db": 60.0})

    def test_a_folder_that_is_no_model_is_refused(self, tmp_path, key):
        with pytest.raises(ModelFolderError, match="nowhere"):
            run(tmp_path, **{key: "nowhere"})


@pytest.mark.backends("torch")
def test_a_student_of_another_shape_is_refused(first, tmp_path):
    with pytest.raises(ConfigError, match=r"initial_weights.*student"):
        run(tmp_path, stages__student__initial_weights=str(first.folder), student__hidden_dim=32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"corpus__name": "demos"}, CorpusError),
        ({"corpus__name": "savee"}, CorpusError),
        ({"corpus__classes": ["anger", "joy"]}, CorpusError),
        ({"protocol__test_speakers": ["speaker99"]}, ProtocolError),
        ({"protocol__speaker": "speaker1"}, ProtocolError),
        ({"front_end__win_length": 2048}, ConfigError),
        ({"front_end__fmax": 9000.0}, ConfigError),
        ({"seed": -1}, ConfigError),
    ],
)
def test_a_config_that_fits_nothing_is_refused_before_anything_is_written(tmp_path, overrides, error):
    with pytest.raises(error):
        run(tmp_path, **overrides)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.backends("torch")
def test_runs_that_is_a_file_is_refused(tmp_path):
    file = tmp_path / "runs"
    file.write_text("")
    with pytest.raises(RunFolderError, match="runs"):
        run(file)


@pytest.mark.backends("torch")
@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_runs_that_may_not_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot be made"):
        run(tmp_path / "runs")
