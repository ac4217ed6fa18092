"""What cannot be read is named at once, or left out of a split in which all others keep their sides."""

from dataclasses import replace
from pathlib import Path

import pytest

from keras_vitser.corpora import Clip, Corpus, protocols
from keras_vitser.corpora.unreadable import by_reason, unreadable_error
from keras_vitser.errors import AudioError, EmptyAudioError, NotAudioError, ProtocolError

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(scope="module")
def corpus(make_corpus):
    counts = {(speaker, label): 10 for speaker in ("s1", "s2", "s3") for label in ("anger", "calm")}
    return make_corpus(counts)


def with_unreadable(corpus, clips):
    return replace(corpus, unreadable=frozenset(clips))


@pytest.mark.parametrize("protocol", ["random", "speaker_independent", "leave_one_speaker_out", "paper"])
def test_everybody_else_keeps_their_side(corpus, protocol):
    whole = protocols.split(corpus, protocol)
    bad = {whole.train[0].clip, whole.validation[0].clip, whole.test[1].clip}
    split = protocols.split(with_unreadable(corpus, bad), protocol)
    for part in ("train", "validation", "test"):
        expected = [example for example in getattr(whole, part) if example.clip not in bad]
        assert list(getattr(split, part)) == expected
        assert split.left_out[part] == len({example.clip for example in getattr(whole, part)} & bad)
    assert f"{len(bad)} of 60 recordings cannot be read and are left out (" in split.warnings[0]
    assert f"{len(split.train) if protocol == 'paper' else len({e.clip for e in split.train})} " in split.description
    assert all(corpus.relative_path(clip) in split.warnings[0] for clip in bad)


def test_a_split_without_bad_ones_says_nothing(corpus):
    split = protocols.random(corpus)
    assert split.left_out == {"train": 0, "validation": 0, "test": 0}
    assert not any("cannot be read" in warning for warning in split.warnings)


def test_files_that_are_gone_stop_no_protocol(corpus):
    """Sizes and contents of recordings are compared, which needs the files."""
    gone = Clip(corpus.folder / "gone.wav", "anger", "s1")
    more = replace(corpus, clips=(*corpus.clips, gone), unreadable=frozenset({gone}))
    assert sum(protocols.random(more).left_out.values()) == 1
    assert more.fingerprint == corpus.fingerprint


def test_a_split_that_is_left_empty_says_why(corpus):
    bad = [clip for clip in corpus.clips if clip.label == "anger"]
    why = r"no training clip of anger\. 30 of 60 recordings cannot be read .*\. Choose another fold"
    with pytest.raises(ProtocolError, match=why):
        protocols.random(with_unreadable(corpus, bad))


def reasons(count, of=lambda number: NotAudioError(f"/x/{number:02d}.wav: is not a sound file; no")):
    clips = [Clip(Path(f"/x/{number:02d}.wav"), "anger") for number in range(count)]
    return Corpus("mine", Path("/x"), tuple(clips), ("anger",), "none"), {
        clip: of(number) for number, clip in enumerate(clips)
    }


def test_one_error_names_all_by_reason():
    corpus, why = reasons(3)
    why[corpus.clips[1]] = EmptyAudioError("/x/01.wav: is an empty file; expected a sound file")
    error = unreadable_error(corpus, why)
    assert isinstance(error, AudioError)
    assert str(error).startswith(
        "3 of 3 recordings in /x cannot be read: 00.wav, 02.wav: is not a sound file; no | "
        "01.wav: is an empty file; expected a sound file. "
    )
    assert "--leave-out-unreadable" in str(error)


@pytest.mark.parametrize(("count", "more"), [(20, 0), (21, 1), (500, 480)])
def test_the_names_are_bounded_and_the_rest_is_counted(count, more):
    corpus, why = reasons(count)
    text = by_reason(corpus, why)
    assert text.count(".wav") == 20
    assert (f" | and {more} more" in text) == (more > 0)
