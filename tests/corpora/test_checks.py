import numpy as np
import pytest

from keras_vitser.corpora.checks import check_speakers_named, integer, known_speakers, number_of_copies
from keras_vitser.errors import ProtocolError


def test_integers_of_numpy_are_integers():
    assert integer("fold", np.int64(3), 1, 3) == 3


@pytest.mark.parametrize("value", ["1", 1.0, True, None, 0, 4])
def test_no_integer_or_out_of_range_is_refused(value):
    with pytest.raises(ProtocolError, match="`fold` must be an integer from 1 to 3"):
        integer("fold", value, 1, 3)


@pytest.mark.parametrize("value", [0, 5])
def test_copies_are_one_to_four(value):
    with pytest.raises(ProtocolError, match="`copies` must be an integer from 1 to 4"):
        number_of_copies(value)


def test_speakers_are_sorted_and_one_name_needs_no_list(make_corpus):
    corpus = make_corpus({("eva", "fear"): 1, ("adam", "fear"): 1})
    assert known_speakers(corpus, ["eva", "adam", "eva"]) == ("adam", "eva")
    assert known_speakers(corpus, "eva") == ("eva",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["evas"], "adam, eva.*'evas'.*Did you mean 'eva'"),
        ([], "at least one speaker"),
        ([3], "text.*Received: 3.*in quotes"),
        (3, "in quotes"),
    ],
)
def test_wrong_speakers_are_refused(make_corpus, names, message):
    with pytest.raises(ProtocolError, match=message):
        known_speakers(make_corpus({("eva", "fear"): 1, ("adam", "fear"): 1}), names)


def test_unnamed_or_single_speakers_are_refused(make_corpus):
    with pytest.raises(ProtocolError, match=r"2 clips name none: 0001\.wav.*speaker column"):
        check_speakers_named(make_corpus({("eva", "fear"): 1, (None, "fear"): 2}), "any")
    with pytest.raises(ProtocolError, match="at least two speakers"):
        check_speakers_named(make_corpus({("eva", "fear"): 3}), "any")
