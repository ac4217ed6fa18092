"""The card says what the model is, how well it does beside chance, and what it is not for."""

import pytest

from keras_vitser import corpora
from keras_vitser.corpora import protocols
from keras_vitser.experiments.model_card import imported_model_card, model_card
from keras_vitser.experiments.systems.vit_ser import VitSer
from tests.experiments.made_up import front_end, network

pytestmark = pytest.mark.backends("torch")

LINE = "UA 50.0 % (chance 25.0 %), LEAKY protocol `paper`"


def card_of(front_end, split, scores=LINE):
    student = network("student", 4)
    about = VitSer().about(student, front_end)
    return model_card("ViT-SER student", about, student, front_end, split.corpus.labels, split, scores)


@pytest.fixture(scope="module")
def card():
    split = protocols.paper(corpora.load("demo"))
    return card_of(front_end(), split), split


def test_it_names_role_corpus_labels_and_size(card):
    text, split = card
    assert text.splitlines()[0] == "# ViT-SER student, trained on demo"
    assert ", ".join(split.corpus.labels) in text
    assert f"{network('student', 4).count_params():,} parameters" in text


def test_it_has_the_scores_the_split_its_warnings_and_the_terms(card):
    text, split = card
    assert LINE in text
    assert split.description in text
    assert split.warnings
    assert all(f"- {warning}\n" in text for warning in split.warnings)
    assert split.corpus.terms in text


def test_it_says_how_much_of_a_recording_the_network_reads(card, tmp_path):
    split, file = card[1], tmp_path / "teacher.pth"
    file.touch()
    other = front_end(clip_seconds=2.5)
    cards = (
        card_of(other, split),
        imported_model_card(network("student", 4), other, split.corpus.labels, file),
    )
    assert all("Reads the first 2.5 s of a recording" in text for text in cards)
    assert "Reads the first 4 s of a recording" in card[0]


def test_it_says_at_which_rate_samples_are_to_be(card, tmp_path):
    split, file = card[1], tmp_path / "teacher.pth"
    file.touch()
    other = front_end(sampling_rate=8000)
    assert "floats at 16000 Hz with full scale at -1 and 1" in card[0]
    for text in (
        card_of(other, split),
        imported_model_card(network("teacher", 2), other, ("calm", "upset"), file),
    ):
        assert "floats at 8000 Hz with full scale at -1 and 1" in text


def test_it_says_what_it_is_not_for(card):
    section = card[0].partition("## Not for")[2]
    assert "not in hiring, policing, schooling" in section


def test_without_scores_it_says_so(card):
    text = card_of(front_end(), card[1], scores="")
    assert "Not measured on this split." in text


def test_of_an_imported_network_it_says_what_is_not_known(tmp_path):
    file = tmp_path / "teacher.pth"
    file.write_bytes(b"abc")
    text = imported_model_card(network("teacher", 2), front_end(), ("calm", "upset"), file)
    assert text.splitlines()[0] == "# ViT-SER teacher, from a checkpoint of the paper's authors"
    # SHA-256's published value for "abc"
    assert "`teacher.pth`, SHA-256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" in text
    assert "calm, upset" in text
    assert "Not measured here" in text
    assert "not known which clips and speakers" in text
    assert "not in hiring, policing, schooling" in text
    assert str(tmp_path) not in text
