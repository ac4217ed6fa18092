"""Who stands on both sides, protocol by protocol."""

from collections import Counter, defaultdict
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_vitser.corpora import load, protocols
from keras_vitser.corpora.choosing import dealt_speakers
from keras_vitser.errors import ProtocolError

LABELS = ("anger", "calm", "fear")
APART = ("speaker_independent", "leave_one_speaker_out")

# Two to eight speakers, each with 2 to 6 clips of every class.
COUNTS = st.dictionaries(
    st.sampled_from([f"s{number}" for number in range(8)]),
    st.tuples(*[st.integers(2, 6)] * len(LABELS)),
    min_size=2,
).map(lambda rows: {(s, label): n for s, row in rows.items() for label, n in zip(LABELS, row, strict=True)})


def clips(examples):
    return {example.clip for example in examples}


def speakers(examples):
    return {example.clip.speaker for example in examples}


def by_label(examples):
    return Counter(example.clip.label for example in examples)


@pytest.fixture(scope="module")
def savee(recordings):
    return load("savee", recordings / "savee")


@pytest.fixture(scope="module")
def ravdess(recordings):
    return load("ravdess", recordings / "ravdess")


@pytest.fixture(scope="module")
def emodb(recordings):
    return load("emodb", recordings / "emodb", classes=["anger", "neutral", "happiness", "sadness"])


@pytest.fixture
def six_speakers(make_corpus):
    return make_corpus({(f"s{number}", label): 5 for number in range(1, 7) for label in LABELS})


# What holds of every honest protocol.


@pytest.mark.parametrize("name", ["random", *APART])
@given(counts=COUNTS, seed=st.integers(0, 5), copies=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_parts_are_disjoint_and_whole_and_only_training_is_copied(make_corpus, name, counts, seed, copies):
    corpus = make_corpus(counts)
    split = protocols.split(corpus, name, seed=seed, copies=copies)
    parts = [clips(split.train), clips(split.validation), clips(split.test)]
    assert all(first.isdisjoint(second) for first, second in combinations(parts, 2))
    assert set().union(*parts) == set(corpus.clips)
    assert Counter(example.clip for example in split.train) == dict.fromkeys(parts[0], copies)
    assert {example.copy for example in split.train} == set(range(copies))
    assert all(example.copy == 0 for example in split.validation + split.test)
    assert (len(split.validation), len(split.test)) == (len(parts[1]), len(parts[2]))
    assert by_label(split.train).keys() == set(LABELS)
    assert not split.leaky
    assert not any("Left out" in warning for warning in split.warnings)


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
@given(counts=COUNTS, seed=st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_same_seed_same_split(make_corpus, name, counts, seed):
    corpus = make_corpus(counts)
    assert protocols.split(corpus, name, seed=seed) == protocols.split(corpus, name, seed=seed)


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_another_seed_another_split(six_speakers, name):
    drawn = {frozenset(clips(protocols.split(six_speakers, name, seed=seed).validation)) for seed in range(8)}
    assert len(drawn) > 3


@pytest.mark.parametrize("name", APART)
@given(counts=COUNTS, seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_test_speakers_are_never_heard_before(make_corpus, name, counts, seed):
    corpus = make_corpus(counts)
    split = protocols.split(corpus, name, seed=seed)
    assert speakers(split.test) == set(split.settings["test_speakers"])
    assert speakers(split.test).isdisjoint(speakers(split.train) | speakers(split.validation))
    assert not split.speakers_shared
    left = len(corpus.speakers) - len(speakers(split.test))
    if left >= 5:
        assert speakers(split.validation).isdisjoint(speakers(split.train))
        assert len(speakers(split.validation)) == left // 5
        assert "whole speakers" in split.description
    else:
        assert speakers(split.validation) <= speakers(split.train)
        assert "stratified 20 %" in split.description


@pytest.mark.parametrize("name", ["random", *APART])
def test_descriptions_are_one_sentence_with_seed(six_speakers, name):
    split = protocols.split(six_speakers, name, seed=41)
    assert split.description.endswith("seed 41.")
    assert split.description.count(". ") == 0
    assert f"{len(split.test)} test" in split.description
    assert f"{len(split.validation)} choose the epoch" in split.description


@pytest.mark.parametrize("seed", range(6))
def test_the_same_recording_twice_never_stands_on_two_sides(ravdess, seed):
    pair = {"03-01-03-01-02-01-07", "03-01-03-01-02-02-07"}
    split = protocols.random(ravdess, seed=seed, copies=1)
    sides = {
        part
        for part in ("train", "validation", "test")
        for example in getattr(split, part)
        if example.clip.path.stem in pair
    }
    assert len(sides) == 1
    kept = len(split.train) + len(split.validation) + len(split.test)
    assert 1440 - kept == sum("byte for byte" in warning for warning in split.warnings)


def test_the_same_recording_twice_was_drawn_apart_at_least_once(ravdess):
    kept = [len(clips(s.train + s.validation + s.test)) for s in (protocols.random(ravdess, seed=n) for n in range(6))]
    assert min(kept) == 1439


# paper


@pytest.mark.parametrize(("name", "tested"), [("savee", 384), ("ravdess", 1152), ("emodb", 272)])
def test_paper_tests_a_fifth_of_the_fourfold_pool(request, name, tested):
    corpus = request.getfixturevalue(name)
    split = protocols.paper(corpus)
    assert len(split.test) == tested
    assert len(split.train) == 4 * len(corpus) - tested
    assert set(split.train) | set(split.test) == {
        protocols.Example(clip, copy) for clip in corpus.clips for copy in range(4)
    }
    share = {label: tested * 4 * n / (4 * len(corpus)) for label, n in Counter(c.label for c in corpus.clips).items()}
    assert all(abs(by_label(split.test)[label] - share[label]) < 1 for label in corpus.labels)


@pytest.mark.parametrize(("clips_of_corpus", "tested"), [(535, 428), (7442, 5954), (480, 384)])
def test_paper_totals_are_those_of_the_published_confusion_matrices(make_corpus, clips_of_corpus, tested):
    half = clips_of_corpus // 2
    corpus = make_corpus({("s1", "anger"): half, ("s2", "fear"): clips_of_corpus - half})
    assert len(protocols.paper(corpus).test) == tested


def test_paper_leaks_and_says_so(savee):
    split = protocols.paper(savee)
    assert split.leaky
    assert split.speakers_shared
    assert len(clips(split.test) & clips(split.train)) > 0.9 * len(clips(split.test))
    assert split.validation == split.test
    assert "leaky" in split.description
    assert "choose the epoch" in split.description
    assert any("epoch is chosen on the test part" in warning for warning in split.warnings)
    assert any("Leaky" in warning for warning in split.warnings)


def test_paper_has_no_setting_but_the_seed(savee):
    with pytest.raises(ProtocolError, match=r"settings seed.*'copies'"):
        protocols.split(savee, "paper", copies=2)


# random


def test_random_shares_speakers_and_says_so(savee):
    split = protocols.random(savee)
    assert (len(split.test), len(split.validation), len(split.train)) == (96, 77, 4 * 307)
    assert by_label(split.test) == {**dict.fromkeys(savee.labels, 12), "neutral": 24}
    assert speakers(split.test) <= speakers(split.train)
    assert split.speakers_shared
    assert any("Test speakers stand in training" in warning for warning in split.warnings)


@given(counts=COUNTS, seed=st.integers(0, 5), fraction=st.floats(0.1, 0.6))
@settings(max_examples=40, deadline=None)
def test_random_is_stratified_within_one(make_corpus, counts, seed, fraction):
    corpus = make_corpus(counts)
    split = protocols.random(corpus, test_fraction=fraction, seed=seed)
    of_class = Counter(clip.label for clip in corpus.clips)
    for label in LABELS:
        assert abs(by_label(split.test)[label] - len(split.test) * of_class[label] / len(corpus)) < 1


@pytest.mark.parametrize("fraction", [0, 1, 1.0, -0.1, float("nan"), "0.2", True, None])
def test_random_refuses_other_fractions(six_speakers, fraction):
    with pytest.raises(ProtocolError, match="`test_fraction` must lie above 0 and below 1"):
        protocols.random(six_speakers, test_fraction=fraction)


def test_random_takes_corpora_without_speakers(make_corpus):
    split = protocols.random(make_corpus({(None, "anger"): 10, (None, "fear"): 10}))
    assert split.speakers_shared
    assert any("name no speaker" in warning for warning in split.warnings)


def test_seven_clips_of_six_classes_are_too_few(recordings):
    with pytest.raises(ProtocolError, match="too few clips"):
        protocols.random(load("crema_d", recordings / "crema_d"))


# speaker_independent


def test_ravdess_has_the_published_folds(ravdess):
    tested = []
    for fold in range(1, 7):
        split = protocols.speaker_independent(ravdess, fold=fold)
        assert (len(split.test), len(clips(split.train)), len(split.validation)) == (240, 960, 240)
        assert split.settings["folds"] == 6
        assert f"fold {fold} of 6" in split.description
        tested.append(" ".join(sorted(speakers(split.test))))
    assert tested == [
        "01 11 20 21",
        "04 10 12 14",
        "08 09 19 23",
        "03 05 07 24",
        "02 15 16 18",
        "06 13 17 22",
    ]
    assert protocols.speaker_independent(ravdess) == protocols.speaker_independent(ravdess, fold=1, folds=6)


def test_ravdess_with_fewer_actors_or_other_folds_is_dealt(ravdess, recordings):
    other = protocols.speaker_independent(ravdess, fold=2, folds=4)
    assert len(speakers(other.test)) == 6
    one_actor_less = [clip for clip in ravdess.clips if clip.speaker != "24"]
    fewer = type(ravdess)("ravdess", ravdess.folder, tuple(one_actor_less), ravdess.labels, ravdess.terms)
    assert protocols.speaker_independent(fewer).settings["folds"] == 5


@given(counts=COUNTS, data=st.data())
@settings(max_examples=25, deadline=None)
def test_folds_together_test_every_speaker_once_whatever_the_seed(make_corpus, counts, data):
    corpus = make_corpus(counts)
    folds = data.draw(st.integers(2, len(corpus.speakers)))
    tested = [
        speaker
        for fold in range(1, folds + 1)
        for speaker in protocols.speaker_independent(
            corpus, fold=fold, folds=folds, seed=data.draw(st.integers(0, 3))
        ).settings["test_speakers"]
    ]
    assert sorted(tested) == list(corpus.speakers)


@pytest.mark.parametrize(("number", "folds"), [(2, 2), (4, 4), (5, 5), (8, 5)])
def test_default_is_the_first_of_at_most_five_folds(make_corpus, number, folds):
    corpus = make_corpus({(f"s{n}", label): 4 for n in range(number) for label in LABELS})
    split = protocols.speaker_independent(corpus)
    assert (split.settings["fold"], split.settings["folds"]) == (1, folds)
    assert tuple(split.settings["test_speakers"]) == dealt_speakers(corpus, folds)[0]


def test_speakers_may_be_named(savee):
    split = protocols.speaker_independent(savee, test_speakers=["KL", "JE"])
    assert speakers(split.test) == {"JE", "KL"}
    assert len(split.test) == 240
    assert split.settings["test_speakers"] == ["JE", "KL"]
    assert "speakers JE, KL" in split.description


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"test_speakers": ["s9"]}, "s1, s2.*'s9'.*Did you mean 's"),
        ({"test_speakers": [f"s{n}" for n in range(1, 7)]}, "At least one speaker must be left to train on"),
        ({"test_speakers": ["s1"], "fold": 1}, "by name or as a fold, not both"),
        ({"test_speakers": ["s1"], "folds": 3}, "not both"),
        ({"fold": 6}, "`fold` must be an integer from 1 to 5. Received: 6"),
        ({"fold": 0}, "`fold` must be an integer from 1 to 5. Received: 0"),
        ({"folds": 7}, "`folds` must be an integer from 2 to 6"),
        ({"folds": 1}, "`folds` must be an integer from 2 to 6"),
        ({"copies": 5}, "`copies` must be an integer from 1 to 4"),
        ({"seed": "0"}, "`seed` must be an integer"),
    ],
)
def test_speaker_independent_refuses(six_speakers, asked, message):
    with pytest.raises(ProtocolError, match=message):
        protocols.speaker_independent(six_speakers, **asked)


def test_a_class_that_only_the_test_speaker_speaks_is_refused(make_corpus):
    corpus = make_corpus({("s1", "anger"): 9, ("s1", "fear"): 9, ("s2", "anger"): 9, ("s2", "calm"): 9})
    with pytest.raises(ProtocolError, match="no training clip of fear"):
        protocols.speaker_independent(corpus, test_speakers="s1")


def test_a_class_that_no_test_speaker_speaks_is_told(make_corpus):
    corpus = make_corpus({("s1", "anger"): 9, ("s1", "fear"): 9, ("s2", "anger"): 9, ("s3", "fear"): 9})
    split = protocols.speaker_independent(corpus, test_speakers="s3")
    assert "The test part holds no clip of anger." in split.warnings


@pytest.mark.parametrize("name", APART)
def test_speakers_must_be_named_where_they_are_kept_apart(make_corpus, name):
    with pytest.raises(ProtocolError, match=r"needs every clip's speaker.*speaker column"):
        protocols.split(make_corpus({("s1", "anger"): 5, (None, "fear"): 5}), name)


# leave_one_speaker_out


def test_each_savee_speaker_is_left_out_in_turn(savee):
    tested = defaultdict(int)
    for fold in range(1, 5):
        split = protocols.leave_one_speaker_out(savee, fold=fold)
        (speaker,) = speakers(split.test)
        tested[speaker] += len(split.test)
        assert len(speakers(split.train)) == 3
        assert (len(clips(split.train)), len(split.validation)) == (288, 72)
    assert tested == {"DC": 120, "JE": 120, "JK": 120, "KL": 120}


def test_a_speaker_named_is_its_fold(savee):
    assert protocols.leave_one_speaker_out(savee, speaker="JK") == protocols.leave_one_speaker_out(savee, fold=3)
    assert protocols.leave_one_speaker_out(savee).settings["test_speakers"] == ["DC"]


def test_emodb_speakers_are_left_out_with_whole_speakers_to_validate(emodb):
    for fold in range(1, 11):
        split = protocols.leave_one_speaker_out(emodb, fold=fold)
        parts = [speakers(part) for part in (split.train, split.validation, split.test)]
        assert [len(part) for part in parts] == [8, 1, 1]
        assert set().union(*parts) == set(emodb.speakers)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"speaker": "s1", "fold": 1}, "not both"),
        ({"speaker": "S 1"}, "Did you mean 's1'"),
        ({"fold": 7}, "from 1 to 6"),
    ],
)
def test_leave_one_speaker_out_refuses(six_speakers, asked, message):
    with pytest.raises(ProtocolError, match=message):
        protocols.leave_one_speaker_out(six_speakers, **asked)


# split


def test_protocols_are_known_by_name(six_speakers):
    assert tuple(protocols.PROTOCOLS) == ("paper", "random", "speaker_independent", "leave_one_speaker_out")
    for name, protocol in protocols.PROTOCOLS.items():
        split = protocols.split(six_speakers, name, seed=2)
        assert split.protocol == name
        assert split == protocol(six_speakers, seed=2)


def test_unknown_protocol_and_setting_are_answered_with_the_nearest(six_speakers):
    with pytest.raises(ProtocolError, match=r"one of paper, random.*'speaker-independent'.*'speaker_independent'"):
        protocols.split(six_speakers, "speaker-independent")
    with pytest.raises(ProtocolError, match=r"settings test_speakers.*'test_speaker'.*Did you mean 'test_speakers'"):
        protocols.split(six_speakers, "speaker_independent", test_speaker=["s1"])
