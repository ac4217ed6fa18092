"""Progress in a terminal, and silence elsewhere."""

import io

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
