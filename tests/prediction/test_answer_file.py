"""A file of answers that was stopped ends as one that never was."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_vitser.errors import PredictionError
from keras_vitser.prediction import Row, job_of, write_answers
from keras_vitser.prediction.row import csv_line
from keras_vitser.prediction.stream import BATCH
from tests.prediction.killable_job import job

pytestmark = pytest.mark.backends("torch")

ROOT = Path(__file__).parents[2]
LABELS = ("calm", "upset, loud")
JOB = {"format": 1, "model": "m", "backend": "b"}
PATHS = [f"{number}, é\udcff.wav" for number in range(2 * BATCH + 9)]


def stub(paths, start):
    """Answers that depend on the number of the row, so that one in the wrong place is seen."""
    assert start % BATCH == 0
    for number, path in enumerate(paths, start):
        if number % 5 == 3:
            yield Row(path, error=f"{path}: why, oh why")
        else:
            yield Row(path, LABELS[0], (number, 0.5), 1.0, heard=number / 100)


def write(output, paths=PATHS, answer=stub, labels=LABELS, job=JOB, progress=None):
    return write_answers(output, iter(paths), answer, labels, job, progress)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    output = tmp_path_factory.mktemp("expected") / "answers.csv"
    write(output)
    return output.read_bytes()


def refusal(*arguments, **settings):
    with pytest.raises(PredictionError) as caught:
        write(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_row_a_path_in_their_order(tmp_path):
    told = []
    written = write(tmp_path / "answers.csv", progress=told.append)
    assert told == list(range(1, len(PATHS) + 1))
    assert (written.total, written.before, written.failed) == (len(PATHS), 0, 14)
    assert written.reasons == [f"{PATHS[number]}: why, oh why" for number in (3, 8, 13)]
    with open(tmp_path / "answers.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert header == ["path", "label", "seconds_used", *LABELS, "heard", "error"]
    assert [row[-2] for row in rows[:5]] == ["0.0", "0.01", "0.02", "", "0.04"]
    assert [row[0] for row in rows] == PATHS
    assert [bool(row[-1]) for row in rows] == [number % 5 == 3 for number in range(len(PATHS))]


def test_torn_at_any_byte_it_ends_the_same(tmp_path, expected):
    """Every place in the first lines, every place in the last, and some between."""
    output = tmp_path / "answers.csv"
    write(output)
    places = [*range(150), *range(150, len(expected), 97), *range(len(expected) - 60, len(expected) + 1)]
    for place in places:
        os.truncate(output, place)
        written = write(output)
        assert output.read_bytes() == expected, place
        assert written.before == max(expected[:place].count(b"\n") - 1, 0)
        assert (written.total, written.failed, written.reasons[0]) == (len(PATHS), 14, f"{PATHS[3]}: why, oh why")


def test_a_name_with_a_line_break_is_no_end_of_a_line(tmp_path):
    paths = ["a\nb.wav", 'c\n"\n.wav', "d\re.wav"]
    output = tmp_path / "answers.csv"
    write(output, paths)
    whole = output.read_bytes()
    for place in range(len(whole) + 1):
        os.truncate(output, place)
        write(output, paths)
        assert output.read_bytes() == whole, place


def test_what_is_done_is_not_asked_for_again(tmp_path):
    output = tmp_path / "answers.csv"
    write(output)
    before = output.stat().st_mtime_ns

    def never(paths, start):
        raise AssertionError

    written = write(output, answer=never)
    assert (written.total, written.before) == (len(PATHS), len(PATHS))
    assert output.stat().st_mtime_ns == before


def test_a_manifest_that_has_grown_is_gone_on_with(tmp_path, expected):
    output = tmp_path / "answers.csv"
    write(output, PATHS[:40])
    assert write(output).before == 40
    assert output.read_bytes() == expected


def test_lines_are_there_as_soon_as_they_are_known(tmp_path):
    output = tmp_path / "answers.csv"
    write(output, progress=lambda rows: (_ for _ in ()).throw(AssertionError) if count(output) != rows else None)


def count(output):
    data = output.read_bytes()
    assert data.endswith(b"\n")
    return data.count(b"\n") - 1


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["other.wav", *PATHS[1:]], "row 1 is of 0, .*where the manifest has other.wav"),
        ([*PATHS[:50], *PATHS[51:]], "row 51 is of 50, .*another manifest"),
        (PATHS[:60], "row 61 is of 60, .*where the manifest has no more"),
        ([], "where the manifest has no more"),
    ],
)
def test_another_manifest_is_refused(tmp_path, expected, paths, words):
    output = tmp_path / "answers.csv"
    write(output)
    assert re.search(words, refusal(output, paths))
    assert output.read_bytes() == expected


def without_heard(data):
    """What an earlier version, without the column `heard`, wrote of the same rows."""
    rows = csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline=""), strict=True)
    return "".join(csv_line([*row[:-2], row[-1]]) for row in rows).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("rows", [0, 1, 31, 40, len(PATHS)])
def test_a_file_of_an_earlier_version_goes_on_in_its_own_columns(tmp_path, expected, rows):
    output, old = tmp_path / "answers.csv", without_heard(expected)
    begun = b"".join(old.splitlines(keepends=True)[: 1 + rows])
    output.write_bytes(begun)
    (tmp_path / "answers.csv.job").write_text(json.dumps(JOB))
    for torn in (len(begun), len(begun) - 7) if rows else (len(begun),):
        os.truncate(output, torn)
        assert write(output, job=JOB | {"skip_silence": False}).total == len(PATHS)
        assert output.read_bytes() == old


@pytest.mark.parametrize("skips", [False, True])
def test_answers_with_and_without_silence_skipped_are_not_mixed(tmp_path, expected, skips):
    output = tmp_path / "answers.csv"
    write(output, job=JOB | {"skip_silence": skips})
    said = refusal(output, job=JOB | {"skip_silence": not skips})
    was = "with" if skips else "without"
    assert f"was begun {was} --skip-silence; go on {was} it, or choose another name" in said
    assert output.read_bytes() == expected


def test_an_earlier_version_skipped_nothing(tmp_path):
    output = tmp_path / "answers.csv"
    write(output, PATHS[:3])
    assert "was begun without --skip-silence" in refusal(output, job=JOB | {"skip_silence": True})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"job": JOB | {"model": "n"}}, "of another model"),
        ({"job": JOB | {"backend": "c"}}, "was begun on b; give --backend b"),
        ({"labels": ("calm", "upset")}, "other columns"),
    ],
)
def test_another_model_is_refused(tmp_path, expected, settings, words):
    output = tmp_path / "answers.csv"
    write(output)
    assert words in refusal(output, **settings)
    assert output.read_bytes() == expected


def test_a_file_of_something_else_is_refused_and_kept(tmp_path):
    output = tmp_path / "answers.csv"
    output.write_text("precious\n")
    assert "choose another name" in refusal(output)
    (tmp_path / "answers.csv.job").write_text("{}")
    assert "choose another name" in refusal(output)
    assert output.read_text() == "precious\n"


def test_a_file_that_was_edited_is_refused(tmp_path):
    output = tmp_path / "answers.csv"
    write(output)
    output.write_bytes(output.read_bytes().replace(b",1.0,", b",1.0,,", 1))
    assert "was changed" in refusal(output)


def test_names_that_cannot_be_written(tmp_path):
    assert "no folder" in refusal(tmp_path / "nowhere" / "answers.csv")
    assert "choose another name" in refusal(tmp_path)


def test_a_manifest_of_nothing(tmp_path):
    assert "lists no recording" in refusal(tmp_path / "answers.csv", [])


def test_a_second_writer_is_refused(tmp_path):
    output = tmp_path / "answers.csv"
    said = []

    def progress(rows):
        if rows == 3:
            said.append(refusal(output))

    write(output, progress=progress)
    assert "another process writes it" in said[0]


def test_a_full_disk_costs_one_line_and_no_answer(tmp_path, expected):
    output = tmp_path / "answers.csv"
    write(output, PATHS[:40])
    code = (
        "import resource, sys, signal\n"
        "from pathlib import Path\n"
        "from tests.prediction import test_answer_file as t\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "output = Path(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (output.stat().st_size + 100,) * 2)\n"
        "print(t.refusal(output))"
    )
    done = subprocess.run([sys.executable, "-c", code, output], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "make room and start again" in done.stdout, done.stderr[-2000:]
    write(output)
    assert output.read_bytes() == expected


def test_a_job_is_the_models_content(model, tmp_path):
    copied = shutil.copytree(model, tmp_path / "elsewhere" / "model")
    assert job_of(copied) == job_of(model) == job_of(copied.parent) != job_of(model, skip_silence=True)
    assert job_of(model)["backend"] == keras.backend.backend()
    settings = copied / "recognizer.json"
    settings.write_text(settings.read_text().replace("calm", "loud"))
    assert job_of(copied) != job_of(model)


def run(**settings):
    command = [sys.executable, "-m", "tests.prediction.killable_job", json.dumps(settings)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def assert_kills_change_nothing(model, sounds, folder, rows, kills, pause):
    paths = [str(sounds / f"{number % 7}.wav") for number in range(rows)]
    paths[5::50] = [str(sounds / "nowhere.wav")] * len(paths[5::50])
    manifest = folder / "clips.txt"
    manifest.write_text("\n".join(paths))
    job(model, manifest, folder / "unkilled.csv")
    generator = np.random.default_rng(kills)
    settings = {"model": str(model), "manifest": str(manifest), "output": str(folder / "killed.csv")}
    for _ in range(kills):
        # Each kill leaves rows to the next: a job takes at least `rows * pause` seconds.
        ended = run(**settings, pause=pause, kill=generator.uniform(0, rows * pause / kills))
        assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
    before = (folder / "killed.csv").read_bytes().count(b"\n")
    assert kills < before < rows
    job(**settings)
    assert (folder / "killed.csv").read_bytes() == (folder / "unkilled.csv").read_bytes()
    with open(folder / "killed.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == paths


@pytest.mark.more
@pytest.mark.backends("tensorflow")
def test_two_kills_change_nothing(model, sounds, tmp_path):
    assert_kills_change_nothing(model, sounds, tmp_path, rows=300, kills=2, pause=0.003)


@pytest.mark.long
@pytest.mark.backends("tensorflow")
def test_twenty_kills_change_nothing(model, sounds, tmp_path):
    assert_kills_change_nothing(model, sounds, tmp_path, rows=3000, kills=20, pause=0.003)
