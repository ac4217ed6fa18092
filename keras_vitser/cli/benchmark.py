"""`keras-vitser benchmark`, which is `python -m benchmarks` now; to be taken out after one release."""

import shlex

import typer

from keras_vitser.errors import BenchmarkError


def benchmark(arguments: list[str] = typer.Argument(None, hidden=True)) -> None:
    """Is now `python -m benchmarks`, in a checkout: the installed package has no benchmarks.

    Example: python -m benchmarks --quick
    """
    command = shlex.join(["python", "-m", "benchmarks", *(arguments or ())])
    raise BenchmarkError(f"keras-vitser benchmark is now a command of a checkout; run there: {command}")
