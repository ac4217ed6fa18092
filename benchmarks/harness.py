"""What the benchmarks share: one child process a backend, rounds in which all take turns, figures with their spread."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
_THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "NPROC",  # XLA's own pool
)


def run_child(script, backend, options):
    """Runs `script --child FILE` on a backend, in a process of its own with all threads that this one may use.

    Args:
        script: Path of the benchmark script; as a child it writes its result to FILE as JSON.
        backend: Name of a Keras backend.
        options: List of further arguments.

    Returns:
        The child's result.

    Raises:
        SystemExit: The child failed; the message is one line, the last that it said.
    """
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment.update(dict.fromkeys(_THREAD_SETTINGS, str(threads())))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        command = [sys.executable, str(script), *options, "--child", str(file)]
        child = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
        if child.returncode:
            said = [line for line in child.stderr.splitlines() if line.strip()] or ["it said nothing"]
            raise SystemExit(f"{backend}: {said[-1].strip()} (exit status {child.returncode})")
        return json.loads(file.read_text())


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
    """Name of the device that the current backend computes on, and the backend's version."""
    import keras

    backend = keras.backend.backend()
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


def write(path, result):
    """Writes a result as JSON."""
    Path(path).write_text(json.dumps(result, indent=2) + "\n")
