"""A manifest is read a line at a time, as it stands."""

import io
import sys

import pytest

from keras_vitser.errors import PredictionError
from keras_vitser.prediction import manifest_paths

pytestmark = pytest.mark.backends("tensorflow")


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.txt", b"a.wav\nb c.wav\n", ["a.wav", "b c.wav"]),
        ("a.txt", b"\xef\xbb\xbfa.wav\r\n\r\n  \r\nb.wav", ["a.wav", "b.wav"]),
        ("a.txt", b"a, b.wav\n#1.wav\n", ["a, b.wav", "#1.wav"]),
        ("a.txt", "ä.wav\n".encode() + b"\xff.wav\n", ["ä.wav", "\udcff.wav"]),
        ("a.txt", b"", []),
        ("a.csv", b"path\na.wav\n", ["a.wav"]),
        ("a.CSV", b'\xef\xbb\xbflabel,Path \r\ncalm,"a, b.wav"\r\n,\r\ncalm, c.wav\r\n', ["a, b.wav", "c.wav"]),
        ("a.csv", b'label,path\nx,"a\nb.wav"\ny,\nz\n', ["a\nb.wav", "", ""]),
        ("a.csv", b"path\n", []),
    ],
)
def test_each_form(tmp_path, name, data, expected):
    file = tmp_path / name
    file.write_bytes(data)
    assert list(manifest_paths(file)) == expected


def test_stdin_is_text(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.wav\nb.wav\n")))
    assert list(manifest_paths("-")) == ["a.wav", "b.wav"]


@pytest.mark.parametrize("name", ["nowhere.txt", "", "a\0b"])
def test_a_file_that_is_none(tmp_path, name):
    with pytest.raises(PredictionError, match="one path a line") as caught:
        manifest_paths(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "found"), [(b"file,label\na.wav,x\n", "file, label"), (b"", "nothing")])
def test_a_csv_without_paths_is_refused_at_once(tmp_path, data, found):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(PredictionError, match=f"no column `path` .it has {found}"):
        manifest_paths(tmp_path / "a.csv")


def test_a_csv_that_is_none_further_down(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'path\na.wav\n"b.wav\n')
    paths = manifest_paths(tmp_path / "a.csv")
    assert next(paths) == "a.wav"
    with pytest.raises(PredictionError, match="line 3 is no CSV"):
        next(paths)
