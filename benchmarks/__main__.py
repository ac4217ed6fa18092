"""Measures this package beside its peers: one table of claims, bars, and whether they are met.

    python -m benchmarks
    python -m benchmarks training_step imports --quick --json table.json

From the root of a checkout, with each script of this folder in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))  # as where one of its scripts is run

import harness  # noqa: E402


def main(arguments=None):
    options = parser().parse_args(arguments)
    out, err = Console(), Console(stderr=True)
    scripts = chosen(FOLDER, options.names)
    results, failed = [], []
    for script in scripts:
        with err.status(script.stem):
            result, said = run(script, options.quick)
        if result is None:
            failed.append(script.stem)
            err.print(f"error: {script.stem}: {said}", markup=False)
        else:
            results.append(result)
    claims = [claim for result in results for claim in result["claims"]]
    if claims:
        out.print(harness.claims_table(claims))
    if options.json:
        harness.write(options.json, {"benchmarks": results, "failed": failed})
        err.print(f"written: {options.json}", markup=False)
    if failed:
        sys.exit(f"error: {len(failed)} of {len(scripts)} benchmarks failed: {', '.join(failed)}")


def parser():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="scripts of this folder, without .py (default: all)")
    parser.add_argument("--quick", action="store_true", help="minutes in place of an hour; no figures to quote")
    parser.add_argument("--json", metavar="FILE", help="also write everything measured to FILE")
    return parser


def chosen(folder, names=()):
    """The scripts asked for; a script is what takes their common options, not what scripts import or start."""
    files = [path for path in sorted(folder.glob("*.py")) if path.name != "__main__.py"]
    scripts = {path.stem: path for path in files if "harness.parser(" in path.read_text()}
    unknown = [name for name in names if name not in scripts]
    if unknown:
        sys.exit(f"error: there is no benchmark {', '.join(unknown)}; there are {', '.join(scripts)}")
    return [scripts[name] for name in names or scripts]


def run(script, quick):
    """What a script found, or `None` and the last line that it said."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        command = [sys.executable, str(script), "--json", str(file), *(["--quick"] if quick else [])]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0 and file.is_file():
            return json.loads(file.read_text(encoding="utf-8")), ""
    said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
    return None, said[-1].strip()


if __name__ == "__main__":
    main()
