"""What the commands share: where they print, how they show progress, how they end."""

import logging
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import typer
from rich.console import Console

# A pipe has no width of its own, and a path that is folded is no path.
out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 500)
err = Console(stderr=True, soft_wrap=True, highlight=False)

# What TensorFlow's libraries say as they are loaded, whatever log level is set: a greeting, and a warning of it.
_GREETINGS = r"^(WARNING: All log messages before absl::InitializeLog\(\)|I[0-9]{4} )"

_NAME = "keras-vitser"

BACKEND_HELP = "Keras backend: tensorflow, jax or torch. Default: KERAS_BACKEND, else the fastest one installed."


def show_log() -> None:
    """Sends the package's log and warnings to stderr, a plain line each."""
    logger = logging.getLogger("keras_vitser")
    logger.handlers = [_ToConsole()]
    logger.setLevel(logging.INFO)
    warnings.showwarning = lambda message, *_, **__: err.print(f"warning: {message}", markup=False)
    # MLflow's first use of a database prints the steps of its schema; and nobody's training shall phone home.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    logging.getLogger("alembic").setLevel(logging.WARNING)


class _ToConsole(logging.Handler):
    """Prints above a running progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        err.print(record.getMessage(), markup=False)


@contextmanager
def working(task: str) -> Iterator[None]:
    """Shows that something of unknown length goes on; silent where no one looks."""
    if not err.is_terminal:
        yield
        return
    with err.status(f"{task} ..."):
        yield


@contextmanager
def starting(backend: str) -> Iterator[None]:
    """Shows that a backend is imported, and leaves out its greetings."""
    with nullcontext() if backend in sys.modules else _without_greetings(), working(f"starting {backend}"):
        yield


@contextmanager
def _without_greetings() -> Iterator[None]:
    """Passes on what comes to the file descriptor of stderr, line by line, but for the greetings."""
    if (grep := shutil.which("grep")) is None:
        yield
        return
    python, terminal = sys.stderr, os.dup(2)
    # A process of its own passes it on, so that the last words of a library that aborts are not lost.
    command = [grep, "--line-buffered", "-avE", _GREETINGS]
    with (
        open(terminal, "w", encoding=python.encoding, buffering=1) as sys.stderr,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=terminal) as passing,
    ):
        os.dup2(passing.stdin.fileno(), 2)  # type: ignore[union-attr]  # it is a pipe
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            sys.stderr = python


@contextmanager
def progress_bars(silent: bool = False) -> Iterator[Callable[[str, int, int | None], None]]:
    """A function for `experiments.run(progress=...)`: a bar a task with the time left, if the total is known; silent
    where no one looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:>18}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=silent or not err.is_terminal) as bars:
        tasks = {}

        def update(task: str, done: int, total: int | None) -> None:
            if task not in tasks:
                tasks[task] = bars.add_task(task, total=total)
            elif done < bars.tasks[tasks[task]].completed:  # the next round, of an epoch for instance
                bars.reset(tasks[task])
            bars.update(tasks[task], completed=done, total=total)

        yield update


def program() -> str:
    """What was typed to start this program: its name where the shell finds it by that, else its path."""
    called = Path(sys.argv[0])
    if called.name != _NAME:
        return _NAME
    found = shutil.which(_NAME)
    return _NAME if found and Path(found).samefile(called) else shlex.quote(str(called))


def fail(message: str, code: int = 2) -> typer.Exit:
    """Prints one line on stderr; raise what it returns."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return typer.Exit(code)
