from collections import Counter
from pathlib import Path

import pytest

from keras_vitser.corpora import savee
from keras_vitser.errors import CorpusError

PLACES = {
    "AudioData/DC": "AudioData/DC/a01.wav",
    "DC": "DC/a01.wav",
    "flat": "DC_a01.wav",
    "above": "x/AudioData/DC/a01.wav",
}


@pytest.mark.parametrize("name", PLACES.values(), ids=PLACES)
def test_every_known_layout_is_read(write, name):
    folder = write(name, name.replace("a01", "sa15").replace("DC", "KL"))
    corpus = savee.read(folder)
    assert [(clip.label, clip.speaker) for clip in corpus.clips] == [("anger", "DC"), ("sadness", "KL")]


def test_the_folder_of_one_speaker_is_read(write):
    folder = write("AudioData/JE/su01.flac", "AudioData/JE/n30.flac")
    assert savee.read(folder / "AudioData" / "JE").speakers == ("JE",)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("DC/a01.wav", "anger"),
        ("DC/d01.wav", "disgust"),
        ("DC/f01.wav", "fear"),
        ("DC/h01.wav", "happiness"),
        ("DC/n01.wav", "neutral"),
        ("DC/sa01.wav", "sadness"),
        ("DC/su01.wav", "surprise"),
        ("JK_SU01.WAV", "surprise"),
    ],
)
def test_emotion_letters(name, label):
    assert savee.parse(Path(name)).label == label


@pytest.mark.parametrize("name", ["DC/s01.wav", "DC/a1.wav", "XX/a01.wav", "DC/a01_copy.wav", "a01.wav", "XX_a01.wav"])
def test_other_names_do_not_fit(name):
    assert savee.parse(Path(name)) is None


def test_another_corpus_is_refused_with_an_example(write):
    with pytest.raises(CorpusError, match=r"AudioData/DC/a01.wav"):
        savee.read(write("wav/03a01Fa.wav"))


@pytest.mark.parametrize("below", ["", "AudioData"])
def test_the_published_corpus(recordings, below):
    corpus = savee.read(recordings / "savee" / below)
    assert len(corpus) == 480
    assert corpus.labels == ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    assert Counter(clip.speaker for clip in corpus.clips) == dict.fromkeys(["DC", "JE", "JK", "KL"], 120)
    assert Counter(clip.label for clip in corpus.clips) == {
        **dict.fromkeys(corpus.labels, 60),
        "neutral": 120,
    }


def test_untouched_originals_are_read_too(recordings):
    corpus = savee.read(recordings / "original_samples" / "savee")
    assert {(clip.path.name, clip.label, clip.speaker) for clip in corpus.clips} == {
        ("DC_a04.wav", "anger", "DC"),
        ("JE_n01.wav", "neutral", "JE"),
        ("JK_sa03.wav", "sadness", "JK"),
        ("KL_su15.wav", "surprise", "KL"),
    }
