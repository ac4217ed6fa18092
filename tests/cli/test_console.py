"""Progress in a terminal, and silence elsewhere."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from keras_vitser.cli import console

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(params=["terminal", "pipe"])
def written(request, monkeypatch):
    """Whether stderr is a terminal, and what is written to it."""
    file = io.StringIO()
    is_terminal = request.param == "terminal"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "err", Console(file=file, force_terminal=is_terminal, width=80))
    return is_terminal, file.getvalue


def test_a_bar_names_its_task_how_far_it_is_and_how_long_it_takes(written):
    is_terminal, text = written
    with console.progress_bars() as progress:
        progress("validation", 0, 4)
        progress("validation", 3, 4)
        progress("teacher", 7, 20)
    if is_terminal:
        assert "validation" in text()
        assert "3/4" in text()
        assert "7/20" in text()
        assert "-:--:--" in text()  # too early for an estimate
    else:
        assert text() == ""


def test_a_task_that_begins_again_is_shown_from_its_start(written):
    is_terminal, text = written
    with console.progress_bars() as progress:
        progress("validation", 4, 4)
        progress("validation", 1, 5)
    assert ("1/5" in text()) == is_terminal


def test_bars_can_be_silent_in_a_terminal(written):
    _, text = written
    with console.progress_bars(silent=True) as progress:
        progress("files", 1, 2)
    assert "files" not in text()


def test_work_of_unknown_length_is_named(written):
    is_terminal, text = written
    with console.working("starting jax"):
        pass
    assert ("starting jax ..." in text()) == is_terminal
    assert is_terminal or text() == ""


GREETING = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795813654.170428    7453 port.cc:153] oneDNN custom operations are on.\n"
)


def test_greetings_of_a_backends_libraries_are_left_out_and_nothing_else(capfd):
    with console.starting("not_loaded_yet"):
        os.write(2, f"{GREETING}E0000 00:00 a fault\n".encode())
        print("words of Python", file=sys.stderr)
    os.write(2, b"I0000 afterwards\n")
    print("Python afterwards", file=sys.stderr)
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines[:2]) == ["E0000 00:00 a fault", "words of Python"]  # on two ways, so in any order
    assert sorted(lines[2:]) == ["I0000 afterwards", "Python afterwards"]


def test_the_last_words_of_a_library_that_aborts_are_not_lost():
    code = (
        "import os\n"
        "from keras_vitser.cli.console import starting\n"
        "with starting('not_loaded_yet'):\n"
        "    os.write(2, b'F0000 00:00 compiled for another processor\\n')\n"
        "    os.abort()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode != 0
    assert "compiled for another processor" in ended.stderr


def test_without_grep_all_is_shown(capfd, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with console.starting("not_loaded_yet"):
        os.write(2, GREETING.encode())
    assert capfd.readouterr().err == GREETING


def test_a_line_to_paste_begins_with_what_was_typed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for folder in ("bin", "of a checkout"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "keras-vitser").touch(mode=0o755)
    for called, expected in (
        (tmp_path / "bin" / "keras-vitser", "keras-vitser"),
        (tmp_path / "of a checkout" / "keras-vitser", f"'{tmp_path}/of a checkout/keras-vitser'"),
        (tmp_path / "main.py", "keras-vitser"),
    ):
        monkeypatch.setattr(sys, "argv", [str(called)])
        assert console.program() == expected
