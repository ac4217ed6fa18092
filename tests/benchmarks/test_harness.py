"""The common form of a result: which claims meet their bar, and the table of them."""

import os
from pathlib import Path

import harness
import pytest
from rich.console import Console

pytestmark = pytest.mark.backends("tensorflow")


@pytest.mark.parametrize(
    ("ratio", "bar", "met"),
    [
        (4.0, ">= 4", True),
        (3.999, ">= 4", False),
        (1.1, "<= 1.1", True),
        (1.11, "<= 1.1", False),
        (0.5, "< 0.5 s", False),
        (0.4, "< 0.5 s", True),
        (7.0, None, None),
        ({"median": 5.0, "low": 1.0, "high": 9.0}, ">= 4", True),
        ({"median": 3.0, "low": 1.0, "high": 9.0}, ">= 4", False),
    ],
)
def test_the_median_is_held_against_the_bar(ratio, bar, met):
    claim = harness.claim("ours", "theirs", ratio, bar, seconds=[1])
    assert claim["met"] is met
    assert set(claim) == {"claim", "peer", "ratio", "bar", "met", "figures"}
    assert set(claim["ratio"]) == {"median", "low", "high"}
    assert claim["figures"] == {"seconds": [1]}


@pytest.mark.parametrize("bar", ["4", "about 4", ">= fast", ""])
def test_a_bar_that_says_nothing_is_no_bar(bar):
    with pytest.raises(AttributeError):
        harness.claim("ours", "theirs", 1.0, bar)


def test_the_table_has_a_row_a_claim():
    claims = [
        harness.claim("fast [b]", "slow", harness.ratio([4, 6, 10], [2, 2, 2]), ">= 2"),
        harness.claim("start", "nothing", 0.7, "< 0.5 s"),
        harness.skipped("compiled", "slow", ">= 1", "no C++ compiler"),
        harness.claim("told", "slow", 1.0),
    ]
    console = Console(width=120, record=True)
    console.print(harness.claims_table(claims))
    rows = [line.split("│")[1:-1] for line in console.export_text().splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["fast [b]", "slow", "3.00 (2.00 to 5.00)", ">= 2", "yes"],
        ["start", "nothing", "0.70", "< 0.5 s", "no"],
        ["compiled", "slow", "skipped: no C++ compiler", ">= 1", ""],
        ["told", "slow", "1.00", "", ""],
    ]


def test_a_result_says_where_it_was_found():
    written = harness.result("name", {"rounds": 3}, [], seconds=[1.0])
    assert set(written) == {"benchmark", "machine", "settings", "claims", "seconds"}
    assert written["machine"]["threads"] >= 1


def test_a_peer_does_job_after_job_in_a_process_of_its_own(tmp_path):
    script = tmp_path / "adds.py"
    script.write_text(
        f"import os, sys; sys.path.insert(0, {str(Path(harness.__file__).parent)!r}); import harness\n"
        "harness.answer(lambda a, b: {'sum': a + b, 'process': os.getpid()})"
    )
    with harness.Peer(script) as peer:
        answers = [peer.ask(a=1, b=number) for number in range(3)]
    assert [answer["sum"] for answer in answers] == [1, 2, 3]
    assert len({answer["process"] for answer in answers} - {os.getpid()}) == 1


@pytest.mark.parametrize("when", ["at once", "when asked"])
def test_a_peer_that_crashes_says_why(tmp_path, when):
    script = tmp_path / "crashes.py"
    first = "input(); " if when == "when asked" else ""
    script.write_text(f"import os, sys; {first}sys.stderr.write('free(): invalid'); sys.stderr.flush(); os.abort()")
    with harness.Peer(script) as peer, pytest.raises(harness.PeerEndedError) as raised:
        peer.ask(batch=1)
    assert str(raised.value) == "free(): invalid (exit status -6)"


def test_a_peer_that_crashed_after_a_job_says_why_too(tmp_path):
    script = tmp_path / "crashes.py"
    script.write_text("import sys; input(); print('1', flush=True); sys.exit('no more')")
    with harness.Peer(script) as peer:
        assert peer.ask(batch=1) == 1
        peer._process.wait()
        with pytest.raises(harness.PeerEndedError) as raised:
            peer.ask(batch=1)
    assert str(raised.value) == "no more (exit status 1)"
