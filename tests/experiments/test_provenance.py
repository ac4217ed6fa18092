"""What a network heard is carried on, and no score is taken on it."""

import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from keras_vitser import corpora
from keras_vitser.corpora import Clip, Corpus, protocols
from keras_vitser.errors import ConfigError, LeakageError
from keras_vitser.experiments import provenance
from keras_vitser.recognizer import Provenance, Recognizer
from tests.experiments.made_up import front_end, network

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(scope="module")
def apart():
    return protocols.speaker_independent(corpora.load("demo"), test_speakers=["speaker6"], copies=1)


@pytest.fixture(scope="module")
def shared():
    return protocols.random(corpora.load("demo"), copies=1)


def recognizer(labels=("a", "b"), heard=None, **settings):
    return Recognizer(network("student", len(labels), **settings), labels, front_end(), heard or Provenance())


def test_training_and_validation_are_heard_and_the_test_is_not(apart):
    own = provenance.of_split(apart, [])
    assert own.clips == {example.clip.content_hash for example in (*apart.train, *apart.validation)}
    assert own.speakers == {f"demo/speaker{number}" for number in range(1, 61) if number != 6}
    assert (own.protocol, own.leaky) == ("speaker_independent", False)
    provenance.refuse_leaks(own, apart, "it")


def test_what_the_ancestors_heard_is_heard_too(apart):
    ancestor = recognizer(heard=Provenance("paper", True, frozenset({"old"}), frozenset({"savee/KL"})))
    own = provenance.of_split(apart, [ancestor])
    assert "old" in own.clips
    assert "savee/KL" in own.speakers
    assert own.leaky


def test_clips_without_a_speaker_name_none(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.wav").write_text(str(number))
    clips = [Clip(tmp_path / f"{number}.wav", "ab"[number % 2]) for number in range(20)]
    split = protocols.random(Corpus("mine", tmp_path, clips, ("a", "b"), "none"), copies=1)
    assert provenance.of_split(split, []).speakers == frozenset()
    provenance.refuse_leaks(Provenance(speakers=frozenset({"mine/None"})), split, "it")


def test_a_speaker_whose_name_was_kept_in_another_form_of_unicode_is_known(apart):
    """As versions wrote it that took a table's names as they stand."""
    forms = [unicodedata.normalize(form, "Jürgen") for form in ("NFC", "NFD")]
    test = tuple(replace(example, clip=replace(example.clip, speaker=forms[0])) for example in apart.test)
    heard = Provenance(clips=frozenset({"other clips"}), speakers=frozenset({f"demo/{forms[1]}"}))
    with pytest.raises(LeakageError, match=f"demo/{forms[0]}"):
        provenance.refuse_leaks(heard, replace(apart, test=test), "it")


def test_one_test_clip_is_enough_to_refuse(apart):
    heard = Provenance(clips=frozenset({apart.test[0].clip.content_hash}))
    with pytest.raises(LeakageError, match="it was trained on 1 of the 8 test clips"):
        provenance.refuse_leaks(heard, apart, "it")


def test_a_test_speaker_is_enough_to_refuse(apart):
    heard = Provenance(clips=frozenset({"other clips"}), speakers=frozenset({"demo/speaker6", "demo/speaker1"}))
    with pytest.raises(LeakageError, match=r"test speakers demo/speaker6;"):
        provenance.refuse_leaks(heard, apart, "it")


def test_a_speaker_of_the_same_name_in_another_corpus_is_somebody_else(apart):
    provenance.refuse_leaks(Provenance(speakers=frozenset({"savee/speaker6"})), apart, "it")


def test_where_the_protocol_shares_speakers_only_clips_are_refused(shared):
    provenance.refuse_leaks(Provenance(speakers=frozenset({"demo/speaker6"})), shared, "it")
    with pytest.raises(LeakageError, match="test clips"):
        provenance.refuse_leaks(Provenance(clips=frozenset({shared.test[0].clip.content_hash})), shared, "it")


def test_the_protocol_that_leaks_refuses_nothing():
    split = protocols.paper(corpora.load("demo"))
    provenance.refuse_leaks(provenance.of_split(split, []), split, "it")


def test_a_network_of_which_nothing_is_known_is_taken(apart):
    provenance.refuse_leaks(Provenance(), apart, "it")


class TestTakeWeights:
    def test_the_same_labels_bring_the_head_along(self):
        source, student = recognizer(), network("student", 2)
        provenance.take_weights(student, ["a", "b"], source)
        for old, new in zip(source.network.get_weights(), student.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    @pytest.mark.parametrize("labels", [("b", "a"), ("a", "c"), ("a", "b", "c")])
    def test_other_labels_or_another_order_have_a_new_head(self, labels):
        source, student = recognizer(), network("student", len(labels))
        head = student.get_layer("head").get_weights()
        provenance.take_weights(student, labels, source)
        for old, new in zip(head, student.get_layer("head").get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        for name in ("patches", "class_token", "encoder_block_0", "encoder_norm"):
            pairs = zip(
                source.network.get_layer(name).get_weights(), student.get_layer(name).get_weights(), strict=True
            )
            assert all(np.array_equal(old, new) for old, new in pairs)

    @pytest.mark.parametrize(
        ("settings", "layer"), [({"hidden_dim": 32}, "class_token"), ({"depth": 2}, "encoder_block_1")]
    )
    def test_another_shape_is_refused(self, settings, layer):
        with pytest.raises(ConfigError, match=rf"initial_weights: layer '{layer}'"):
            provenance.take_weights(network("student", 2, **settings), ("a", "b"), recognizer())

    def test_a_source_that_is_deeper_is_refused(self):
        """Else its last blocks would be left out and nobody told."""
        with pytest.raises(ConfigError, match="encoder_block_1"):
            provenance.take_weights(network("student", 2), ("a", "b"), recognizer(depth=2))
