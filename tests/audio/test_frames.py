"""Samples and frames of a clip are those of librosa's centred frames."""

import librosa
import numpy as np
import pytest

from keras_vitser.audio.frames import clip_samples, frame_count

pytestmark = pytest.mark.backends("tensorflow")


@pytest.mark.parametrize(("seconds", "hop", "samples"), [(4.0, 64, 64000), (4.02, 64, 64320), (0.29, 160, 4640)])
def test_a_clip_has_as_many_frames_as_librosa_makes(seconds, hop, samples):
    """4.02 * 16000 is 64319.99999999999 in floating point, and 0.29 * 16000 is 4639.999999999999."""
    assert clip_samples(seconds, 16000) == samples
    expected = librosa.stft(np.zeros(samples, np.float32), n_fft=1024, hop_length=hop).shape[1]
    assert frame_count(samples, hop) == expected
