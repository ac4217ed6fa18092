"""Warnings that come once."""

import warnings

import pytest

from keras_vitser.audio.unheard import warn_of_unheard

pytestmark = pytest.mark.backends("tensorflow")
CUT = "2 of 5 recordings last longer than 4 s; their first 4 s were used, as the network was trained"
SKIPPED = "2 of 5 recordings last longer than 4 s from their first sound on; those 4 s were used"


@pytest.mark.parametrize(
    ("cut", "silent", "skip_silence", "expected"),
    [
        (0, 0, False, []),
        (2, 0, False, [CUT]),
        (2, 0, True, [SKIPPED]),
        (0, 3, False, ["nothing was heard in 3 of 5 recordings"]),
        (2, 3, False, [CUT, "nothing was heard in 3 of 5 recordings"]),
    ],
)
def test_a_warning_a_kind(cut, silent, skip_silence, expected):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_unheard(5, cut, silent, 4.0, skip_silence)
    assert len(caught) == len(expected)
    for warning, words in zip(caught, expected, strict=True):
        assert str(warning.message).startswith(words)
