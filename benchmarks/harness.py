"""What the benchmarks share: one child process a backend, rounds in which all take turns, figures with their spread.

And one form of a result, so that `python -m benchmarks` can put all claims into one table. A script takes `--quick`
and `--json FILE`, and writes `result(...)` there: a claim says what of ours is held against which peer, by which ratio
(over 1 where ours is faster), and whether the median passes the bar.
"""

import argparse
import json
import operator
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
_THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "NPROC",  # XLA's own pool
)


def run_child(script, backend, options, python=sys.executable):
    """Runs `script --child FILE` on a backend, in a process of its own with all threads that this one may use.

    Args:
        script: Path of the benchmark script; as a child it writes its result to FILE as JSON.
        backend: Name of a Keras backend.
        options: List of further arguments.
        python: The interpreter. Defaults to this one.

    Returns:
        The child's result.

    Raises:
        SystemExit: The child failed; the message is one line, the last that it said.
    """
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment.update(dict.fromkeys(_THREAD_SETTINGS, str(threads())))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        command = [str(python), str(script), *options, "--child", str(file)]
        child = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
        if child.returncode:
            raise SystemExit(f"{backend}: {_last_words(child.stderr)} (exit status {child.returncode})")
        return json.loads(file.read_text())


def _last_words(said):
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


class Peer:
    """A contestant in a process of its own, whose threads and memory are then its own too; it waits to be asked.

    Args:
        *command: A script that calls `answer`, and its arguments.
    """

    def __init__(self, *command):
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 __exit__ closes it
        self._process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            errors="replace",
        )

    def ask(self, **job):
        """Has one job done.

        Args:
            **job: What the script's function takes.

        Returns:
            What it returned.

        Raises:
            PeerEndedError: The process has ended; the message is the last line that it said.
        """
        with suppress(BrokenPipeError):  # it has ended, which the missing answer tells
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            status = self._process.wait()
            self._said.seek(0)
            raise PeerEndedError(f"{_last_words(self._said.read())} (exit status {status})")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(BrokenPipeError):  # it has ended, and a job that it never read is still to be written
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._said.close()


class PeerEndedError(Exception):
    pass


def answer(function):
    """Lets a script be a `Peer`: does each job of standard input, `function(**job)`, until there is no more."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(function(**json.loads(line))) + "\n")
        sys.stdout.flush()


def parser(description, quick, backends=True):
    """The options that all scripts have.

    Args:
        description: The script's docstring, whose first line is shown.
        quick: What `--quick` does, in a few words.
        backends: Whether the script runs on the backends of `--backends`.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    if backends:
        parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS, help="default: all three")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", metavar="FILE", help="also write everything measured to FILE")
    parser.add_argument("--child", metavar="FILE", help=argparse.SUPPRESS)
    return parser


def positive(text):
    """A positive int, for `argparse`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text}")
    return number


def alternate(contestants, rounds):
    """Lets all contestants run once a round, each round beginning with another one.

    Args:
        contestants: Dict of functions without arguments, each returning the seconds it measured.
        rounds: Positive int.

    Returns:
        Dict of lists, one number a round.
    """
    names = list(contestants)
    seconds = {name: [0.0] * rounds for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name][number] = contestants[name]()
    return seconds


def timed_fit(distiller, images, labels, batch, **options):
    """Seconds before a `fit` begins to train, and from the end of its first batch to the end of its last."""
    import keras

    ends, begun = [], []
    clock = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: begun.append(time.perf_counter()),
        on_train_batch_end=lambda index, logs: ends.append(time.perf_counter()),
    )
    clock.async_safe = True  # so that Keras need not wait after each step; a batch ends when its logs are there
    start = time.perf_counter()
    distiller.fit(images, labels, batch, verbose=0, callbacks=[clock], **options)
    return begun[0] - start, max(ends) - min(ends)  # threads may tell the ends of tiny batches in any order


def spread(values):
    """Median, lowest and highest of numbers, one a round."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratio(numerators, denominators):
    """The spread of the quotients, taken round by round."""
    return spread([above / below for above, below in zip(numerators, denominators, strict=True)])


def threads():
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine():
    """What a figure depends on besides the code."""
    return {"platform": platform.platform(), "python": platform.python_version(), "threads": threads()}


def device():
    """The device that the current backend computes on, and the versions that matter."""
    import keras

    name, version = _device(keras.backend.backend())
    return {"device": name, "versions": {"keras": keras.__version__, keras.backend.backend(): version}}


def _device(backend):
    if backend == "tensorflow":
        import tensorflow

        found = tensorflow.config.list_physical_devices("GPU")
        name = tensorflow.config.experimental.get_device_details(found[0]).get("device_name", "GPU") if found else "CPU"
        return name, tensorflow.__version__
    if backend == "jax":
        import jax

        found = jax.devices()[0]
        return "CPU" if found.platform == "cpu" else found.device_kind, jax.__version__
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU", torch.__version__


def claim(claim, peer, ratio, bar=None, **figures):
    """What of ours was held against which peer, and how it came out.

    Args:
        claim: What of ours, in a few words.
        peer: What it is held against, in the same run.
        ratio: What `ratio` or `spread` returns, or one number.
        bar: The least or most that the median may be, such as ">= 4", "<= 1.1" or "< 0.5 s"; `None` for no bar.
        **figures: What else was found, for JSON.
    """
    ratio = ratio if isinstance(ratio, dict) else spread([ratio])
    met = None if bar is None else _is_met(ratio["median"], bar)
    return {"claim": claim, "peer": peer, "ratio": ratio, "bar": bar, "met": met, "figures": figures}


def claims_of_best(what, peer, ratios, bar):
    """The best backend's claim, which has the bar, and each backend's own.

    Args:
        what: What of ours, in a few words.
        peer: What it is held against, in the same run.
        ratios: What `ratio` returned, or a number, by backend.
        bar: As for `claim`.
    """
    singles = [claim(f"{what}, {backend}", peer, ratio) for backend, ratio in ratios.items()]
    best = max(zip(ratios, singles, strict=True), key=lambda pair: pair[1]["ratio"]["median"])
    return [claim(f"{what}, the best", peer, best[1]["ratio"], bar, best=best[0]), *singles]


def skipped(claim, peer, bar, reason):
    """A claim that could not be measured here, and why."""
    return {"claim": claim, "peer": peer, "ratio": None, "bar": bar, "met": None, "figures": {"skipped": reason}}


def _is_met(value, bar):
    sign, number = re.fullmatch(r"(>=|<=|<|>) (\d+(?:\.\d+)?)(?: \w+)?", bar).groups()
    return {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt}[sign](value, float(number))


def result(benchmark, settings, claims, **more):
    """What a script writes: its name, the machine, how it was called, its claims, and all else that it found."""
    return {"benchmark": benchmark, "machine": machine(), "settings": settings, "claims": claims, **more}


def claims_table(claims):
    """Claims as a table, a row each."""
    from rich.table import Table
    from rich.text import Text

    grid = Table("claim", "peer", "ratio", "bar", "met")
    for each in claims:
        found = _in_words(each["ratio"]) if each["ratio"] else f"skipped: {each['figures']['skipped']}"
        met = {True: "yes", False: "no", None: ""}[each["met"]]
        grid.add_row(*(Text(cell) for cell in (each["claim"], each["peer"], found, each["bar"] or "", met)))
    grid.caption = f"{threads()} threads. Median of the rounds (lowest to highest)."
    return grid


def _in_words(found):
    median, low, high = (f"{found[name]:.2f}" for name in ("median", "low", "high"))
    return median if found["low"] == found["high"] else f"{median} ({low} to {high})"


def write(path, result):
    """Writes a result as JSON."""
    Path(path).write_text(json.dumps(result, indent=2) + "\n")
