"""`keras-vitser compare`, on run folders that are written by hand."""

import json

import pytest

from keras_vitser.experiments import load_config
from tests.experiments.made_up import TINY

pytestmark = pytest.mark.backends("tensorflow")

CLIPS = ("a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav")


def scores(share, clips):
    chance = {"largest_class": 0.5, "uniform": 0.25}
    values = {"unweighted_accuracy": share, "weighted_accuracy": share + 0.1, "macro_f1": share - 0.1}
    return values | {"clips": clips, "chance": chance, "sentence": "a line"}


@pytest.fixture
def write(tmp_path):
    """Makes a run folder; its last `test` clips test."""

    def write_run(name, test=2, share=0.5, leaky=False, versions=None, ended=True, taught=True, **overrides):
        folder = tmp_path / name
        folder.mkdir()
        values = TINY | {"corpus.name": "demo"} | {key.replace("__", "."): value for key, value in overrides.items()}
        config = load_config(None, values)
        (folder / "config.yaml").write_text(config.to_yaml())
        parts = ["train"] * (len(CLIPS) - test) + ["test"] * test
        rows = [f"{path},as recorded,calm,,{part}" for path, part in zip(CLIPS, parts, strict=True)]
        (folder / "split.csv").write_text("\n".join(["# protocol: x", "path,copy,label,speaker,part", *rows]) + "\n")
        environment = {"backend": "jax", "python": "3.11", "versions": {"keras": "3.15.1"} | (versions or {})}
        (folder / "environment.json").write_text(json.dumps(environment))
        if ended:
            metrics = {"protocol": config.protocol.name, "leaky": leaky}
            metrics |= {"teacher": scores(share + 0.2, test)} if taught else {}
            (folder / "metrics.json").write_text(json.dumps(metrics | {"student": scores(share, test)}))
            (folder / "report.html").write_text("")
        return folder

    return write_run


def rows_of(text):
    return [line.split() for line in text.splitlines()]


def test_what_differs_is_named_and_nothing_else(command, write):
    one = write("one")
    two = write("two", share=0.6, stages__student__alpha=0.5, seed=3, versions={"keras": "3.16.0", "jax": "0.7"})
    ended = command("compare", one, two)
    assert ended.code == 0, ended.err
    rows = rows_of(ended.out)
    assert ["first:", "one"] in rows
    assert ["second:", "two"] in rows
    assert ["seed", "0", "3"] in rows
    assert ["stages.student.alpha", "10.0", "0.5"] in rows
    assert ["keras", "3.15.1", "3.16.0"] in rows
    assert ["jax", "-", "0.7"] in rows
    assert not [row for row in rows if row[:1] in (["python"], ["backend"], ["corpus.name"])]
    numbers = ["%", "60.0", "%", "40.0", "%", "25.0", "%", "/", "50.0", "%", "2", "speaker_independent"]
    assert ["student", "first", "50.0", *numbers] in rows
    assert [row[2] for row in rows if row[:1] == ["teacher"]] == ["70.0", "80.0"]
    assert "not comparable" not in ended.out
    assert "split," not in ended.out
    assert "LEAKY" not in ended.out


def test_runs_that_are_the_same(command, write):
    ended = command("compare", write("one"), write("two"))
    assert "config: no difference" in ended.out
    assert "versions: no difference" in ended.out


def test_leaky_stands_in_the_line_of_its_scores(command, write):
    ended = command("compare", write("one"), write("two", leaky=True, protocol={"name": "paper"}))
    lines = [line for line in ended.out.splitlines() if "LEAKY" in line]
    assert [line.split()[:2] for line in lines] == [["teacher", "second"], ["student", "second"]]
    assert all(line.rstrip().endswith("paper LEAKY") for line in lines)


def test_other_test_clips_cannot_be_compared(command, write):
    ended = command("compare", write("one"), write("two", test=3))
    assert "not comparable: other test clips; of 2 and 3 they share 2" in ended.out
    assert "split, test: 2 and 3 examples, 2 in both" in ended.out
    assert "split, train: 2 and 1 examples, 1 in both" in ended.out


def test_other_corpora_cannot_be_compared(command, write):
    ended = command("compare", write("one"), write("two", corpus__name="savee"))
    assert "not comparable: other corpora, demo and savee" in ended.out


def test_a_run_that_has_not_ended_has_no_scores(command, write):
    one, two, three = write("one"), write("two", ended=False), write("three", ended=False)
    rows = rows_of(command("compare", one, two).out)
    assert ["student", "second", *["-"] * 6] in rows
    assert "neither run has ended" in command("compare", two, three).out


def test_a_network_that_one_run_lacks_is_said(command, write):
    lines = command("compare", write("one"), write("two", taught=False)).out.splitlines()
    assert "the second run has no teacher" in lines
    assert not any("first run has no" in line for line in lines)


def test_json_is_the_same(command, write):
    ended = command("compare", write("one"), write("two", test=3, seed=3, share=0.6), "--json")
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert answer["runs"] == ["one", "two"]
    assert answer["config"] == {"seed": [0, 3]}
    assert answer["versions"] == {}
    assert answer["split"]["test"] == {"first": 2, "second": 3, "both": 2}
    assert answer["not_comparable"] == "other test clips; of 2 and 3 they share 2"
    first, second = answer["scores"]["student"]
    assert (first["unweighted_accuracy"], second["unweighted_accuracy"]) == (0.5, 0.6)
    assert (first["protocol"], first["leaky"], first["clips"]) == ("speaker_independent", False, 2)
    assert first["chance"] == {"largest_class": 0.5, "uniform": 0.25}


def test_what_is_no_run_is_refused(command, write, tmp_path):
    assert "is no run folder" in command("compare", write("one"), tmp_path).refusal
