"""keras_vitser/layers/front_end.py: what every front end promises."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_vitser.layers import LogMelImage
from tests.front_ends import Energies, Moments

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

NOISE = np.random.default_rng(0).normal(0, 0.1, 90000).astype(np.float32)


def test_recordings_are_cut_or_padded_at_their_ends():
    front_end = LogMelImage()
    clips, lengths = front_end.clips([NOISE, NOISE[:100], NOISE[:0]], rows=4)
    assert (clips.shape, clips.dtype, lengths.dtype) == ((4, 64000), np.float32, np.int32)
    assert lengths.tolist() == [64000, 100, 0, 0]
    np.testing.assert_array_equal(clips[0], NOISE[:64000])
    np.testing.assert_array_equal(clips[1], np.pad(NOISE[:100], (0, 63900)))
    assert not clips[2:].any()


def test_a_front_end_of_open_length_takes_all_of_the_longest():
    clips, lengths = Moments().clips([NOISE[:300], NOISE[:500]])
    assert clips.shape == (2, 500)
    assert lengths.tolist() == [300, 500]
    assert len(Moments().used(NOISE)) == len(NOISE)
    assert Moments().clips([])[0].shape == (0, 0)


def test_what_is_used_is_a_view():
    assert np.shares_memory(LogMelImage().used(NOISE), NOISE)
    assert len(LogMelImage().used(NOISE)) == 64000


@pytest.mark.parametrize("samples", [10, 8000, 9000])
def test_a_batch_is_fitted_in_a_graph_as_it_is_outside(samples):
    fitted = ops.convert_to_numpy(Energies().fitted(ops.convert_to_tensor(NOISE[None, :samples])))
    np.testing.assert_array_equal(fitted, Energies().clips([NOISE[:samples]])[0])


def test_features_are_those_of_the_call():
    for front_end in (Energies(), LogMelImage(n_mels=16, frames=8)):
        clips, lengths = front_end.clips([NOISE, NOISE[:1000]])
        features = front_end.features(clips, lengths)
        assert isinstance(features, np.ndarray)
        assert features.shape == (2, *front_end.output_spec.shape[1:])
        np.testing.assert_allclose(features, ops.convert_to_numpy(front_end(clips)), rtol=1e-5, atol=1e-6)


def test_seconds_are_those_of_the_samples():
    assert Energies().clip_seconds == 1.0
    assert Moments().clip_seconds is None
    assert LogMelImage(clip_seconds=4.02).clip_seconds == 4.02


def test_it_is_saved_and_loaded_as_any_layer():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(LogMelImage(clip_seconds=2.5)))
    assert again.clip_seconds == 2.5
