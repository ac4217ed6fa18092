"""Which samples are on another scale than -1 to 1, in NumPy and in a graph, and how far resampling goes beyond it."""

import numpy as np
import pytest

from keras_vitser.audio.full_scale import MOST, check_full_scale, is_beyond_full_scale
from keras_vitser.audio.graph.faults import scale_fault
from keras_vitser.audio.graph.resampling_filters import COMMON_RATES, measured_filter
from keras_vitser.audio.reading import resample
from keras_vitser.errors import PredictionError
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow")

CASES = [
    ([0.0, 0.0], False),
    ([1, -1, 0], False),
    ([1.0000001, -0.5], False),
    ([2.75, -3], False),
    ([16.0, 0.5], False),
    ([-16.5, 0.5], True),
    ([2, 0, 0], True),
    ([-32768, 32767], True),
    ([100.25, 3.75], True),
]


@pytest.mark.parametrize(("waveform", "expected"), CASES)
def test_whole_numbers_beyond_one_and_all_beyond_sixteen_are_on_another_scale(waveform, expected):
    tf = require("tensorflow")
    assert is_beyond_full_scale(np.array(waveform, "float32")) is expected
    fault, words = scale_fault(tf.constant([[0.5] * len(waveform), waveform], tf.float32), 8000)
    assert bool(fault) is expected
    if expected:
        said = f"holds samples up to {np.abs(waveform).max():g}; expected floats at 8000 Hz with full scale at -1 and 1"
        assert words.numpy().decode().startswith(f"waveform[1] {said}")
        with pytest.raises(PredictionError, match=f"^sound {said}"):
            check_full_scale(np.array(waveform), 8000, "sound")
    else:
        check_full_scale(np.array(waveform), 8000)


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_for_that_elsewhere(sample):
    assert not is_beyond_full_scale(np.array([2, sample]))


def test_no_resampling_of_full_scale_comes_near():
    """The sum of a filter's absolute taps is reached by full scale of the worst signs."""
    worst = {rate: np.abs(measured_filter(rate).taps).sum(axis=0).max() for rate in COMMON_RATES if rate != 16000}
    assert max(worst.values()) < MOST / 5
    phase = np.abs(measured_filter(8000).taps).sum(axis=0).argmax()
    signs = np.sign(measured_filter(8000).taps[:, phase]).astype("float32")
    overshoot = np.abs(resample(np.pad(signs, 2000), 8000, 16000)).max()
    assert 2 < overshoot <= worst[8000] * 1.001
