"""Files that extend one another, and the lines that their values stand on."""

import pytest
import yaml

from keras_vitser.errors import ConfigError
from keras_vitser.experiments.config.layered_yaml import (
    Line,
    leaf_of,
    leaves,
    read_layers,
    same_keys,
    set_value,
    with_comments,
)

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path.resolve() / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_values_and_lines_have_the_same_keys(write):
    base = write("a: {b: 1, c: [1, 2]}\nd:\n  e: {f: 2}\n", "base.yaml")
    path = write("extends: base.yaml\na:\n  b: 3\n  g: {}\nd: 4\n")
    values, lines = read_layers(path)
    assert values == {"a": {"b": 3, "c": [1, 2], "g": {}}, "d": 4}
    assert lines == {"a": {"b": Line(path, 3), "c": Line(base, 1), "g": {}}, "d": Line(path, 5)}


@pytest.mark.parametrize("text", ["", "# nothing\n", "null", "{}", "---\n"])
def test_nothing_is_no_keys(write, text):
    assert read_layers(write(text)) == ({}, {})


def test_two_documents_in_a_file_are_refused(write):
    with pytest.raises(ConfigError, match="is not YAML"):
        read_layers(write("a: 1\n---\nb: 2\n"))


def test_aliases_within_aliases_cost_nothing(write):
    """Each line doubles the last: written out, 2 ** 60 keys."""
    rows = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{l: *a{n - 1}, r: *a{n - 1}}}" for n in range(1, 60)]
    _, lines = read_layers(write("\n".join(rows)))
    assert leaf_of(lines, ("a2", "l", "r", "x")).number == 1


def test_a_value_is_set_without_touching_what_it_was_taken_from():
    inner = {"b": 1}
    values = {"a": inner}
    set_value(values, "a.c", 2)
    set_value(values, "d.e", 3)
    set_value(values, "f", {"g": 4})
    assert values == {"a": {"b": 1, "c": 2}, "d": {"e": 3}, "f": {"g": 4}}
    assert inner == {"b": 1}


def test_leaves_and_what_stands_at_a_place():
    values = {"a": {"b": 1, "c": {}}, "d": [2]}
    assert list(leaves(values)) == [(("a", "b"), 1), (("a", "c"), {}), (("d",), [2])]
    assert leaf_of(values, ("a", "b")) == 1
    assert leaf_of(values, ("a", "z")) is None
    assert leaf_of({"a": "whole"}, ("a", "b")) == "whole"
    assert same_keys(values, 0) == {"a": {"b": 0, "c": {}}, "d": 0}


def test_sections_open_where_they_should():
    values = {"a": {"b": {"c": 1}, "d": {"c": 2}, "e": 3}, "f": {"d": {"c": {}}}, "g": 5}
    text = with_comments(values, {"a.b.c": "x", "g": "y"})
    assert yaml.safe_load(text) == values
    assert text.splitlines() == [
        "a:",
        "  b:",
        "    c: 1  # x",
        "  d:",
        "    c: 2",
        "  e: 3",
        "f:",
        "  d:",
        "    c: {}",
        "g: 5      # y",
    ]


def test_a_long_line_moves_its_own_comment_only():
    lines = with_comments({"a": 1, "b": "x" * 100, "cc": 2}, {"a": "p", "b": "q", "cc": "r"}).splitlines()
    assert [line.rindex("  # ") for line in lines] == [5, 103, 5]
