"""What is heard of a recording, against librosa's levels and by hand."""

import librosa
import numpy as np
import pytest
import soundfile

from keras_vitser.audio import FLOOR_DB, from_first_sound, heard_share, read_waveform
from tests.audio.unheard_sounds import UNHEARD, lsb_noise, tone

pytestmark = pytest.mark.backends("tensorflow")
RATE, WINDOW = 16000, 64000


@pytest.mark.parametrize("name", UNHEARD)
def test_silence_of_any_kind_is_not_heard(name):
    assert heard_share(UNHEARD[name], WINDOW, RATE) == 0


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_of_one_step_of_noise_is_not_heard(tmp_path, rate, channels):
    steps = np.random.default_rng(0).integers(-1, 2, (2 * rate, channels)).astype(np.int16)
    soundfile.write(tmp_path / "noise.wav", steps, rate)
    assert heard_share(read_waveform(tmp_path / "noise.wav"), WINDOW, RATE) == 0


def test_frames_are_heard_where_librosa_finds_them_above_the_floor():
    """A tone of two whole periods a frame, so that a frame's mean is zero, at levels around the floor."""
    levels = np.random.default_rng(1).uniform(FLOOR_DB - 20, FLOOR_DB + 20, 200)
    waveform = tone(np.repeat(10 ** (levels / 20), 320)).astype(np.float32)
    rms = librosa.feature.rms(y=waveform, frame_length=320, hop_length=320, center=False)[0]
    above = librosa.amplitude_to_db(rms, ref=1.0, amin=1e-8, top_db=None) > FLOOR_DB
    assert 50 < above.sum() < 150
    assert heard_share(waveform, WINDOW, RATE) == above.mean()


@pytest.mark.parametrize(
    ("seconds", "window", "expected"),
    [(4.0, 4.0, 1.0), (1.0, 4.0, 0.25), (6.0, 4.0, 1.0), (0.02, 4.0, 1 / 200), (0.25, 0.25, 1.0), (0.01, 0.25, 1 / 13)],
)
def test_it_is_a_share_of_the_window(seconds, window, expected):
    loud = tone(np.full(round(seconds * RATE), 0.1))
    assert heard_share(loud, round(window * RATE), RATE) == expected


def test_what_comes_behind_the_window_does_not_count():
    assert heard_share(np.concatenate([np.zeros(WINDOW), tone(np.ones(RATE))]), WINDOW, RATE) == 0


def test_a_constant_offset_adds_nothing():
    quiet = lsb_noise(WINDOW)
    assert heard_share(quiet + np.float32(0.2), WINDOW, RATE) == 0


def test_clips_of_the_corpora_are_heard(recordings):
    """The quietest clip of each corpus, and some of all: all 4991 were measured so, and the least share was 0.2."""
    quietest = [
        "ravdess/Actor_09/03-01-04-01-02-02-09.flac",  # whose loudest frame is the quietest of all, -54.5 dB
        "ravdess/Actor_09/03-01-04-01-01-02-09.flac",  # of which the least is heard
        "ravdess/Actor_20/03-01-02-02-02-02-20.flac",  # a peak of 0.0045
        "nemo/samples/KD0_anger_3.flac",
        "savee/AudioData/KL/n03.flac",
    ]
    clips = [recordings / name for name in quietest] + sorted(recordings.rglob("*.flac"))[::100]
    shares = [heard_share(read_waveform(path), WINDOW, RATE) for path in clips]
    assert min(shares) >= 0.2


class TestFromFirstSound:
    @pytest.mark.parametrize("seconds", [4.0, 0.5, 9.98, 10.0, 31.0])
    def test_the_silence_before_it_is_left_out(self, seconds):
        silence, loud = lsb_noise(round(seconds * RATE)), tone(np.full(5 * RATE, 0.1))
        np.testing.assert_array_equal(from_first_sound(np.concatenate([silence, loud]), WINDOW, RATE), loud)

    def test_it_begins_with_the_frame_of_the_sound(self):
        waveform = np.zeros(5 * RATE)
        waveform[1000:] = tone(np.full(5 * RATE - 1000, 0.1))
        np.testing.assert_array_equal(from_first_sound(waveform, WINDOW, RATE), waveform[960:])  # 3 frames of 320

    def test_silence_within_and_behind_stays(self):
        waveform = np.concatenate([tone(np.full(RATE, 0.1)), np.zeros(4 * RATE), tone(np.full(RATE, 0.1))])
        np.testing.assert_array_equal(from_first_sound(waveform, WINDOW, RATE), waveform)

    def test_what_fits_the_window_stays_as_it_is(self):
        waveform = np.concatenate([np.zeros(2 * RATE), tone(np.full(2 * RATE, 0.1))])
        np.testing.assert_array_equal(from_first_sound(waveform, WINDOW, RATE), waveform)

    @pytest.mark.parametrize("name", UNHEARD)
    def test_where_nothing_is_heard_all_stays(self, name):
        waveform = np.tile(UNHEARD[name], 2)
        np.testing.assert_array_equal(from_first_sound(waveform, WINDOW, RATE), waveform)
