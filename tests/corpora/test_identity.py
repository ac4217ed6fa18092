import pytest

from keras_vitser.corpora import Clip
from keras_vitser.corpora.identity import recording_keys
from keras_vitser.errors import CorpusError


@pytest.fixture
def clips(tmp_path):
    contents = {"a": b"same", "b": b"same", "c": b"size", "d": b"longer", "e": b"same"}
    for name, content in contents.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
    return {name: Clip(tmp_path / f"{name}.wav", "fear") for name in contents}


def test_equal_bytes_have_equal_keys_and_equal_sizes_have_not(clips):
    keys = {name: recording_keys(clips.values())[clip] for name, clip in clips.items()}
    assert keys["a"] == keys["b"] == keys["e"]
    assert len(set(keys.values())) == 3


def test_only_files_of_equal_size_are_read(clips):
    recording_keys(clips.values())
    assert [name for name, clip in clips.items() if "content_hash" in vars(clip)] == ["a", "b", "c", "e"]


def test_a_clip_given_twice_is_not_read(clips):
    assert len(recording_keys([clips["d"], clips["d"]])) == 1
    assert "content_hash" not in vars(clips["d"])


def test_one_file_under_two_labels_is_one_recording(clips):
    twice = [clips["d"], Clip(clips["d"].path, "calm")]
    assert len(set(recording_keys(twice).values())) == 1


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"gone\.wav"):
        recording_keys([Clip(tmp_path / "gone.wav", "fear")])


def test_the_pair_that_ravdess_was_published_with(recordings):
    names = ["03-01-03-01-02-01-07", "03-01-03-01-02-02-07", "03-01-03-01-01-01-07"]
    clips = [Clip(recordings / "ravdess" / "Actor_07" / f"{name}.flac", "happiness") for name in names]
    keys = recording_keys(clips)
    assert keys[clips[0]] == keys[clips[1]] != keys[clips[2]]
