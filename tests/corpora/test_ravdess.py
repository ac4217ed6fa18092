import logging
from collections import Counter
from pathlib import Path

import pytest

from keras_vitser.corpora import ravdess
from keras_vitser.errors import CorpusError


@pytest.mark.parametrize("below", ["", "Actor_12/", "audio_speech_actors_01-24/Actor_12/"])
def test_every_known_layout_is_read(write, below):
    corpus = ravdess.read(write(f"{below}03-01-06-01-02-01-12.wav", f"{below}03-01-02-01-02-01-12.flac"))
    assert [(clip.label, clip.speaker) for clip in corpus.clips] == [("calm", "12"), ("fear", "12")]


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("01", "neutral"),
        ("02", "calm"),
        ("03", "happiness"),
        ("04", "sadness"),
        ("05", "anger"),
        ("06", "fear"),
        ("07", "disgust"),
        ("08", "surprise"),
    ],
)
def test_emotion_codes(code, label):
    assert ravdess.parse(Path(f"03-01-{code}-01-01-01-24.wav")).label == label


@pytest.mark.parametrize(
    "name", ["03-01-09-01-01-01-01.wav", "03-01-01-01-01-01-25.wav", "03-01-01-01-01-01.wav", "DC_a01.wav"]
)
def test_other_names_do_not_fit(name):
    assert ravdess.parse(Path(name)) is None


def test_songs_and_videos_are_left_out_with_a_count(write, caplog):
    folder = write(
        "03-01-06-01-02-01-12.wav",
        "03-01-05-01-02-01-12.wav",
        "03-02-05-01-02-01-12.wav",
        "01-01-05-01-02-01-12.mp4",
        "01-01-05-01-02-01-12.wav",
    )
    with caplog.at_level(logging.WARNING):
        corpus = ravdess.read(folder)
    assert len(corpus) == 2
    assert "left out 3 files of song or video" in caplog.text


def test_songs_alone_are_no_corpus(write):
    with pytest.raises(CorpusError, match="No clip of corpus 'ravdess'"):
        ravdess.read(write("03-02-05-01-02-01-12.wav"))


def test_a_distribution_that_holds_every_file_twice_is_read_once(tmp_path):
    for below in ("", "audio_speech_actors_01-24"):
        for name in ("03-01-06-01-02-01-12.wav", "03-01-05-01-02-01-12.wav"):
            path = tmp_path / below / "Actor_12" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
    corpus = ravdess.read(tmp_path)
    assert [corpus.relative_path(clip).split("/")[0] for clip in corpus.clips] == ["Actor_12", "Actor_12"]


def test_the_published_corpus(recordings):
    corpus = ravdess.read(recordings / "ravdess")
    assert corpus.labels == (
        "anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
    )  # fmt: skip
    assert Counter(clip.label for clip in corpus.clips) == {
        **dict.fromkeys(corpus.labels, 192),
        "neutral": 96,
    }
    assert Counter(clip.speaker for clip in corpus.clips) == dict.fromkeys(ravdess.ACTORS, 60)


def test_the_folder_of_one_actor_is_read(recordings):
    assert ravdess.read(recordings / "ravdess" / "Actor_07").speakers == ("07",)
