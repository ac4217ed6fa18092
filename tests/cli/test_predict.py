"""`keras-vitser predict`: one bad file never stops the others."""

import csv
import io
import json
import shutil
import sys
import types

import numpy as np
import pytest
import soundfile

from keras_vitser.recognizer import Recognizer
from tests.audio.unheard_sounds import lsb_noise, tone
from tests.cli.conftest import LABELS, write_sound

pytestmark = pytest.mark.backends("torch")


@pytest.fixture
def mixed(tmp_path):
    """A folder of two recordings and one text that is named like one."""
    folder = tmp_path / "mixed"
    write_sound(folder / "a.wav", 1)
    write_sound(folder / "z" / "c.wav", 2)
    (folder / "b.wav").write_text("this is no sound")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_a_line_a_file_in_the_order_given(command, model, tmp_path):
    paths = [write_sound(tmp_path / f"{number}.wav", number) for number in (2, 0, 1)]
    ended = command("predict", *paths, "--model", model, "--json")
    assert (ended.code, ended.err) == (0, "")
    rows = json_lines(ended.out)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    expected = Recognizer.load(model).predict(paths)
    for row, answer in zip(rows, expected, strict=True):
        assert (row["label"], row["seconds_used"], row["heard"], row["error"]) == (answer.label, 0.5, 0.125, None)
        assert list(row["probabilities"]) == list(LABELS)
        assert list(row["probabilities"].values()) == pytest.approx(answer.probabilities.tolist(), abs=1e-5)
        assert row["probability"] == pytest.approx(answer.probabilities.max(), abs=1e-5)


def test_one_bad_file_stops_nothing(command, model, mixed):
    ended = command("predict", mixed, mixed / "gone.wav", "--model", model, "--json")
    assert "2 of 4 files" in ended.refusal
    rows = json_lines(ended.out)
    names = ["a.wav", "b.wav", "c.wav", "gone.wav"]
    assert [row["path"].replace("\\", "/").rsplit("/", 1)[1] for row in rows] == names
    assert [row["label"] is None for row in rows] == [False, True, False, True]
    assert "not a sound file" in rows[1]["error"]
    assert "no such file" in rows[3]["error"]


def test_csv_has_a_line_a_file(command, model, mixed):
    ended = command("predict", mixed, "--model", model, "--csv")
    assert ended.code == 2
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert list(rows[0]) == ["path", "label", "seconds_used", *LABELS, "heard", "error"]
    assert [row["heard"] for row in rows] == ["0.125", "", "0.125"]
    assert len(rows) == 3
    assert [row["label"] in LABELS for row in rows] == [True, False, True]
    assert sum(float(rows[0][label]) for label in LABELS) == pytest.approx(1, abs=1e-4)
    assert [bool(row["error"]) for row in rows] == [False, True, False]


def test_the_table_names_every_file_and_the_reasons_follow(command, model, mixed):
    ended = command("predict", mixed, "--model", model)
    assert ended.code == 2
    for word in ("emotion", "a.wav", "b.wav", "c.wav", "not read"):
        assert word in ended.out.replace("\n", "")
    assert "is not a sound file" in ended.err
    assert "1 of 3 files" in ended.err


def test_a_sound_shorter_than_a_sample_stops_nothing(command, model, tmp_path):
    short = write_sound(tmp_path / "short.wav", seconds=1 / 192000, rate=192000)
    good = write_sound(tmp_path / "good.wav")
    ended = command("predict", short, good, "--model", model, "--json")
    assert "1 of 2 files" in ended.refusal
    rows = json_lines(ended.out)
    assert str(short) in rows[0]["error"]
    assert rows[1]["label"] in LABELS


def test_of_a_long_file_one_warning_tells(command, model, tmp_path):
    path = write_sound(tmp_path / "long.wav", seconds=5)
    ended = command("predict", path, "--model", model, "--json")
    assert ended.code == 0
    assert json_lines(ended.out)[0]["seconds_used"] == 4.0
    assert ended.err.count("warning: ") == 1
    assert "first 4 s" in ended.err


@pytest.fixture
def late(tmp_path):
    """Five seconds of silence, and a second of sound."""
    samples = np.concatenate([lsb_noise(5 * 16000), tone(np.full(16000, 0.1))])
    soundfile.write(tmp_path / "late.wav", samples, 16000, subtype="PCM_16")
    return tmp_path / "late.wav"


def test_of_silence_the_table_and_one_warning_tell(command, model, late, tmp_path):
    ended = command("predict", late, write_sound(tmp_path / "a.wav"), "--model", model)
    assert ended.code == 0
    assert ended.out.splitlines()[0].split() == ["file", "emotion", "probability", "seconds", "heard"]
    assert "nothing" in ended.out
    assert "12.5 %" in ended.out
    assert ended.err.count("nothing was heard in 1 of 2 recordings") == 1


def test_silence_before_a_sound_is_skipped_where_asked(command, model, late):
    skipped = command("predict", late, "--model", model, "--json", "--skip-silence")
    assert (skipped.code, skipped.err) == (0, "")
    (row,) = json_lines(skipped.out)
    assert (row["seconds_used"], row["heard"]) == (1.0, 0.25)
    (row,) = json_lines(command("predict", late, "--model", model, "--json").out)
    assert (row["seconds_used"], row["heard"]) == (4.0, 0.0)


def test_a_file_of_answers_is_of_one_kind(command, model, late):
    output = late.with_name("answers.csv")
    manifest = late.with_name("clips.txt")
    manifest.write_text("late.wav\n")
    arguments = ("predict", "--manifest", manifest, "--model", model, "--output", output)
    assert command(*arguments, "--skip-silence").code == 0
    (row,) = csv.DictReader(io.StringIO(output.read_text()))
    assert (row["seconds_used"], row["heard"]) == ("1.0", "0.25")
    assert "was begun with --skip-silence" in command(*arguments).refusal
    assert command(*arguments, "--skip-silence").code == 0


def test_a_run_folder_is_a_model(command, model, tmp_path):
    shutil.copytree(model, tmp_path / "run" / "model")
    path = write_sound(tmp_path / "a.wav")
    assert command("predict", path, "--model", tmp_path / "run", "--json").code == 0


def test_a_folder_without_sound(command, model, tmp_path):
    (tmp_path / "notes.txt").write_text("no sound")
    assert "holds no sound file" in command("predict", tmp_path, "--model", model).refusal


def test_a_folder_without_sound_among_others_stops_nothing(command, model, mixed, tmp_path):
    (tmp_path / "empty").mkdir()
    ended = command("predict", mixed / "a.wav", tmp_path / "empty", mixed / "z", "--model", model, "--json")
    assert ended.code == 2
    assert "1 of 3 files could not be read" in ended.err
    assert f"{tmp_path / 'empty'}: holds no sound file; give files" in ended.err
    rows = json_lines(ended.out)
    assert [row["label"] is None for row in rows] == [False, True, False]
    assert rows[1]["path"] == str(tmp_path / "empty")
    assert "is a folder" in rows[1]["error"]


def test_a_model_that_is_missing_or_damaged(command, model, tmp_path):
    path = write_sound(tmp_path / "a.wav")
    assert "nowhere" in command("predict", path, "--model", tmp_path / "nowhere").refusal
    damaged = tmp_path / "model"
    shutil.copytree(model, damaged)
    (damaged / "model.keras").write_bytes(b"half")
    assert "is not the file that was saved" in command("predict", path, "--model", damaged).refusal


def test_a_preset_of_a_hub(command, model, tmp_path, monkeypatch):
    hub = types.SimpleNamespace(snapshot_download=lambda repo, **_: {"user/repo": str(model)}[repo])
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    path = write_sound(tmp_path / "a.wav")
    ended = command("predict", path, "--model", "hf://user/repo@v1", "--json")
    assert json_lines(ended.out)[0]["label"] == Recognizer.load(model).predict(path).label
    assert "hf://user: is no address" in command("predict", path, "--model", "hf://user").refusal


def test_a_backend_that_is_none(command, model, tmp_path):
    path = write_sound(tmp_path / "a.wav")
    line = command("predict", path, "--model", model, "--backend", "pytorch").refusal
    assert "tensorflow, jax, torch" in line


class TestManifest:
    """`--manifest`, `--output` and `--engine`."""

    @pytest.fixture
    def listed(self, tmp_path):
        """A manifest of 40 lines beside its recordings, one of which is missing."""
        for number in range(3):
            write_sound(tmp_path / "clips" / f"{number}.wav", number)
        lines = [f"clips/{number % 3}.wav" for number in range(40)]
        lines[7] = "clips/gone.wav"
        (tmp_path / "clips.txt").write_text("\n".join(lines) + "\n")
        return tmp_path / "clips.txt", lines

    def test_it_is_printed_as_csv_and_written_the_same(self, command, model, listed):
        manifest, lines = listed
        output = manifest.with_name("answers.csv")
        printed = command("predict", "--manifest", manifest, "--model", model)
        written = command("predict", "--manifest", manifest, "--model", model, "--output", output)
        assert (printed.code, written.code) == (2, 2)
        assert "1 of 40 files could not be read" in printed.refusal
        assert output.read_text() == printed.out
        rows = list(csv.DictReader(io.StringIO(printed.out)))
        assert [row["path"] for row in rows] == lines
        assert [row["path"] for row in rows if row["error"]] == ["clips/gone.wav"]
        assert "40 recordings, 0 of them from before" in written.out
        assert "not read: " in written.err
        assert "gone.wav: no such file" in written.err

    def test_it_goes_on(self, command, model, listed):
        manifest, _ = listed
        output = manifest.with_name("answers.csv")
        arguments = ("predict", "--manifest", manifest, "--model", model, "--output", output)
        command(*arguments)
        whole = output.read_bytes()
        output.write_bytes(whole[:1500])
        again = command(*arguments)
        assert output.read_bytes() == whole
        assert f"{whole[:1500].count(10) - 1} of them from before" in again.out
        assert "1 of 40 files" in again.err

    def test_stdin_and_json(self, command, model, listed, monkeypatch):
        manifest, lines = listed
        monkeypatch.chdir(manifest.parent)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(manifest.read_bytes())))
        ended = command("predict", "--manifest", "-", "--model", model, "--json")
        assert [row["path"] for row in json_lines(ended.out)] == lines

    def test_a_folder_goes_into_a_file(self, command, model, listed):
        output = listed[0].with_name("answers.csv")
        ended = command("predict", listed[0].with_name("clips"), "--model", model, "--output", output)
        assert ended.code == 0
        assert output.read_text().count("\n") == 1 + 3

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--manifest", "nowhere.txt"], "nowhere.txt: cannot be read"),
            (["--manifest", "x.txt", "a.wav"], "either sound files and folders, or a list"),
            ([], "either sound files and folders, or a list"),
            (["a.wav", "--output", "a.csv", "--json"], "give one of them"),
            (["a.wav", "--output", "nowhere/a.csv"], "there is no folder nowhere"),
            (["a.wav", "--engine", "spark"], "'local', 'ray'"),
            (["a.wav", "--engine", "ray", "--workers", "0"], "--workers"),
        ],
    )
    def test_what_is_refused(self, command, model, arguments, words):
        assert words in command("predict", "--model", model, *arguments).refusal

    def test_the_output_of_another_job_is_refused_and_kept(self, command, model, listed):
        manifest, _ = listed
        output = manifest.with_name("answers.csv")
        command("predict", "--manifest", manifest, "--model", model, "--output", output)
        before = output.read_bytes()
        manifest.write_text("clips/2.wav\n")
        ended = command("predict", "--manifest", manifest, "--model", model, "--output", output)
        assert "belongs to another manifest" in ended.refusal
        assert output.read_bytes() == before

    def test_without_ray_one_line_tells_what_to_install(self, command, model, listed, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        ended = command("predict", "--manifest", listed[0], "--model", model, "--engine", "ray")
        assert "pip install 'keras-vitser[ray]'" in ended.refusal
