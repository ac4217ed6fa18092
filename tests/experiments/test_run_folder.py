"""The run folder: a new one each time, and each file in it whole."""

import datetime
import json
import pathlib
import re
import unicodedata

import numpy as np
import pytest

from keras_vitser import corpora
from keras_vitser.corpora import protocols
from keras_vitser.errors import RunFolderError
from keras_vitser.experiments import run_folder
from keras_vitser.experiments.run_folder import RunFolder, environment

pytestmark = pytest.mark.backends("tensorflow")

TODAY = datetime.date.today().isoformat()


def test_a_second_run_of_the_day_gets_a_number(tmp_path):
    names = [RunFolder.create(tmp_path / "runs", "demo_s0").path.name for _ in range(3)]
    assert names == [f"{TODAY}_demo_s0", f"{TODAY}_demo_s0-2", f"{TODAY}_demo_s0-3"]


def test_a_name_may_hold_anything(tmp_path):
    run = RunFolder.create(tmp_path, "my corpus/../ä:*_s0")
    assert run.path.parent == tmp_path
    assert run.path.name == f"{TODAY}_my-corpus-..-_s0"


@pytest.mark.parametrize("place", ["file", "file/deeper"])
def test_a_parent_that_is_a_file_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="file"):
        RunFolder.create(tmp_path / place, "demo")


def test_a_parent_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    """The administrator may write anywhere, so that the system's answer is made up."""

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    with pytest.raises(RunFolderError, match=r"cannot be made \(Permission denied\); give another `--runs`"):
        RunFolder.create(tmp_path / "runs", "demo")


def test_progress_reads_back_what_was_added(tmp_path):
    run = RunFolder.create(tmp_path, "demo")
    assert run.progress() == []
    rows = [{"stage": "teacher", "epoch": epoch, "loss": 0.1 * epoch} for epoch in (1, 2)]
    for row in rows:
        run.add_progress(row)
        assert (run.path / "progress.jsonl").read_text().endswith("\n")
    assert run.progress() == rows


def test_a_file_that_fails_leaves_the_older_one(tmp_path):
    run = RunFolder.create(tmp_path, "demo")
    run.write_json("metrics.json", {"a": "ä"})
    with pytest.raises(TypeError):
        run.write_json("metrics.json", {"a": object()})
    assert json.loads((run.path / "metrics.json").read_text(encoding="utf-8")) == {"a": "ä"}
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "figures", "metrics.json"]


def test_half_a_line_of_progress_is_no_line(tmp_path):
    run = RunFolder.create(tmp_path, "demo")
    run.add_progress({"stage": "teacher", "epoch": 1})
    with (run.path / "progress.jsonl").open("a") as file:
        file.write('{"stage": "tea')
    assert run.progress() == [{"stage": "teacher", "epoch": 1}]


def test_progress_after_a_checkpoint_is_dropped(tmp_path):
    run = RunFolder.create(tmp_path, "demo")
    rows = [{"stage": stage, "epoch": epoch} for stage in ("teacher", "student") for epoch in (1, 2, 3)]
    for row in rows:
        run.add_progress(row)
    run.keep_progress("student", 3)
    assert run.progress() == rows
    run.keep_progress("student", 1)
    assert run.progress() == rows[:4]
    run.keep_progress("teacher", 0)
    assert run.progress() == []


def test_one_process_works_in_a_folder(tmp_path):
    run = RunFolder.create(tmp_path, "demo")
    with run.lock(), pytest.raises(RunFolderError, match="another process works in it"), run.lock():
        pass
    with run.lock():
        pass


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    """The administrator may write anywhere, so that the system's answer is made up."""
    run = RunFolder.create(tmp_path, "demo")

    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(RunFolderError, match=r"cannot be written \(Read-only file system\)"), run.lock():
        pass


@pytest.mark.parametrize("missing", ["", "config.yaml", "split.csv"])
def test_what_is_no_run_folder_is_not_taken_up(tmp_path, missing):
    folder = tmp_path / "run"
    if missing:
        folder.mkdir()
        for name in {"config.yaml", "split.csv"} - {missing}:
            (folder / name).write_text("")
    with pytest.raises(RunFolderError, match="is no run folder"):
        RunFolder.open(folder)


@pytest.mark.parametrize("content", [None, "{", "\xff"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    run = RunFolder.create(tmp_path, "demo")
    if content:
        (run.path / "environment.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunFolderError, match=r"environment\.json: cannot be read"):
        run.read_json("environment.json")


def test_predictions_have_each_networks_answer(tmp_path):
    split = protocols.speaker_independent(
        corpora.load("demo", classes=["anger", "sadness"]), test_speakers=["speaker2"], copies=1
    )
    run = RunFolder.create(tmp_path, "demo")
    values = np.tile([[0.25, 0.75]], (len(split.test), 1))
    run.write_predictions(split, {"teacher": values, "student": values[:, ::-1]})
    header, first, *rest = (run.path / "predictions.csv").read_text().splitlines()
    assert header == (
        "path,copy,label,speaker,teacher,student,teacher_anger,teacher_sadness,student_anger,student_sadness"
    )
    assert first == (
        "speaker2/anger_1.wav,as recorded,anger,speaker2,sadness,anger,0.250000,0.750000,0.750000,0.250000"
    )
    assert len(rest) == len(split.test) - 1


def test_the_environment_needs_no_git(monkeypatch):
    def fail(*args, **kwargs):
        raise FileNotFoundError("git")

    monkeypatch.setattr(run_folder.subprocess, "run", fail)
    values = environment()
    assert values["git_commit"] is None
    assert json.loads(json.dumps(values)) == values
    assert values["processors"] >= 1


@pytest.fixture
def begun(tmp_path):
    """A run folder whose split was written, its split, and the rows of `split.csv`."""
    for name in ("a/Ärger_1", "a/Ärger_2", "b/Ärger_1", "b/Ärger_2"):
        path = tmp_path / "clips" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    clips = [corpora.Clip(path, "Ärger", path.parent.name) for path in sorted((tmp_path / "clips").rglob("*.wav"))]
    corpus = corpora.Corpus("mine", tmp_path / "clips", tuple(clips), ("Ärger",), "none")
    train, validation, test = (tuple(map(corpora.Example, some)) for some in (clips[:2], clips[2:3], clips[3:]))
    split = corpora.Split(corpus, "random", train, validation, test, (), False, False, "as written", {})
    run = RunFolder.create(tmp_path, "mine")
    run.write_text("split.csv", run_folder._split_table(split))
    return run, split, (run.path / "split.csv").read_text(encoding="utf-8")


class TestCheckSplit:
    def test_the_same_split_is_taken(self, begun):
        run, split, _ = begun
        run.check_split(split)
        assert run.split_parts()["test"] == [["b/Ärger_2.wav", "as recorded", "Ärger", "b"]]

    def test_words_forms_and_columns_of_other_versions_say_nothing(self, begun):
        run, split, table = begun
        assert unicodedata.normalize("NFD", "Ärger") not in table
        table = table.replace(",Ärger,", f",{unicodedata.normalize('NFD', 'Ärger')},")
        table = table.replace("as written", "in other words").replace(",part\n", ",session,part\n")
        (run.path / "split.csv").write_text(re.sub(r",(train|validation|test)\n", r",7,\1\n", table), encoding="utf-8")
        run.check_split(split)
        assert [len(row) for rows in run.split_parts().values() for row in rows] == [4] * 4

    @pytest.mark.parametrize(
        ("before", "after"),
        [("a/", "c/"), ("as recorded", "noise"), (",b,", ",a,"), (",validation", ",train"), (",Ärger,", ",Zorn,")],
    )
    def test_another_clip_copy_label_speaker_or_part_is_refused(self, begun, before, after):
        run, split, table = begun
        assert before in table
        (run.path / "split.csv").write_text(table.replace(before, after, 1), encoding="utf-8")
        with pytest.raises(RunFolderError, match="the recordings are not those that the run began with"):
            run.check_split(split)
