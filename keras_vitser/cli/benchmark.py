"""`keras-vitser benchmark`."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from keras_vitser.cli.console import err, out, show_log, working
from keras_vitser.errors import BenchmarkError

_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def benchmark(
    names: list[str] = typer.Argument(None, help="Scripts of benchmarks/, without .py. Default: all."),
    quick: bool = typer.Option(False, "--quick", help="Minutes in place of an hour; no figures to quote."),
    json_file: Path = typer.Option(None, "--json", metavar="FILE", help="Also write everything measured to FILE."),
) -> None:
    """Measure this package beside its peers, in a checkout: one table of claims, bars, and whether they are met.

    Examples: keras-vitser benchmark --quick --- keras-vitser benchmark training_step imports --json table.json
    """
    show_log()
    from keras_vitser.files import strict_json, whole_file

    scripts = _chosen(_FOLDER, names)
    results, failed = [], []
    for script in scripts:
        with working(script.stem):
            result, said = _run(script, quick)
        if result is None:
            failed.append(script.stem)
            err.print(f"error: {script.stem}: {said}", markup=False)
        else:
            results.append(result)
    claims = [claim for result in results for claim in result["claims"]]
    if claims:
        out.print(_harness(_FOLDER).claims_table(claims))
    if json_file:
        with whole_file(json_file) as part:
            part.write_text(strict_json({"benchmarks": results, "failed": failed}, indent=2) + "\n", encoding="utf-8")
        err.print(f"written: {json_file}", markup=False)
    if failed:
        raise BenchmarkError(f"{len(failed)} of {len(scripts)} benchmarks failed: {', '.join(failed)}")


def _chosen(folder: Path, names: list[str] | None) -> list[Path]:
    """The scripts asked for; a script is what takes their common options, not what scripts import or start."""
    if not (folder / "harness.py").is_file():
        raise BenchmarkError(
            "the benchmarks are no part of the installed package; run this in a checkout: pip install -e ."
        )
    scripts = {path.stem: path for path in sorted(folder.glob("*.py")) if "harness.parser(" in path.read_text()}
    unknown = [name for name in names or () if name not in scripts]
    if unknown:
        raise BenchmarkError(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(scripts)}")
    return [scripts[name] for name in names or scripts]


def _run(script: Path, quick: bool) -> tuple[dict | None, str]:
    """What a script found, or `None` and the last line that it said."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        command = [sys.executable, str(script), "--json", str(file), *(["--quick"] if quick else [])]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0 and file.is_file():
            return json.loads(file.read_text(encoding="utf-8")), ""
    said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
    return None, said[-1].strip()


def _harness(folder: Path):
    spec = importlib.util.spec_from_file_location("keras_vitser_benchmarks_harness", folder / "harness.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
