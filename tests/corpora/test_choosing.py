import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_vitser.corpora.choosing import dealt_speakers, shares, shuffled, stratified

COUNTS = st.lists(st.integers(1, 60), min_size=1, max_size=8)


def test_order_is_fixed_for_good():
    """By hand: `for i in 0 1 ...; do printf "test/0/$i" | sha256sum; done`, sorted."""
    assert "".join(shuffled("abcdefgh", seed=0, purpose="test")) == "hecfdgab"
    assert "".join(shuffled("abcdefgh", seed=1, purpose="test")) == "bdafhgec"


def test_purposes_draw_independently():
    assert shuffled(range(50), seed=0, purpose="one") != shuffled(range(50), seed=0, purpose="two")


@given(st.lists(st.integers()), st.integers())
def test_shuffling_keeps_every_item(items, seed):
    assert sorted(shuffled(items, seed=seed, purpose="test")) == sorted(items)


@given(COUNTS, st.fractions(0, 0.99))
def test_shares_are_within_one_of_proportion(counts, fraction):
    total = int(fraction * sum(counts))
    taken = shares(counts, total)
    assert all(abs(n - total * count / sum(counts)) < 1 for n, count in zip(taken, counts, strict=True))
    assert all(0 <= n < count for n, count in zip(taken, counts, strict=True))
    assert sum(taken) <= total


@given(st.lists(st.integers(5, 60), min_size=1, max_size=8))
def test_a_fifth_of_classes_of_five_or_more_is_taken_in_full(counts):
    total = -(-sum(counts) // 5)
    assert sum(shares(counts, total)) == total


def test_largest_remainders_get_what_is_left():
    assert shares([50, 30, 15, 5], 11) == [5, 3, 2, 1]  # exactly 5.5, 3.3, 1.65, 0.55


@given(st.lists(st.sampled_from("abc"), min_size=1), st.integers(0, 9), st.fractions(0, 1))
def test_stratified_parts_are_disjoint_and_whole(labels, seed, fraction):
    items = list(range(len(labels)))
    left, drawn = stratified(items, labels, int(fraction * len(items)), seed=seed, purpose="test")
    assert sorted(left + drawn) == items
    assert left == sorted(left)
    assert drawn == sorted(drawn)
    assert {labels[item] for item in left} == set(labels)


@given(st.dictionaries(st.sampled_from("abcdefghij"), st.integers(1, 12), min_size=2), st.data())
def test_dealt_folds_are_disjoint_whole_and_balanced(make_corpus, clips, data):
    corpus = make_corpus({(speaker, "fear"): number for speaker, number in clips.items()})
    folds = dealt_speakers(corpus, data.draw(st.integers(2, len(clips))))
    assert sorted(speaker for fold in folds for speaker in fold) == sorted(clips)
    assert all(folds)
    sizes = [sum(clips[speaker] for speaker in fold) for fold in folds]
    assert max(sizes) - min(sizes) <= max(clips.values())


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_equal_speakers_make_equal_folds(make_corpus, folds):
    corpus = make_corpus({(f"s{number:02d}", "fear"): 5 for number in range(12)})
    assert {len(fold) for fold in dealt_speakers(corpus, folds)} == {12 // folds}
