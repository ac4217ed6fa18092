import base64
import dataclasses
import re
from html.parser import HTMLParser

import pytest

from keras_vitser.evaluation import learning_curves_figure, save_figure, sentence, write_report

from .conftest import NAMES

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The tags, attributes and visible lines of a page; fails where tags are not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.lines, self._open = [], [], [], []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"] and data.strip():
            self.lines.append(" ".join(data.split()))


@pytest.fixture
def write(tmp_path, scores):
    """Writes a report, with arguments changed as given, and returns its text."""
    picture = tmp_path / "curves.png"
    save_figure(learning_curves_figure([{"stage": "teacher", "epoch": 1, "loss": 2.0}]), picture)

    def write(**changed):
        arguments = {
            "title": "run <1>",
            "protocol": "speaker_independent",
            "description": "Bo & Ann test.",
            "leaky": False,
            "warnings": ["Two speakers <only>."],
            "leaks_sentence": "Of 8 test examples none has a copy in training.",
            "labels": NAMES,
            "networks": {"teacher": scores, "student": scores},
            "part_sizes": {"train": 32, "validation": 5, "test": 8},
            "figures": {"Learning curves": picture},
            "environment": {"backend": "jax", "versions": {"keras": "3.15.1"}, "git_commit": None},
            "notes": ["Terms: for research."],
        }
        write_report(tmp_path / "report.html", **arguments | changed)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_scores_stand_beside_chance_clips_and_protocol(write, scores):
    lines = Page(write()).lines
    line = sentence(scores, "speaker_independent", leaky=False)
    assert f"Teacher: {line}" in lines
    assert f"Student: {line}" in lines


def table_rows(html):
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]


def test_tables_hold_intervals_classes_and_speakers(write, scores):
    rows = table_rows(write())
    low, high = (f"{100 * edge:.1f}" for edge in scores.weighted_accuracy_interval)
    assert ["student", "WA", "75.0 %", "50.0 %", f"{low} to {high} %", "8", "speaker_independent"] in rows
    low, high = (f"{100 * edge:.1f}" for edge in scores.unweighted_accuracy_interval)
    assert ["teacher", "UA", "75.0 %", "33.3 %", f"{low} to {high} %", "8", "speaker_independent"] in rows
    assert ["cross", "2", "50.0 %", "50.0 %", "50.0 %"] in rows
    assert ["ann", "4", "75.0 %", "75.0 %"] in rows
    assert ["validation", "5"] in rows
    assert ["versions", "keras 3.15.1"] in rows
    assert not any("git commit" in row for row in rows)


def test_speakers_are_listed_in_the_order_of_their_numbers(write, scores):
    row = {"clips": 1, "unweighted_accuracy": 1.0, "weighted_accuracy": 1.0}
    several = dataclasses.replace(scores, per_speaker=[{"speaker": f"speaker{number}", **row} for number in (1, 12, 3)])
    rows = table_rows(write(networks={"student": several}))
    assert [row[0] for row in rows if row[0].startswith("speaker") and row[0] != "speaker"] == [
        "speaker1",
        "speaker3",
        "speaker12",
    ]


def test_text_of_others_is_escaped(write):
    html = write()
    page = Page(html)
    assert "script" not in page.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert NAMES[2] in page.lines
    assert "run <1>" in page.lines
    assert "Two speakers <only>." in page.lines


def test_a_leaky_protocol_is_said_at_the_top_and_in_each_line_of_scores(write):
    html = write(protocol="paper", leaky=True)
    lines = Page(html).lines
    scored = [line for line in lines if "UA 75.0 % (chance 33.3 %)" in line]
    assert len(scored) == 4
    assert all("LEAKY protocol `paper`: copies of test clips were trained on" in line for line in scored)
    assert html.index('class="leaky"') < html.index("UA 75.0 %")
    table = [row for row in table_rows(html) if row[1:2] in (["UA"], ["WA"], ["macro F1"])]
    assert [row[-1] for row in table] == ["paper (leaky)"] * 6


def test_an_honest_protocol_is_not_called_leaky(write):
    page = Page(write())
    assert not any("leaky" in line.lower() for line in page.lines)


def test_the_page_is_self_contained(write, tmp_path):
    html = write()
    page = Page(html)
    sources = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert len(sources) == 1
    kind, data = sources[0].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == (tmp_path / "curves.png").read_bytes()
    assert "://" not in html
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in html
    assert "@import" not in html


def test_a_report_without_speakers_figures_and_warnings(write, scores):
    bare = dataclasses.replace(scores, per_speaker=[])
    page = Page(write(networks={"student": bare}, figures={}, warnings=[], notes=[]))
    assert "img" not in page.tags
    assert "By speaker" not in page.lines


def test_a_failed_report_leaves_the_older_one(write, tmp_path):
    older = write()
    with pytest.raises(FileNotFoundError, match="missing"):
        write(figures={"gone": tmp_path / "missing.png"})
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == older
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curves.png", "report.html"]
