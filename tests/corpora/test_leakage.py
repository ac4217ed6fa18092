from dataclasses import replace

import pytest

from keras_vitser.corpora import Example, find_leaks, load, protocols


@pytest.fixture
def clean(make_corpus):
    corpus = make_corpus({(f"s{number}", label): 5 for number in range(6) for label in ("anger", "fear")})
    return protocols.leave_one_speaker_out(corpus)


def test_a_clean_split_is_called_clean(clean):
    leaks = find_leaks(clean)
    assert (leaks.same_clip, leaks.same_speaker, leaks.unnamed_speaker, leaks.test_in_validation) == (0, 0, 0, 0)
    assert (leaks.validation_same_clip, leaks.validation_same_speaker) == (0, 0)
    assert leaks.sentence() == (
        f"Of {len(clean.test)} test examples none has a copy of the clip in training, none has the speaker in training."
    )


def test_a_copy_put_into_training_by_hand_is_found(clean):
    spoiled = replace(clean, train=(*clean.train, Example(clean.test[0].clip, copy=2)))
    leaks = find_leaks(spoiled)
    assert leaks.same_clip == 1
    assert leaks.same_speaker == sum(e.clip.speaker == clean.test[0].clip.speaker for e in clean.test)
    assert "1 has a copy of the clip in training" in leaks.sentence()


def test_the_same_bytes_under_another_name_are_found(clean, tmp_path):
    other = tmp_path / "renamed.wav"
    other.write_bytes(clean.test[0].clip.path.read_bytes())
    copied = replace(clean.test[0].clip, path=other, speaker="somebody else")
    leaks = find_leaks(replace(clean, train=(*clean.train, Example(copied))))
    assert (leaks.same_clip, leaks.same_speaker) == (1, 0)


def test_validation_is_looked_at_too(clean):
    spoiled = replace(clean, validation=(clean.train[0], clean.test[0], *clean.validation))
    leaks = find_leaks(spoiled)
    assert (leaks.validation_same_clip, leaks.validation_same_speaker, leaks.test_in_validation) == (1, 1, 1)
    assert "and 1 also chose the epoch" in leaks.sentence()


def test_unnamed_speakers_are_told(make_corpus):
    leaks = find_leaks(protocols.random(make_corpus({(None, "anger"): 20, (None, "fear"): 20})))
    assert (leaks.same_speaker, leaks.unnamed_speaker) == (0, 8)
    assert "(8 name no speaker)" in leaks.sentence()


def test_the_paper_s_way_on_savee(recordings):
    split = protocols.paper(load("savee", recordings / "savee"))
    in_training = {example.clip for example in split.train}
    leaks = find_leaks(split)
    assert leaks.test == 384
    assert leaks.same_clip == sum(example.clip in in_training for example in split.test) > 370
    assert leaks.same_speaker == leaks.test_in_validation == 384


@pytest.mark.parametrize("protocol", ["random", "speaker_independent", "leave_one_speaker_out"])
@pytest.mark.parametrize("name", ["savee", "ravdess"])
def test_honest_protocols_keep_clips_apart(recordings, name, protocol):
    leaks = find_leaks(protocols.split(load(name, recordings / name), protocol))
    assert (leaks.same_clip, leaks.validation_same_clip, leaks.test_in_validation) == (0, 0, 0)
    assert leaks.same_speaker == (leaks.test if protocol == "random" else 0)
