"""`python -m benchmarks`, on made-up scripts; the files beside this one have the real ones."""

import importlib.util
import json
import subprocess
import sys

import pytest

from .scripts import BENCHMARKS

spec = importlib.util.spec_from_file_location("main_of_benchmarks", BENCHMARKS / "__main__.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

pytestmark = pytest.mark.backends("tensorflow")

SCRIPT = """
import json, sys
import harness
options = harness.parser("Is fast.", "less").parse_args()
{body}
claim = {{"claim": "{name} is fast", "peer": "a snail", "ratio": {{"median": 3.0, "low": 2.0, "high": 4.0}},
          "bar": ">= 4", "met": False, "figures": {{"quick": options.quick}}}}
if __name__ == "__main__":
    open(options.json, "w").write(json.dumps({{"benchmark": "{name}", "claims": [claim]}}))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of two scripts that run, one that does not, and two files that are no scripts."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "harness.py").write_text((BENCHMARKS / "harness.py").read_text())
    (folder / "helper.py").write_text('if __name__ == "__main__":\n    raise SystemExit("a peer is no benchmark")\n')
    for name in ("first", "second"):
        (folder / f"{name}.py").write_text(SCRIPT.format(name=name, body=""))
    (folder / "third.py").write_text(SCRIPT.format(name="third", body='sys.exit("there is no speed here")'))
    monkeypatch.setattr(module, "FOLDER", folder)
    return folder


def test_one_table_of_all_that_was_asked_for(folder, tmp_path, capsys):
    module.main(["first", "second", "--quick", "--json", str(tmp_path / "all.json")])
    said = capsys.readouterr()
    for column in ("claim", "peer", "ratio", "bar", "met"):
        assert column in said.out
    for name in ("first", "second"):
        (row,) = [line for line in said.out.splitlines() if f"{name} is fast" in line]
        assert all(cell in row for cell in ("a snail", "3.00 (2.00 to 4.00)", ">= 4", "no"))
    written = json.loads((tmp_path / "all.json").read_text())
    assert [result["benchmark"] for result in written["benchmarks"]] == ["first", "second"]
    assert written["benchmarks"][0]["claims"][0]["figures"] == {"quick": True}
    assert written["failed"] == []


def test_one_that_fails_is_told_in_a_line_and_the_others_are_shown(folder, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"^error: 1 of 3 benchmarks failed: third$"):
        module.main(["--json", str(tmp_path / "all.json")])
    said = capsys.readouterr()
    assert "first is fast" in said.out
    assert "second is fast" in said.out
    assert said.err.splitlines()[0] == "error: third: there is no speed here"
    assert json.loads((tmp_path / "all.json").read_text())["failed"] == ["third"]


def test_an_unknown_name_is_refused_with_those_there_are(folder):
    with pytest.raises(SystemExit, match=r"^error: there is no benchmark fast; there are first, second, third$"):
        module.main(["fast"])


def test_the_root_of_a_checkout_has_the_command():
    command = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(command, cwd=BENCHMARKS.parent, capture_output=True, text=True, check=True)
    assert "--quick" in done.stdout


def test_all_scripts_of_the_repository_are_found():
    names = {path.stem for path in module.chosen(BENCHMARKS)}
    assert {"distillation", "training_step", "operations", "imports", "tfio_reading"} <= names
    assert not {"__main__", "harness", "steps_alone", "plain_torch", "librosa_and_torch", "network_steps"} & names
