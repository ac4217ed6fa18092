"""What a clip costs as lists grow, in time and in memory: `keras-vitser predict --manifest`, a process a list.

    python benchmarks/scale.py
    python benchmarks/scale.py --clips 1000 10000 100000 --json scale.json
    python benchmarks/scale.py --engine ray --clips 1000 10000 100000

A list names a few generated WAV files of 4 s again and again; each time a file is decoded, resampled from 44.1 kHz and
heard by the paper's student, and its row is written to a CSV. The clock runs from row 256 to about as many before the
last: loading, compiling and starting workers are told apart, and as much is under way at its end as at its start.
A list of under 5,000 is over in seconds: the median of three runs is taken. Memory is the peak of this process above
what it is when the model is loaded; with Ray, workers have their own.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import harness
from rich.console import Console
from rich.table import Table

STEP = 128  # rows that come at once, of two workers of Ray
WARM = 2 * STEP  # rows before the clock runs, and at least as many after it
LONG = 5000  # clips, from which one run says enough
FILES = 16
BAR = 1.1  # a clip of the longest list costs at most so much more than one of the shortest
MOST_MORE = 50  # MB
TINY = {"image_size": (16, 16), "patch_size": (16, 1), "hidden_dim": 16, "mlp_dim": 16, "depth": 1}


def main():
    options = arguments()
    if options.child:
        harness.write(options.child, measure(options))
        return
    passed = ["--engine", options.engine, *(["--tiny"] if options.tiny else [])]
    passed += ["--workers", str(options.workers)] if options.workers else []
    script = Path(__file__).resolve()
    found = [median_run(clips, script, options, passed) for clips in options.clips]
    costs = [result["seconds_per_clip"] for result in found]
    growth = costs[-1] / costs[0]
    Console(width=None if sys.stdout.isatty() else 130).print(table(found, growth, options))
    if options.json:
        what = f"cost of a clip of {options.clips[-1]:,}, {options.engine} engine"
        more = (found[-1]["peak_bytes"] - found[0]["peak_bytes"]) / 1e6
        claims = [
            harness.claim(what, f"of {options.clips[0]:,}", growth, f"<= {BAR:g}"),
            harness.claim("its memory above that", f"of {options.clips[0]:,}", more, f"< {MOST_MORE:g} MB"),
        ]
        settings = {name: getattr(options, name) for name in ("clips", "backend", "engine", "quick")}
        harness.write(options.json, harness.result("scale", settings, claims, curve=found))


def median_run(clips, script, options, passed):
    rounds = 1 if options.quick or clips >= LONG else 3
    runs = [harness.run_child(script, options.backend, [*passed, "--clips", str(clips)]) for _ in range(rounds)]
    return sorted(runs, key=lambda run: run["seconds_per_clip"])[rounds // 2]


def arguments():
    parser = harness.parser(__doc__, "lists of 700 and 1400", backends=False)
    lists = [1000, 3000, 10000]
    parser.add_argument("--clips", type=_length, nargs="+", default=lists, help="(default: 1000 3000 10000)")
    parser.add_argument("--backend", choices=harness.BACKENDS, default=harness.BACKENDS[0])
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=harness.positive, help="processes of --engine ray (default: one a CPU)")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # for a test: a small network
    options = parser.parse_args()
    if options.quick:
        options.clips = [700, 1400]
    return options


def _length(text):
    number = int(text)
    if number < 2 * WARM + STEP:
        raise argparse.ArgumentTypeError(f"must be at least {2 * WARM + STEP}. Received: {text}")
    return number


def table(found, growth, options):
    grid = Table(
        "clips", "ms a clip", "clips a second", "before the first rows (s)", "peak memory above the model (MB)"
    )
    for result in found:
        seconds = result["seconds_per_clip"]
        grid.add_row(
            f"{result['clips']:,}",
            f"{seconds * 1000:.2f}",
            f"{1 / seconds:.0f}",
            f"{result['seconds_before']:.1f}",
            f"{result['peak_bytes'] / 1e6:.0f}",
        )
    grid.caption = (
        f"{options.backend}, engine {options.engine}, {harness.threads()} threads. A clip of the longest list costs "
        f"{growth:.2f} of one of the shortest (bar: {BAR:g})."
    )
    return grid


# In the child


def measure(options):
    from keras_vitser import prediction
    from keras_vitser.layers import LogMelImage
    from keras_vitser.models import ViTSER
    from keras_vitser.recognizer import Recognizer

    (clips,) = options.clips
    # Else the first worker to start would be ahead of the others when the clock starts.
    os.environ["RAY_DATA_DEFAULT_WAIT_FOR_MIN_ACTORS_S"] = "600"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        front_end = LogMelImage(n_mels=16, frames=16) if options.tiny else LogMelImage()
        recognizer = Recognizer(ViTSER.student(2, **TINY if options.tiny else {}), ["calm", "upset"], front_end)
        model = recognizer.save(folder / "model")
        manifest = write_manifest(folder, clips, options.tiny)
        last, ends = (clips - WARM) // STEP * STEP, []

        def answer(paths, start):
            if options.engine == "ray":
                return prediction.ray_stream(model, paths, folder=folder, start=start, workers=options.workers)
            return prediction.predict_stream(recognizer, paths, folder=folder, start=start)

        def progress(rows):
            if rows in (WARM, last):
                ends.append(time.perf_counter())

        before, begun = resident(), time.perf_counter()
        paths = prediction.manifest_paths(manifest)
        written = prediction.write_answers(
            folder / "answers.csv", paths, answer, recognizer.labels, prediction.job_of(model), progress
        )
    if (written.total, written.failed) != (clips, 0):
        raise SystemExit(f"{written.total} rows of {clips}, {written.failed} with an error: {written.reasons}")
    return {
        "clips": clips,
        "seconds_per_clip": (ends[1] - ends[0]) / (last - WARM),
        "seconds_before": ends[0] - begun,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before,
    }


def resident():
    """Bytes of memory that this process has now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def write_manifest(folder, clips, tiny):
    from prediction import RATE, write_files

    files = write_files(folder, FILES)
    if tiny:
        import numpy as np
        import soundfile

        for file in files:
            soundfile.write(file, np.sin(np.arange(RATE // 20) / 7), RATE)
    manifest = folder / "clips.txt"
    with manifest.open("w") as file:
        for number in range(clips):
            file.write(f"{files[number % FILES]}\n")
    return manifest


if __name__ == "__main__":
    main()
