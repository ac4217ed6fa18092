from pathlib import Path

import pytest

from keras_vitser.audio import COPIES
from keras_vitser.corpora import Clip, Corpus, Example, Split, protocols


def test_copies_are_four_and_the_first_is_the_recording():
    assert COPIES == ("as recorded", "noise", "speed", "shift")
    assert Example(Clip(Path("a.wav"), "fear")).copy == 0


def test_protocols_hand_on_the_names():
    assert protocols.Split is Split
    assert protocols.Example is Example
    assert protocols.COPIES is COPIES


def test_a_split_is_short_in_print_and_cannot_be_changed():
    clip = Clip(Path("a.wav"), "fear")
    corpus = Corpus("mine", Path("x"), (clip,), ("fear",), "mine")
    split = Split(corpus, "by hand", (Example(clip),), (), (), (), False, False, "", {"seed": 0})
    assert repr(split) == "Split(mine, by hand: 1 train, 0 validation, 0 test)"
    assert split in {split}
    with pytest.raises(AttributeError):
        split.leaky = True
