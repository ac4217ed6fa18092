"""`keras-vitser train`: recordings of one's own without a config, and what is refused before any training."""

import csv
import json
import shlex

import pytest
import yaml

from keras_vitser.cli import train as module
from tests.experiments.made_up import TINY

pytestmark = pytest.mark.backends("torch")


def tiny():
    """The `--set` options that make networks and images tiny."""
    values = {key: value for key, value in TINY.items() if not key.startswith("stages.")}
    return [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def test_a_folder_of_ones_own_needs_no_config(command, class_folders, runs):
    arguments = ["--data", class_folders, "--runs", runs, "--epochs", "0,0,1", "--batch-size", "4", "--seed", "5"]
    ended = command("train", *tiny(), *arguments, "--json")
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    (folder,) = runs.iterdir()
    assert answer["run"] == str(folder)
    assert answer["model"] == str(folder / "model")
    assert answer["metrics"] == json.loads((folder / "metrics.json").read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["corpus"]["name"], config["protocol"]["name"], config["seed"]) == ("folder", "random", 5)
    assert [config["stages"][stage]["epochs"] for stage in ("teacher", "matching", "student")] == [0, 0, 1]
    assert {config["stages"][stage]["batch_size"] for stage in ("teacher", "matching", "student")} == {4}


def test_a_table_of_ones_own_keeps_speakers_apart(command, class_folders, runs, tmp_path):
    table_of_ones_own = tmp_path / "mine.csv"
    with table_of_ones_own.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "speaker"])
        for path in sorted(class_folders.rglob("*.wav")):
            writer.writerow([path, path.parent.name, f"person{int(path.stem) % 4}"])
    arguments = ["--data", table_of_ones_own, "--runs", runs, "--epochs", "0,0,1"]
    ended = command("train", *tiny(), *arguments)
    assert ended.code == 0, ended.err
    (folder,) = runs.iterdir()
    for role in ("teacher", "student"):
        line = next(line for line in ended.out.splitlines() if line.startswith(f"{role}: "))
        assert "chance 50.0 %" in line
        assert "speaker_independent" in line
    assert str(folder / "report.html") in ended.out
    assert str(folder / "model") in ended.out
    with (folder / "predictions.csv").open(newline="") as file:
        tested = list(csv.DictReader(file))
    firsts = [next(row for row in tested if row["label"] == label) for label in ("calm", "upset")]
    table, lines = ended.out.split("test clip")[1].split("To try next:\n")
    for row, line in zip(firsts, table.splitlines()[1:3], strict=True):
        path, label, answer, probability = line.rsplit(maxsplit=3)
        assert str(class_folders / row["label"]) in path
        assert path.endswith(row["path"].rpartition("/")[2])
        assert (label, answer) == (row["label"], row["student"])
        assert float(probability) == pytest.approx(float(row[f"student_{answer}"]), abs=0.0051)
    pasted = [shlex.split(line, comments=True) for line in lines.splitlines()]
    assert [words[1] for words in pasted] == ["predict", "train", "export"]
    assert {words[0] for words in pasted} == {"keras-vitser"}
    assert command(*pasted[0][1:]).code == 0
    assert pasted[1][2:5] == [str(folder / "config.yaml"), "--data", str(table_of_ones_own)]
    assert pasted[2][2] == str(folder)


def test_a_table_without_speakers_is_split_by_clips(class_folders, tmp_path):
    table = tmp_path / "mine.csv"
    rows = [f"{path},{path.parent.name}" for path in sorted(class_folders.rglob("*.wav"))]
    table.write_text("\n".join(["path,label", *rows]))
    assert module._for_own_recordings(table) == {"corpus.name": "manifest"}


def test_what_was_left_out_stands_below_the_scores(command, class_folders, runs, monkeypatch):
    from keras_vitser import experiments

    given = {}

    def run(config, data, *, overrides, **options):
        given.update(overrides)
        left_out = {"recordings": 1, "sentence": "1 of 17 recordings cannot be read and is left out: a.wav."}
        return experiments.Run(runs, {"left_out": left_out}, {"student": "UA 50.0 %"})

    monkeypatch.setattr(experiments.experiment, "run", run)
    ended = command("train", "--data", class_folders, "--leave-out-unreadable", "--labels-as-written")
    assert ended.out.splitlines()[:2] == [
        "student: UA 50.0 %",
        "note: 1 of 17 recordings cannot be read and is left out: a.wav.",
    ]
    assert (given["corpus.leave_out_unreadable"], given["corpus.labels_as_written"]) == (True, True)


class TestRefusals:
    @pytest.fixture(autouse=True)
    def nothing_is_written(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        yield
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--seed", "1"], "say what to train on"),
            (["demos"], "Did you mean 'demo'?"),
            (["demo", "--epochs", "5"], "--epochs takes three whole numbers"),
            (["demo", "--epochs", "5,5,x"], "'5,5,x'"),
            (["demo", "--epochs", "5,5,-1"], "--epochs"),
            (["demo", "--batch-size", "0"], "stages.teacher.batch_size"),
            (["demo", "--protocol", "mine"], "protocol.name"),
            (["demo", "--seed", "-1"], "seed"),
            (["demo", "--set", "seed"], "--set takes KEY=VALUE"),
            (["demo", "--set", "=1"], "--set takes KEY=VALUE"),
            (["demo", "--set", "seed=["], "is not YAML"),
            (["demo", "--set", "stages.student.epoch=1"], "did you mean 'epochs'?"),
            (["demo", "--set", "corpus.name=savoy"], "savee"),
            (["demo", "--set", "tracking=off"], "tracking"),
            (["demo", "--backend", "pytorch"], "tensorflow, jax, torch"),
            (["demo", "--set", "stages.teacher.from=nowhere"], "nowhere"),
            (["savee"], "folder"),
            (["savee", "--data", "nowhere"], "nowhere"),
            (["--data", "nowhere"], "nowhere"),
            (["--data", "nowhere.csv"], "nowhere.csv"),
        ],
    )
    def test_a_fault_costs_one_line(self, command, arguments, words):
        assert words in command("train", *arguments).refusal

    def test_a_typo_in_a_config_is_named_with_the_file(self, command, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text("corpus: {name: demo}\nstages: {student: {epoch: 3}}\n")
        line = command("train", path).refusal
        assert str(path) in line
        assert "did you mean 'epochs'?" in line

    def test_a_text_named_wav_is_named(self, command, class_folders, tmp_path):
        for label in ("calm", "upset"):
            (tmp_path / "clips" / label).mkdir(parents=True)
            for number in range(5):
                (tmp_path / "clips" / label / f"{number}.wav").write_text(f"no sound {label} {number}")
        ended = command("train", *tiny(), "--data", tmp_path / "clips", "--runs", tmp_path / "others")
        assert ended.code == 2
        last = ended.err.splitlines()[-1]
        assert last.startswith("error: ")
        assert ".wav: is not a sound file" in last
        assert "10 of 10 recordings" in last
        assert all(f"{label}/{number}.wav" in last for label in ("calm", "upset") for number in range(5))
        assert not (tmp_path / "others").exists()

    def test_what_a_run_began_with_is_not_changed(self, command):
        assert "leave out the config" in command("train", "demo", "--resume", "x").refusal

    def test_a_folder_without_sound(self, command, tmp_path):
        (tmp_path / "empty").mkdir()
        assert "no sub-folder holds" in command("train", "--data", tmp_path / "empty").refusal

    def test_runs_that_is_a_file(self, command, class_folders, tmp_path):
        (tmp_path / "file").write_text("")
        ended = command("train", *tiny(), "--data", class_folders, "--runs", tmp_path / "file")
        assert ended.code == 2
        assert str(tmp_path / "file") in ended.err.splitlines()[-1]
