"""A row is one line of a table, whatever its path holds."""

import csv
import io

import pytest

from keras_vitser.prediction import Row
from keras_vitser.prediction.row import csv_header

pytestmark = pytest.mark.backends("tensorflow")

LABELS = ("calm", "upset, loud")


@pytest.mark.parametrize(
    "path", ["a.wav", "a, b.wav", 'a "b".wav', "a\nb.wav", "a\rb.wav", "ä\udcff.wav", " a.wav ", ""]
)
def test_a_table_reads_back(path):
    rows = [Row(path, "upset, loud", (0.25, 0.75), 1.5, heard=0.125), Row(path, error="a, b: no such file")]
    text = csv_header(LABELS) + "".join(row.to_csv(LABELS) for row in rows)
    heard, unheard = csv.DictReader(io.StringIO(text, newline=""))
    assert heard == {
        "path": path,
        "label": "upset, loud",
        "seconds_used": "1.5",
        "calm": "0.25",
        "upset, loud": "0.75",
        "heard": "0.125",
        "error": "",
    }
    assert list(heard)[-2:] == ["heard", "error"]
    assert unheard == dict.fromkeys(heard, "") | {"path": path, "error": "a, b: no such file"}


def test_a_json_line_has_the_probability_of_its_label():
    assert Row("a.wav", "calm", (0.75, 0.25), 1.5, heard=0.0).to_dict(LABELS) == {
        "path": "a.wav",
        "label": "calm",
        "probability": 0.75,
        "seconds_used": 1.5,
        "heard": 0.0,
        "error": None,
        "probabilities": {"calm": 0.75, "upset, loud": 0.25},
    }
    row = Row("a.wav", error="why").to_dict(LABELS)
    assert (row["probability"], row["heard"]) == (None, None)
    assert list(row)[-2:] == ["heard", "error"]


def test_a_table_without_the_column_heard():
    row = Row("a.wav", "calm", (0.75, 0.25), 1.5, heard=0.5)
    assert csv_header(["a", "b"], has_heard=False) == "path,label,seconds_used,a,b,error\n"
    assert row.to_csv(has_heard=False) == "a.wav,calm,1.5,0.75,0.25,\n"
