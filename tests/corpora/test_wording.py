import pytest

from keras_vitser.corpora.wording import did_you_mean, listed


@pytest.mark.parametrize(
    ("given", "hint"), [("SAVE", "'savee'"), ("emo-db", "'emodb'"), ("qqq", ""), (3, ""), (None, "")]
)
def test_nearest_known_word_is_named(given, hint):
    answer = did_you_mean(given, ["savee", "emodb"])
    assert hint in answer
    assert bool(answer) == bool(hint)


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "a, b"
    assert listed("abcde", 2) == "a, b and 3 more"
