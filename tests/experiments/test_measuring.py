"""A model is measured on the clips that it does not know, and on those only."""

import pytest

from keras_vitser import corpora
from keras_vitser.errors import CorpusError, LeakageError
from keras_vitser.experiments import evaluate_model
from keras_vitser.recognizer import Provenance, Recognizer
from tests.experiments.made_up import front_end, network

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(scope="module")
def demo():
    return corpora.load("demo", classes=["anger", "sadness"])


@pytest.fixture(scope="module")
def student():
    return network("student", 3)


def recognizer(student, **heard):
    return Recognizer(student, ("sadness", "fear", "anger"), front_end(), Provenance(**heard))


def test_all_clips_are_measured_where_nothing_is_known(demo, student):
    steps = []
    measured = evaluate_model(recognizer(student), demo, lambda *step: steps.append(step))
    assert measured.scores.clips == len(demo) == 96
    assert [row["label"] for row in measured.scores.per_class] == ["sadness", "fear", "anger"]
    assert [row["clips"] for row in measured.scores.per_class] == [48, 0, 48]
    assert "does not say what it was trained on" in measured.notes[0]
    assert "chance" in measured.sentence
    assert steps[-1] == ("clips", 96, 96)


def test_what_was_trained_on_is_left_out_and_counted(demo, student):
    clips = frozenset(clip.content_hash for clip in demo.clips if clip.speaker in ("speaker1", "speaker2"))
    heard = {"protocol": "random", "clips": clips, "speakers": frozenset({"demo/speaker3"})}
    measured = evaluate_model(recognizer(student, **heard), demo)
    assert measured.scores.clips == 64
    assert {row["speaker"] for row in measured.scores.per_speaker} == {f"speaker{n}" for n in (3, 4, 5, 6)}
    assert measured.notes == (
        "32 clips were left out, because the model was trained on them or chosen by them",
        "in 16 of the 64 clips someone speaks whom the model was trained on",
    )


def test_a_model_that_knows_every_clip_is_refused(demo, student):
    clips = frozenset(clip.content_hash for clip in demo.clips)
    with pytest.raises(LeakageError, match="all 96 clips"):
        evaluate_model(recognizer(student, clips=clips), demo)


def test_labels_that_the_model_does_not_know_are_refused(student):
    with pytest.raises(CorpusError, match="happiness, neutral"):
        evaluate_model(recognizer(student), corpora.load("demo"))
