"""How long the package takes to import beside Keras, and `keras-vitser --help` beside an empty Python.

    python benchmarks/imports.py
    python benchmarks/imports.py --backends jax --rounds 20 --json imports.json

Each import is a fresh process, in turns, with the file system's cache warm.
"""

import os
import subprocess
import sys
import time

import harness
from rich.console import Console

CODES = {"ours": "import keras_vitser.layers, keras_vitser.models", "keras": "import keras"}
HELP = {"help": ["-m", "keras_vitser.cli.main", "--help"], "python": ["-c", "pass"]}
IMPORT_BAR, HELP_BAR = "<= 1.1", "< 0.5 s"


def main():
    options = arguments()
    seconds, claims = {}, []
    for backend in options.backends:
        runs = {name: lambda code=code, on=backend: timed(["-c", code], on) for name, code in CODES.items()}
        harness.alternate(runs, 1)
        found = seconds[backend] = harness.alternate(runs, options.rounds)
        ratio = harness.ratio(found["ours"], found["keras"])
        claims.append(harness.claim(f"{CODES['ours']}, {backend}", CODES["keras"], ratio, IMPORT_BAR))
    runs = {name: lambda arguments=arguments: timed(arguments) for name, arguments in HELP.items()}
    harness.alternate(runs, 1)
    found = seconds["help"] = harness.alternate(runs, options.rounds)
    spread = harness.spread(found["help"])
    figures = {"python": harness.spread(found["python"])}
    claims.append(harness.claim("keras-vitser --help, seconds", "python -c pass", spread, HELP_BAR, **figures))
    Console(width=130).print(harness.claims_table(claims))
    if options.json:
        settings = {"rounds": options.rounds, "quick": options.quick}
        harness.write(options.json, harness.result("imports", settings, claims, seconds=seconds))


def arguments():
    parser = harness.parser(__doc__, "3 rounds")
    parser.add_argument("--rounds", type=harness.positive, default=9, help="(default: 9)")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 3
    return options


def timed(arguments, backend=None):
    """Seconds of a process of this Python."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **({"KERAS_BACKEND": backend} if backend else {})}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise SystemExit(f"python {' '.join(arguments)}: {said[-1]}")
    return seconds


if __name__ == "__main__":
    main()
