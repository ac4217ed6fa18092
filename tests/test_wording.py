import pytest

from keras_vitser.wording import did_you_mean, listed, nearest


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


def test_how_near_is_said():
    assert nearest("Saxe", ["savee", "emodb"], cutoff=0.6) == "savee"
    assert nearest("Saxe", ["savee", "emodb"], cutoff=0.9) is None
    assert nearest("", ["savee"]) is None
