import hashlib
from pathlib import Path

import pytest

from keras_vitser.corpora import Clip, Corpus
from keras_vitser.errors import CorpusError


def corpus_in(folder: Path) -> Corpus:
    clips = (
        Clip(folder / "b" / "2.wav", "sadness", "s2"),
        Clip(folder / "a" / "1.wav", "anger", "s1"),
        Clip(folder / "a" / "3.wav", "anger", None),
    )
    return Corpus("mine", folder, clips, ("sadness", "anger", "fear"), "mine")


def test_clips_are_sorted_by_path_and_labels_keep_their_order(tmp_path):
    corpus = corpus_in(tmp_path)
    assert [corpus.relative_path(clip) for clip in corpus.clips] == ["a/1.wav", "a/3.wav", "b/2.wav"]
    assert corpus.labels == ("sadness", "anger", "fear")
    assert [corpus.label_index(clip) for clip in corpus.clips] == [1, 1, 0]
    assert len(corpus) == 3


def test_unnamed_speakers_are_counted_but_are_no_speaker(tmp_path):
    corpus = corpus_in(tmp_path)
    assert corpus.speakers == ("s1", "s2")
    assert corpus.counts() == {
        "sadness": {"s1": 0, "s2": 1, None: 0},
        "anger": {"s1": 1, "s2": 0, None: 1},
        "fear": {"s1": 0, "s2": 0, None: 0},
    }


def test_text_forms_name_what_is_in_it(tmp_path):
    corpus = corpus_in(tmp_path)
    assert repr(corpus) == "Corpus(mine: 3 clips, 3 classes, 2 speakers)"
    assert "sadness 1, anger 2, fear 0" in corpus.summary()
    assert "not named 1" in corpus.summary()


def test_a_summary_lists_speakers_in_the_order_of_their_numbers(tmp_path):
    clips = [Clip(tmp_path / f"{number}.wav", "anger", f"speaker{number}") for number in (12, 3, 1)]
    assert "speaker1 1, speaker3 1, speaker12 1" in Corpus("mine", tmp_path, clips, ("anger",), "mine").summary()


def test_content_hash_is_sha256_and_read_once(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    clip = Clip(path, "anger")
    assert clip.content_hash == hashlib.sha256(b"sound").hexdigest()
    path.write_bytes(b"other")
    assert clip.content_hash == hashlib.sha256(b"sound").hexdigest()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"gone\.wav"):
        _ = Clip(tmp_path / "gone.wav", "anger").content_hash


def test_label_outside_labels_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"one of `labels` \['anger'\].*'calm'"):
        Corpus("mine", tmp_path, (Clip(tmp_path / "a.wav", "calm"),), ("anger",), "mine")


def test_one_path_twice_is_refused(tmp_path):
    clips = (Clip(tmp_path / "a.wav", "anger"), Clip(tmp_path / "a.wav", "calm"))
    with pytest.raises(CorpusError, match=r"a\.wav 2 times"):
        Corpus("mine", tmp_path, clips, ("anger", "calm"), "mine")


def written_corpus(folder: Path, *, content: bytes = b"1", label: str = "anger", speaker: str = "s1") -> Corpus:
    folder.mkdir()
    (folder / "1.wav").write_bytes(content)
    return Corpus("mine", folder, (Clip(folder / "1.wav", label, speaker),), ("anger", "fear"), "mine")


def test_fingerprint_is_the_same_elsewhere(tmp_path):
    assert written_corpus(tmp_path / "here").fingerprint == written_corpus(tmp_path / "there").fingerprint


@pytest.mark.parametrize("change", [{"content": b"2"}, {"label": "fear"}, {"speaker": "s2"}])
def test_fingerprint_changes_with_content_label_and_speaker(tmp_path, change):
    before = written_corpus(tmp_path / "before")
    after = written_corpus(tmp_path / "after", **change)
    assert before.fingerprint != after.fingerprint
