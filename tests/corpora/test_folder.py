import logging

import pytest

from keras_vitser.corpora import folder
from keras_vitser.errors import CorpusError


def test_each_sub_folder_is_a_class_at_any_depth(write):
    corpus = folder.read(write("sadness/x.wav", "anger/s1/deep/deeper/y.flac", "anger/z.MP3", "anger/notes.txt"))
    assert corpus.labels == ("anger", "sadness")
    assert {(corpus.relative_path(clip), clip.label, clip.speaker) for clip in corpus.clips} == {
        ("sadness/x.wav", "sadness", None),
        ("anger/s1/deep/deeper/y.flac", "anger", None),
        ("anger/z.MP3", "anger", None),
    }


def test_hidden_and_empty_folders_are_no_class(write, caplog):
    place = write("a/1.wav", "b/2.wav", "b/._2.wav", ".cache/3.wav", "__MACOSX/4.wav", "papers/a.pdf", "loose.wav")
    with caplog.at_level(logging.WARNING):
        corpus = folder.read(place)
    assert corpus.labels == ("a", "b")
    assert len(corpus) == 2
    assert "papers" in caplog.text
    assert "skipped 1 files in no class folder, such as loose.wav" in caplog.text


@pytest.mark.parametrize(
    ("names", "seen"), [(["anger/x.wav", "loose.wav"], "only 'anger' holds"), (["x.wav"], "no sub-folder holds")]
)
def test_fewer_than_two_classes_are_refused(write, names, seen):
    with pytest.raises(CorpusError, match=f"at least two classes.*{seen}"):
        folder.read(write(*names))


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"one sub-folder a class.*does not exist"):
        folder.read(tmp_path / "nowhere")
