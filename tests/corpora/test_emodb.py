from collections import Counter
from pathlib import Path

import pytest

from keras_vitser.corpora import emodb, load


@pytest.mark.parametrize("below", ["", "wav/"])
def test_both_layouts_are_read(write, below):
    corpus = emodb.read(write(f"{below}03a01Fa.wav", f"{below}16b10Wb.flac"))
    assert [(clip.label, clip.speaker) for clip in corpus.clips] == [("happiness", "03"), ("anger", "16")]


@pytest.mark.parametrize(
    ("letter", "label"),
    [
        ("W", "anger"),
        ("L", "boredom"),
        ("E", "disgust"),
        ("A", "fear"),
        ("F", "happiness"),
        ("T", "sadness"),
        ("N", "neutral"),
    ],
)
def test_emotion_letters_are_german(letter, label):
    assert emodb.parse(Path(f"03a01{letter}a.wav")).label == label


@pytest.mark.parametrize("name", ["03a01Xa.wav", "3a01Fa.wav", "03c01Fa.wav", "03a01Fa-1.wav", "DC_a01.wav"])
def test_other_names_do_not_fit(name):
    assert emodb.parse(Path(name)) is None


def test_the_recordings_at_hand(recordings):
    corpus = emodb.read(recordings / "emodb")
    assert Counter(clip.label for clip in corpus.clips) == {
        "anger": 127, "neutral": 79, "happiness": 71, "sadness": 62, "boredom": 10, "fear": 5,
    }  # fmt: skip
    assert corpus.labels == ("anger", "boredom", "fear", "happiness", "neutral", "sadness")
    assert Counter(clip.speaker for clip in corpus.clips) == {
        "03": 39, "08": 42, "09": 31, "10": 24, "11": 38, "12": 22, "13": 38, "14": 43, "15": 35, "16": 42,
    }  # fmt: skip


def test_four_complete_classes(recordings):
    corpus = load("emodb", recordings / "emodb", classes=["anger", "neutral", "happiness", "sadness"])
    assert len(corpus) == 339
    assert corpus.labels == ("anger", "happiness", "neutral", "sadness")


def test_all_names_of_the_published_corpus_fit(recordings):
    corpus = emodb.read(recordings / "emodb_2s")
    assert Counter(clip.label for clip in corpus.clips) == {
        "anger": 127, "boredom": 81, "neutral": 79, "happiness": 71, "fear": 69, "sadness": 62, "disgust": 46,
    }  # fmt: skip
