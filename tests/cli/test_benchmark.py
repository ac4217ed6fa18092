"""`keras-vitser benchmark`, on made-up scripts; tests/benchmarks has the real ones."""

import json

import pytest

from keras_vitser.cli import benchmark as module

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
    (folder / "harness.py").write_text((module._FOLDER / "harness.py").read_text())
    (folder / "helper.py").write_text('if __name__ == "__main__":\n    raise SystemExit("a peer is no benchmark")\n')
    for name in ("first", "second"):
        (folder / f"{name}.py").write_text(SCRIPT.format(name=name, body=""))
    (folder / "third.py").write_text(SCRIPT.format(name="third", body='sys.exit("there is no speed here")'))
    monkeypatch.setattr(module, "_FOLDER", folder)
    return folder


def test_one_table_of_all_that_was_asked_for(command, folder, tmp_path):
    done = command("benchmark", "first", "second", "--quick", "--json", tmp_path / "all.json")
    assert done.code == 0, done.err
    for column in ("claim", "peer", "ratio", "bar", "met"):
        assert column in done.out
    for name in ("first", "second"):
        (row,) = [line for line in done.out.splitlines() if f"{name} is fast" in line]
        assert all(cell in row for cell in ("a snail", "3.00 (2.00 to 4.00)", ">= 4", "no"))
    written = json.loads((tmp_path / "all.json").read_text())
    assert [result["benchmark"] for result in written["benchmarks"]] == ["first", "second"]
    assert written["benchmarks"][0]["claims"][0]["figures"] == {"quick": True}
    assert written["failed"] == []


def test_one_that_fails_is_told_in_a_line_and_the_others_are_shown(command, folder, tmp_path):
    done = command("benchmark", "--json", tmp_path / "all.json")
    assert done.code == 2
    assert "first is fast" in done.out
    assert "second is fast" in done.out
    lines = done.err.splitlines()
    assert lines[0] == "error: third: there is no speed here"
    assert lines[-1] == "error: 1 of 3 benchmarks failed: third"
    assert json.loads((tmp_path / "all.json").read_text())["failed"] == ["third"]


def test_an_unknown_name_is_refused_with_those_there_are(command, folder):
    assert command("benchmark", "fast").refusal == "error: there is no benchmark fast; there are first, second, third"


def test_outside_a_checkout_it_says_where_to_run(command, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_FOLDER", tmp_path / "none")
    assert "run this in a checkout: pip install -e ." in command("benchmark").refusal


def test_all_scripts_of_the_repository_are_found():
    names = {path.stem for path in module._chosen(module._FOLDER, None)}
    assert {"distillation", "training_step", "operations", "imports", "tfio_reading"} <= names
    assert not {"harness", "steps_alone", "plain_torch", "librosa_and_torch", "network_steps"} & names
