"""What all commands share: help that loads little, and faults that cost one line."""

import pytest
import typer

import keras_vitser
from keras_vitser.cli import main as module
from keras_vitser.cli.main import app
from tests.cli.conftest import HEAVY, modules_of_help

pytestmark = pytest.mark.backends("tensorflow")

COMMANDS = [
    "train",
    "tune",
    "evaluate",
    "predict",
    "export",
    "serve",
    "app",
    "compare",
    "track",
    "import-checkpoint",
    "corpora",
    "benchmark",
]


def test_help_loads_neither_keras_nor_numpy_nor_matplotlib():
    """For the program and for each command."""
    loaded, said = modules_of_help([[], *([command] for command in COMMANDS)])
    assert {"keras_vitser", "typer"} <= loaded
    assert not HEAVY & loaded
    assert said == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_an_example(command, name):
    ended = command(name, "--help")
    assert ended.code == 0
    text = " ".join(ended.out.replace("│", " ").split())
    assert "Example" in text
    assert f"keras-vitser {name}" in text
    assert command(name, "-h").code == 0


def test_help_of_the_program_lists_the_commands(command):
    ended = command("--help")
    assert ended.code == 0
    assert all(name in ended.out for name in COMMANDS)
    assert "keras-vitser train demo" in ended.out


def test_the_version_is_the_packages(command):
    ended = command("--version")
    assert (ended.code, ended.out.strip()) == (0, keras_vitser.__version__)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "No such command 'trian'"),
        (["train", "--epoch", "3"], "--epoch"),
        (["train", "demo", "--batch-size", "many"], "--batch-size"),
        (["train", "demo", "more"], "more"),
        (["train", "demo", "--seed"], "--seed"),
        (["predict", "a.wav"], "--model"),
        (["evaluate", "--json"], "model"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_command_line_costs_one_line(command, arguments, words):
    assert words in command(*arguments).refusal


@pytest.mark.parametrize("name", ["train", "evaluate", "predict", None])
def test_without_arguments_the_help_is_shown(command, name):
    ended = command(*([name] if name else []))
    assert "Usage" in ended.out + ended.err
    assert "Traceback" not in ended.err


class TestFaults:
    """What `main` makes of an exception, whatever the command."""

    @pytest.fixture
    def fault(self, monkeypatch, command):
        def run(error, *arguments):
            def fail(*args, **kwargs):
                raise error

            monkeypatch.setattr(module, "app", fail)
            return command(*arguments)

        return run

    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (keras_vitser.errors.ConfigError("a\nb"), 2, "error: a b"),
            (keras_vitser.errors.DivergedError("stage a diverged"), 1, "error: stage a diverged"),
            (PermissionError(13, "Permission denied", "x"), 1, "error: [Errno 13] Permission denied: 'x'"),
            (MemoryError(), 1, "error: MemoryError"),
            (RuntimeError("oh"), 1, "error: RuntimeError: oh (our fault; --debug shows where)"),
        ],
    )
    def test_an_error_is_one_line_and_a_code(self, fault, error, code, line):
        ended = fault(error)
        assert (ended.code, ended.err.strip(), ended.out) == (code, line, "")

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
    def test_an_interrupt_is_130(self, fault, error):
        assert fault(error).code == 130

    def test_debug_shows_the_traceback(self, fault):
        with pytest.raises(keras_vitser.errors.ConfigError, match="oh"):
            fault(keras_vitser.errors.ConfigError("oh"), "--debug")


def test_every_command_is_there():
    names = (command.callback.__name__.replace("_", "-") for command in app.registered_commands)
    assert sorted(names) == sorted(COMMANDS)
