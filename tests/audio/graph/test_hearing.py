"""The graph hears what `heard_share` hears, window by window."""

import numpy as np
import pytest

from keras_vitser.audio import heard_share
from tests.audio.unheard_sounds import UNHEARD, tone
from tests.requirements import require

tf = require("tensorflow")
pytestmark = pytest.mark.backends("tensorflow")


@pytest.mark.parametrize("samples", [64000, 63999, 4000, 100])
def test_the_numbers_are_those_outside_of_the_graph(samples):
    from keras_vitser.audio.graph.hearing import heard_shares

    random = np.random.default_rng(0)
    levels = 10 ** (random.uniform(-90, -50, (8, 200)) / 20)
    windows = np.stack([*UNHEARD.values(), *(tone(row) for row in np.repeat(levels, 320, axis=1))])[:, :samples]
    windows[-1, samples // 3 :] = 0
    windows = windows.astype(np.float32)
    graph = tf.function(lambda batch: heard_shares(batch, samples, 16000), [tf.TensorSpec((None, None), tf.float32)])
    given = graph(windows).numpy()
    assert (given.dtype, given.shape) == (np.float32, (len(windows),))
    expected = [heard_share(window, samples, 16000) for window in windows]
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-6)
    assert samples == 100 or len(set(expected)) > 4
