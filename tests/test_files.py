"""Files and folders are there whole or not at all."""

import hashlib
import json
import os
import stat

import pytest

from keras_vitser.files import sha256, strict_json, whole_file, whole_folder


@pytest.fixture
def umask():
    """An unusual mask, so that its use can be told from a fixed mode."""
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


class TestWholeFile:
    def test_the_file_has_its_name_when_the_block_ends(self, tmp_path):
        path = tmp_path / "a.txt"
        with whole_file(path) as part:
            part.write_text("whole")
            assert not path.exists()
            assert part.parent == tmp_path  # on the same disk, so that renaming is one step
        assert path.read_text() == "whole"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_path_may_be_a_string(self, tmp_path):
        with whole_file(str(tmp_path / "a.txt")) as part:
            part.write_text("whole")
        assert (tmp_path / "a.txt").read_text() == "whole"

    @pytest.mark.parametrize("name", ["a.weights.h5", "a.npy", "a.html", "noending"])
    def test_the_ending_is_the_wanted_one(self, tmp_path, name):
        """Keras and NumPy look at it."""
        with whole_file(tmp_path / name) as part:
            assert part.suffixes == (tmp_path / name).suffixes
            part.write_bytes(b"x")

    def test_an_older_file_is_replaced(self, tmp_path):
        path = tmp_path / "a.txt"
        path.write_text("older and longer")
        with whole_file(path) as part:
            part.write_text("new")
            assert path.read_text() == "older and longer"
        assert path.read_text() == "new"

    def half(self, path, error):
        with whole_file(path) as part:
            part.write_text("ha")
            raise error

    @pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
    def test_a_failure_leaves_nothing_new(self, tmp_path, error):
        path = tmp_path / "a.txt"
        path.write_text("older")
        with pytest.raises(error):
            self.half(path, error)
        assert path.read_text() == "older"
        assert list(tmp_path.iterdir()) == [path]

    def test_it_is_flushed_before_it_takes_its_name(self, tmp_path, monkeypatch):
        path, seen = tmp_path / "a.txt", []
        monkeypatch.setattr(os, "fsync", lambda handle: seen.append(path.exists()))
        with whole_file(path) as part:
            part.write_text("whole")
        assert seen == [False]

    def test_a_missing_folder_is_an_error(self, tmp_path):
        with pytest.raises(FileNotFoundError), whole_file(tmp_path / "nowhere" / "a.txt"):
            pass

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
    def test_others_may_read_what_the_umask_allows(self, tmp_path, umask):
        with whole_file(tmp_path / "a.txt") as part:
            part.write_text("whole")
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask
        assert os.umask(umask) == umask  # and the mask is as it was


class TestWholeFolder:
    def test_the_folder_has_its_name_when_the_block_ends(self, tmp_path):
        path = tmp_path / "deep" / "model"
        with whole_folder(path) as part:
            (part / "a.txt").write_text("whole")
            assert not path.exists()
        assert (path / "a.txt").read_text() == "whole"
        assert list(path.parent.iterdir()) == [path]

    def half(self, path, error):
        with whole_folder(path) as part:
            (part / "a.txt").write_text("ha")
            raise error

    @pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
    def test_a_failure_leaves_nothing(self, tmp_path, error):
        with pytest.raises(error):
            self.half(tmp_path / "model", error)
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_overwritten(self, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("older")
        for name in ("empty", "file"):
            with pytest.raises(FileExistsError, match=name), whole_folder(tmp_path / name):
                pytest.fail("the block was entered")
        assert (tmp_path / "file").read_text() == "older"

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
    def test_others_may_look_into_what_the_umask_allows(self, tmp_path, umask):
        with whole_folder(tmp_path / "model"):
            pass
        assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o777 & ~umask


def test_sha256_is_the_files(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 100_000)
    assert sha256(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    path.write_bytes(b"")
    assert sha256(str(path)) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.backends("tensorflow")
def test_strict_json_has_no_numbers_that_json_has_not():
    """Python's parser calls `parse_constant` for NaN and the infinities alone."""
    values = {"a": [1.5, float("nan"), (float("inf"), {"b": -float("inf")})], float("nan"): None, "ü": True}

    def refuse(name):
        raise AssertionError(name)

    text = strict_json(values, ensure_ascii=False)
    assert json.loads(text, parse_constant=refuse) == {"a": [1.5, None, [None, {"b": None}]], "null": None, "ü": True}
    assert strict_json({"a": [1, "NaN"]}, indent=1) == json.dumps({"a": [1, "NaN"]}, indent=1)
