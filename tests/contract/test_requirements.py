"""tests/requirements.py and tests/total.py: a skip is no pass, and the last line counts all."""

import re
from pathlib import Path

import pytest

from tests import total
from tests.requirements import MODULES, VARIABLE, lacking, require, required

pytestmark = pytest.mark.backends("tensorflow")


TESTS = Path(__file__).parents[1]
FILES = sorted(path for path in TESTS.rglob("*.py") if path.name != "requirements.py")
# Who runs the tests, and on which system, is asked beside the test.
SKIPS = re.compile(r"importorskip\(|pytest\.skip\(|\bskipif\((?!os\.|sys\.)")


def test_nothing_is_skipped_past_the_requirements():
    found = {
        f"{path.relative_to(TESTS)}: {skip}"
        for path in FILES
        if path != Path(__file__)
        for skip in SKIPS.findall(path.read_text(encoding="utf-8"))
    }
    assert not found, "say what is lacking with tests.requirements, and on which backends a test runs with `backends`"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('pytest.importorskip("ray")', True),
        ('pytest.skip("no ray")', True),
        ('@pytest.mark.skipif(BACKEND != "jax", reason="")', True),
        ('@pytest.mark.skipif(os.name == "nt", reason="")', False),
        ('lacking("ray", "no ray")', False),
    ],
)
def test_each_form_of_a_skip_is_found(line, found):
    assert bool(SKIPS.search(line)) == found


@pytest.fixture
def without_ray(monkeypatch):
    monkeypatch.setitem(MODULES, "ray", ("no_module_of_that_name",))


@pytest.mark.parametrize("names", ["", "browser,recordings"])
def test_what_is_not_asked_for_is_skipped(monkeypatch, without_ray, names):
    monkeypatch.setenv(VARIABLE, names)
    with pytest.raises(pytest.skip.Exception, match="ray is not installed"):
        require("ray")
    with pytest.raises(pytest.skip.Exception, match="no disk"):
        lacking("disk", "no disk")


@pytest.mark.parametrize("names", ["ray", "browser,ray", "disk ray"])
def test_what_is_asked_for_fails_where_it_is_missing(monkeypatch, without_ray, names):
    monkeypatch.setenv(VARIABLE, names)
    with pytest.raises(pytest.fail.Exception, match="KERAS_VITSER_REQUIRE has ray: ray is not installed"):
        require("ray")


def test_what_is_there_is_imported(monkeypatch):
    monkeypatch.setitem(MODULES, "ray", ("json", "csv"))
    assert require("ray").__name__ == "json"
    assert require("ray", "csv").__name__ == "csv"


def test_a_name_that_is_none_ends_the_run(monkeypatch):
    monkeypatch.setenv(VARIABLE, "recordings,brwoser")
    with pytest.raises(pytest.UsageError, match="brwoser; there are app, "):
        required()


RESULT = """<testsuites><testsuite tests="3" failures="{failures}" errors="0" skipped="1" time="90">
<testcase classname="tests.a" name="test_slow" time="60"/><testcase classname="tests.a" name="test_b" time="2"/>
</testsuite></testsuites>"""


@pytest.mark.parametrize(("failures", "code"), [(0, 0), (1, 1)])
def test_the_last_line_counts_all_files(tmp_path, capsys, failures, code):
    for name, failed in (("once", 0), ("jax", failures)):
        (tmp_path / f"{name}.xml").write_text(RESULT.format(failures=failed))
    assert total.main([str(tmp_path / "once.xml"), str(tmp_path / "jax.xml")]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{4 - failures} passed, {failures} failed, 2 skipped"
    assert lines[1].split() == ["60.0", "s", "tests.a::test_slow", "(once)"]
    assert "1.5 min  jax" in lines[-2]


def test_a_process_that_wrote_nothing_is_a_failure(tmp_path, capsys):
    (tmp_path / "once.xml").write_text(RESULT.format(failures=0))
    assert total.main([str(tmp_path / "once.xml"), str(tmp_path / "jax.xml")]) == 1
    assert "jax.xml was not written" in capsys.readouterr().out
