from collections import Counter
from pathlib import Path

import pytest

from keras_vitser.corpora import crema_d


@pytest.mark.parametrize("below", ["", "AudioWAV/"])
def test_both_layouts_are_read(write, below):
    corpus = crema_d.read(write(f"{below}1001_DFA_ANG_XX.wav", f"{below}1091_IEO_SAD_HI.flac"))
    assert [(clip.label, clip.speaker) for clip in corpus.clips] == [("anger", "1001"), ("sadness", "1091")]


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("ANG", "anger"),
        ("DIS", "disgust"),
        ("FEA", "fear"),
        ("HAP", "happiness"),
        ("NEU", "neutral"),
        ("SAD", "sadness"),
    ],
)
def test_emotion_codes(code, label):
    assert crema_d.parse(Path(f"1001_TIE_{code}_MD.wav")).label == label


def test_the_one_odd_published_name_fits():
    assert crema_d.parse(Path("1040_ITH_SAD_X.wav")).speaker == "1040"


@pytest.mark.parametrize("name", ["1001_DFA_CAL_XX.wav", "101_DFA_ANG_XX.wav", "1001_DFA_ANG.wav"])
def test_other_names_do_not_fit(name):
    assert crema_d.parse(Path(name)) is None


def test_the_recordings_at_hand(recordings):
    corpus = crema_d.read(recordings / "crema_d")
    assert Counter(clip.label for clip in corpus.clips) == {
        "anger": 2, "disgust": 1, "fear": 1, "happiness": 1, "neutral": 1, "sadness": 1,
    }  # fmt: skip
    assert Counter(clip.speaker for clip in corpus.clips) == {"1001": 6, "1050": 1}
