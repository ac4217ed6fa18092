import pytest

from keras_vitser.corpora import Clip, Corpus
from keras_vitser.corpora.assembly import assemble
from keras_vitser.errors import ProtocolError


@pytest.fixture
def build(tmp_path):
    """Assembles parts written as `{"train": "a1 b2"}`: label and content of each clip."""

    def assemble_parts(*, speaker: str | None = "s", copies: int = 1, **parts: str):
        clips = {}
        for part, words in parts.items():
            clips[part] = []
            for number, word in enumerate(words.split()):
                path = tmp_path / f"{part}{number}.wav"
                path.write_text(word[1:])
                clips[part].append(Clip(path, word[0], speaker and f"{speaker} of {part}"))
        everything = tuple(clip for part in clips.values() for clip in part)
        corpus = Corpus("made up", tmp_path, everything, tuple(sorted({clip.label for clip in everything})), "none")
        return assemble(
            corpus, "test", **clips, copies=copies, describe=lambda *numbers: f"{numbers}", settings={"seed": 5}
        )

    return assemble_parts


def contents(examples):
    return [(example.clip.label + example.clip.path.read_text(), example.copy) for example in examples]


def test_only_training_clips_are_copied(build):
    split = build(train="a1 b2", validation="a3 b4", test="a5 b6", copies=3)
    assert contents(split.train) == [(clip, copy) for clip in ("a1", "b2") for copy in range(3)]
    assert contents(split.validation) == [("a3", 0), ("b4", 0)]
    assert contents(split.test) == [("a5", 0), ("b6", 0)]
    assert (split.warnings, split.leaky, split.speakers_shared) == ((), False, False)
    assert (split.description, split.settings) == ("(2, 2, 2)", {"seed": 5})


def test_identical_recordings_stay_in_the_later_part_only(build):
    split = build(train="a1 b2 a5 b4", validation="a3 b4 b6", test="a5 b6")
    assert contents(split.train) == [("a1", 0), ("b2", 0)]
    assert contents(split.validation) == [("a3", 0), ("b4", 0)]
    assert contents(split.test) == [("a5", 0), ("b6", 0)]
    assert split.warnings == (
        "Left out of validation, because another part holds the same recording byte for byte: validation2.wav.",
        "Left out of training, because another part holds the same recording byte for byte: train2.wav, train3.wav.",
    )
    assert split.description == "(2, 2, 2)"


def test_a_validation_clip_left_out_for_the_test_part_does_not_hold_back_training(build):
    split = build(train="a1 b2 a7", validation="a3 b4 a7", test="a7 b6")
    assert contents(split.train) == [("a1", 0), ("b2", 0)]
    assert contents(split.validation) == [("a3", 0), ("b4", 0)]


def test_identical_recordings_in_one_part_stay(build):
    assert len(build(train="a1 b1", validation="a3 b4", test="a5 b6").train) == 2


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_an_empty_part_is_refused(build, part):
    parts = {"train": "a1 b2", "validation": "a3 b4", "test": "a5 b6", part: ""}
    with pytest.raises(ProtocolError, match=r"leaves no clip for the (training|validation|test) part"):
        build(**parts)


def test_a_class_that_nobody_trains_on_is_refused(build):
    with pytest.raises(ProtocolError, match=r"no training clip of b, c.*another fold"):
        build(train="a1", validation="a3 b4", test="a5 c6")


def test_a_class_missing_elsewhere_is_told(build):
    split = build(train="a1 b2", validation="a3", test="b6")
    assert split.warnings == ("The validation part holds no clip of b.", "The test part holds no clip of a.")


def test_unnamed_speakers_count_as_shared(build):
    split = build(speaker=None, train="a1 b2", validation="a3 b4", test="a5 b6")
    assert split.speakers_shared
    assert "6 of 6 clips name no speaker" in split.warnings[0]
