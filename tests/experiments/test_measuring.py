"""A model is measured on the clips that it does not know, and on those only."""

import unicodedata

import pytest

from keras_vitser import corpora
from keras_vitser.corpora import Clip, Corpus
from keras_vitser.errors import CorpusError, LeakageError, UnreadableRecordingsError
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
    assert measured.scores.clips == len(demo) == 240
    assert [row["label"] for row in measured.scores.per_class] == ["sadness", "fear", "anger"]
    assert [row["clips"] for row in measured.scores.per_class] == [120, 0, 120]
    assert "does not say what it was trained on" in measured.notes[0]
    assert "chance" in measured.sentence
    assert steps[-1] == ("clips", 240, 240)


def test_what_was_trained_on_is_left_out_and_counted(demo, student):
    clips = frozenset(clip.content_hash for clip in demo.clips if clip.speaker in ("speaker1", "speaker2"))
    heard = {"protocol": "random", "clips": clips, "speakers": frozenset({"demo/speaker3"})}
    measured = evaluate_model(recognizer(student, **heard), demo)
    assert measured.scores.clips == 232
    assert {row["speaker"] for row in measured.scores.per_speaker} == {f"speaker{n}" for n in range(3, 61)}
    assert measured.notes == (
        "8 clips were left out, because the model was trained on them or chosen by them",
        "in 4 of the 232 clips someone speaks whom the model was trained on",
    )


def test_what_cannot_be_read_is_named_at_once_or_left_out(demo, student, tmp_path):
    """A link to nowhere cannot even be opened; labels of an older model may be in another form of Unicode."""
    folder = tmp_path / "clips"
    for number, clip in enumerate(demo.clips[:24:2]):
        path = folder / clip.label / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.path.read_bytes())
    (folder / "anger" / "gone.wav").symlink_to("nowhere")
    (folder / "sadness" / "empty.wav").touch()
    corpus = corpora.load("folder", folder)
    with pytest.raises(UnreadableRecordingsError, match=r"2 of 14 .*gone\.wav: no such file.*empty\.wav: is an empty"):
        evaluate_model(recognizer(student), corpus)
    measured = evaluate_model(recognizer(student), corpus, leave_out_unreadable=True)
    assert measured.scores.clips == 12
    assert measured.notes[0] == (
        "2 of 14 recordings cannot be read and are left out: anger/gone.wav, sadness/empty.wav."
    )


def test_where_none_can_be_read_the_advice_is_not_what_was_done_already(student, tmp_path):
    for label in ("anger", "sadness"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "empty.wav").touch()
    corpus = corpora.load("folder", tmp_path)
    for done, advice in ((False, "--leave-out-unreadable"), (True, "Nothing is left to measure on")):
        with pytest.raises(UnreadableRecordingsError, match=r"^2 of 2 recordings") as caught:
            evaluate_model(recognizer(student), corpus, leave_out_unreadable=done)
        assert advice in str(caught.value)
        assert ("--leave-out-unreadable" in str(caught.value)) is not done


def test_a_label_and_a_speaker_may_be_in_another_form_of_unicode(demo, student):
    forms = [unicodedata.normalize(form, "zärtlich") for form in ("NFC", "NFD")]
    clips = [Clip(clip.path, forms[0] if clip.label == "anger" else "fear", forms[0]) for clip in demo.clips[:24:2]]
    corpus = Corpus("mine", demo.folder, tuple(clips), ("fear", forms[0]), "none")
    heard = Provenance("random", speakers=frozenset({f"mine/{forms[1]}"}))
    measured = evaluate_model(Recognizer(student, ("sadness", "fear", forms[1]), front_end(), heard), corpus)
    assert measured.notes == (
        f"in {len(clips)} of the {len(clips)} clips someone speaks whom the model was trained on",
    )
    per_class = {row["label"]: row["clips"] for row in measured.scores.per_class}
    assert per_class[forms[1]] == sum(clip.label == forms[0] for clip in clips) > 0


def test_a_model_that_knows_every_clip_is_refused(demo, student):
    clips = frozenset(clip.content_hash for clip in demo.clips)
    with pytest.raises(LeakageError, match="all 240 clips"):
        evaluate_model(recognizer(student, clips=clips), demo)


def test_labels_that_the_model_does_not_know_are_refused(student):
    with pytest.raises(CorpusError, match="happiness, neutral"):
        evaluate_model(recognizer(student), corpora.load("demo"))
