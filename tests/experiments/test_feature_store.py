"""Features are computed once, found again by content and settings, and do not depend on who else is asked for."""

import itertools
import json
import shutil
import signal
import subprocess
import sys
import tracemalloc

import keras
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import soundfile

from keras_vitser.audio import COPIES, Augmentation, read_waveform
from keras_vitser.corpora import Clip, Example
from keras_vitser.errors import NotAudioError
from keras_vitser.experiments import feature_store
from keras_vitser.experiments.feature_store import LENGTHS, FeatureStore
from keras_vitser.layers import FrontEnd, LogMelImage
from tests.experiments.made_up import FRONT_END, chirp, examples, front_end
from tests.requirements import lacking

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

MEMORY_OF_IMAGES = """
import json, resource, sys
from pathlib import Path
import numpy as np
import soundfile
from keras_vitser.corpora import Clip, Example
from keras_vitser.experiments.feature_store import LENGTHS, FeatureStore
from keras_vitser.layers import FrontEnd, LogMelImage

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

imported, folder, samples = peak(), Path(sys.argv[1]), np.arange(1600)
(folder / "sounds").mkdir()
for number in range(100_000):
    soundfile.write(folder / "sounds" / f"{number}.wav", 0.5 * np.sin(samples * (0.1 + number * 1e-5)), 16000)
clips = [Clip(path, "calm") for path in (folder / "sounds").iterdir()]
images = FeatureStore(folder / "cache", LogMelImage()).features([Example(clip) for clip in clips])
print(json.dumps([len(images), peak() - imported]))
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from keras_vitser.experiments import feature_store
from tests.experiments.made_up import examples, front_end

feature_store._BYTES_A_FILE = 16 * 16 * 4 * 16
many, batches = examples(Path(sys.argv[1]), 40), []

def stop(done, total):
    batches.append(done)
    if done == 32:
        os.kill(os.getpid(), signal.SIGKILL)

feature_store.FeatureStore(Path(sys.argv[1]) / "store", front_end()).features(many, stop)
"""
NOISE, SPEED, SHIFT = (COPIES.index(name) for name in ("noise", "speed", "shift"))


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded, in any order."""
    names = []

    def read(path, **settings):
        names.append(path.name)
        return read_waveform(path, **settings)

    monkeypatch.setattr(feature_store, "read_waveform", read)
    return names


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return [example.clip for example in examples(tmp_path_factory.mktemp("sounds"), 3)]


def of(clips, copy=0):
    return [Example(clip, copy) for clip in clips]


def test_an_image_is_the_front_ends(tmp_path, clips):
    images = FeatureStore(tmp_path, front_end()).features(of(clips))
    assert (images.shape, images.dtype) == ((3, 16, 16, 1), np.float32)
    for clip, image in zip(clips, images, strict=True):
        alone = front_end()(soundfile.read(clip.path, dtype="float32")[0][None])
        np.testing.assert_allclose(image, np.asarray(alone)[0], atol=1e-6)
    assert np.abs(images[0] - images[1]).max() > 0.1


@pytest.mark.backends("torch")
def test_the_second_time_nothing_is_decoded(tmp_path, clips, monkeypatch):
    first = FeatureStore(tmp_path, front_end()).features(of(clips))

    def fail(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr(feature_store, "read_waveform", fail)
    np.testing.assert_array_equal(FeatureStore(tmp_path, front_end()).features(of(clips)), first)
    np.testing.assert_array_equal(FeatureStore(tmp_path, front_end()).features(of(clips)[::-1]), first[::-1])


@pytest.mark.backends("torch")
def test_only_what_is_missing_is_computed(tmp_path, clips, decoded):
    cache = FeatureStore(tmp_path, front_end())
    first = cache.features(of(clips[1:2]))
    images = cache.features(of(clips))
    assert sorted(decoded) == ["0.wav", "1.wav", "2.wav"]
    np.testing.assert_array_equal(images[1], first[0])


@pytest.mark.backends("torch")
def test_a_renamed_file_is_the_same_image(tmp_path, clips, decoded):
    cache = FeatureStore(tmp_path, front_end())
    first = cache.features(of(clips[:1]))
    other = tmp_path / "other name.wav"
    other.write_bytes(clips[0].path.read_bytes())
    np.testing.assert_array_equal(cache.features(of([Clip(other, "upset", "ann")])), first)
    assert decoded == ["0.wav"]


@pytest.mark.backends("torch")
def test_other_content_under_the_same_name_is_another_image(tmp_path, decoded):
    path = tmp_path / "a.wav"
    cache = FeatureStore(tmp_path / "cache", front_end())
    soundfile.write(path, chirp(0), 16000)
    first = cache.features(of([Clip(path, "calm")]))
    soundfile.write(path, chirp(5), 16000)
    assert np.abs(cache.features(of([Clip(path, "calm")])) - first).max() > 0.1
    assert decoded == ["a.wav", "a.wav"]


@pytest.mark.backends("torch")
@pytest.mark.parametrize("settings", [{"top_db": 40.0}, {"highest_band_first": False}, {"fmin": 300.0}])
def test_another_front_end_is_another_image(tmp_path, clips, settings):
    first = FeatureStore(tmp_path, front_end()).features(of(clips[:1]))
    second = FeatureStore(tmp_path, front_end(**settings)).features(of(clips[:1]))
    assert np.abs(first - second).max() > 0.01


@pytest.mark.backends("torch")
def test_the_front_ends_name_is_no_setting(tmp_path, clips, decoded):
    cache = FeatureStore(tmp_path, front_end())
    cache.features(of(clips[:1]))
    again = FeatureStore(tmp_path, LogMelImage(**FRONT_END, name="other"))
    again.features(of(clips[:1]))
    assert len(decoded) == 1


@pytest.mark.backends("torch")
@pytest.mark.parametrize("copy", [NOISE, SPEED, SHIFT])
def test_seed_and_strengths_belong_to_a_copy(tmp_path, clips, decoded, copy):
    def image(seed, **strengths):
        return FeatureStore(tmp_path, front_end(), Augmentation(**strengths), seed).features(of(clips[:1], copy))

    first = image(0)
    others = [image(1), image(0, noise_snr_db=(0.0, 5.0), speed=(0.5, 0.6), shift_seconds=1.5)]
    assert all(np.abs(first - other).max() > 1e-3 for other in others)
    np.testing.assert_array_equal(image(0), first)
    assert len(decoded) == 3


@pytest.mark.backends("torch")
def test_seed_and_strengths_do_not_concern_what_was_recorded(tmp_path, clips, decoded):
    first = FeatureStore(tmp_path, front_end()).features(of(clips[:1]))
    second = FeatureStore(tmp_path, front_end(), Augmentation(shift_seconds=0.1), seed=1).features(of(clips[:1]))
    np.testing.assert_array_equal(first, second)
    assert len(decoded) == 1


@pytest.mark.backends("torch")
def test_the_copies_of_a_clip_differ(tmp_path, clips):
    images = FeatureStore(tmp_path, front_end()).features([Example(clips[0], copy) for copy in range(len(COPIES))])
    for one in range(len(COPIES)):
        for other in range(one):
            assert np.abs(images[one] - images[other]).max() > 1e-3


def test_a_copy_depends_on_nobody_else(tmp_path):
    """Neither the order nor the batch (16 at a time) of those that are computed together matters."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    many = [example for copy in range(len(COPIES)) for example in examples(folder, 5, copy)]
    together = FeatureStore(tmp_path / "together", front_end()).features(many)
    order = np.random.default_rng(0).permutation(len(many))
    mixed = FeatureStore(tmp_path / "mixed", front_end()).features([many[index] for index in order])
    np.testing.assert_allclose(mixed, together[order], rtol=0, atol=1e-6)
    alone = FeatureStore(tmp_path / "alone", front_end())
    for index in (0, 7, 19):
        np.testing.assert_allclose(alone.features([many[index]])[0], together[index], rtol=0, atol=1e-6)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("damage", [b"", b"no image", None])
def test_a_damaged_file_of_the_store_is_computed_again(tmp_path, clips, decoded, damage):
    first = FeatureStore(tmp_path, front_end()).features(of(clips[:1]))
    (file,) = tmp_path.rglob("*.safetensors")
    whole = file.read_bytes()
    file.unlink()  # not in place: it is mapped
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    for _ in range(2):
        again = FeatureStore(tmp_path, front_end()).features(of(clips[:1]))
        np.testing.assert_allclose(again, first, atol=1e-7)
        assert len(decoded) == 2


@pytest.mark.backends("torch")
def test_an_array_of_another_shape_is_not_taken(tmp_path, clips, decoded):
    first = FeatureStore(tmp_path, front_end()).features(of(clips[:1]))
    (file,) = tmp_path.rglob("*.safetensors")
    (key,) = safetensors.safe_open(file, "numpy").keys()
    for wrong in (np.zeros((2, 2), "float32"), np.zeros((16, 16, 2), "float32"), np.zeros((16, 16), "float32")):
        file.unlink()
        safetensors.numpy.save_file({key: wrong}, file)
        again = FeatureStore(tmp_path, front_end()).features(of(clips[:1]))
        np.testing.assert_allclose(again, first, atol=1e-7)
    assert len(decoded) == 4


def test_a_long_clip_is_cut_and_a_short_one_filled(tmp_path):
    long, short = tmp_path / "long.wav", tmp_path / "short.wav"
    sound = chirp(1, seconds=5)
    soundfile.write(long, sound, 16000)
    soundfile.write(short, sound[:64000], 16000)
    images = FeatureStore(tmp_path / "cache", front_end()).features(of([Clip(long, "calm"), Clip(short, "calm")]))
    np.testing.assert_allclose(images[0], images[1], atol=1e-6)


@pytest.mark.backends("torch")
def test_a_large_set_is_read_as_it_is_asked_for_and_is_the_same(tmp_path, clips, monkeypatch):
    cache = FeatureStore(tmp_path, front_end())
    held = cache.features(of(clips))
    monkeypatch.setattr(feature_store, "_HELD_IN_MEMORY", 0)
    rows = cache.features(of(clips))
    assert isinstance(rows, feature_store.Rows)
    assert (rows.shape, rows.dtype, len(rows)) == (held.shape, held.dtype, 3)
    for index in (0, -1, slice(1, 3), slice(None, None, -1), np.array([2, 0, 2]), [1]):
        np.testing.assert_array_equal(rows[index], held[index])
    np.testing.assert_array_equal(rows, held)
    for index in (3, [0, 3]):
        with pytest.raises(IndexError):
            rows[index]


@pytest.mark.backends("torch")
def test_bytes_take_a_quarter_of_the_room(tmp_path, clips):
    exact = FeatureStore(tmp_path / "exact", front_end()).features(of(clips))
    rounded = FeatureStore(tmp_path / "bytes", front_end(), stored_as="uint8").features(of(clips))
    assert rounded.dtype == np.float32
    assert 1e-4 < np.abs(rounded - exact).max() <= 0.5001 / 255
    files = [next((tmp_path / name).rglob("*.safetensors")) for name in ("bytes", "exact")]
    assert files[0].stat().st_size < 0.5 * files[1].stat().st_size


@keras.saving.register_keras_serializable(package="tests")
class Levels(FrontEnd):
    """The mean square of each tenth of a second of a whole recording, and how many they are."""

    sampling_rate, clip_samples, exportable = 8000, None, False

    @property
    def output_spec(self):
        return {"levels": keras.KerasTensor((None, None, 2), "float16"), LENGTHS: keras.KerasTensor((None,), "int32")}

    def features(self, clips, lengths=None):
        tenths = clips[:, : clips.shape[1] // 800 * 800].reshape(len(clips), -1, 800)
        levels = np.square(tenths).mean(axis=2)[..., None]
        return {"levels": np.concatenate([levels, levels + 1], 2), LENGTHS: (lengths // 800).astype("int32")}


@pytest.mark.backends("torch")
@pytest.mark.parametrize("held", [2**28, 0])
def test_open_axes_are_kept_as_long_as_they_are(tmp_path, monkeypatch, held):
    monkeypatch.setattr(feature_store, "_HELD_IN_MEMORY", held)
    clips = []
    for number, seconds in enumerate((0.3, 1.2, 0.5)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, chirp(number, seconds, rate=8000), 8000, subtype="FLOAT")
        clips.append(Clip(path, "calm"))
    store = FeatureStore(tmp_path / "store", Levels())
    store.features(of(clips[:1]))
    found = store.features(of(clips))
    assert found[LENGTHS][:].tolist() == [3, 12, 5]
    levels = np.asarray(found["levels"])
    assert (levels.shape, levels.dtype) == ((3, 12, 2), np.float16)
    for number, (count, seconds) in enumerate(((3, 0.3), (12, 1.2), (5, 0.5))):
        expected = np.square(chirp(number, seconds, rate=8000)).reshape(count, 800).mean(axis=1)
        np.testing.assert_allclose(levels[number, :count, 0], expected, rtol=1e-3)
        assert not levels[number, count:].any()
    assert store.features(of(clips[::2]))["levels"].shape == (2, 5, 2)


@pytest.mark.backends("torch")
def test_an_open_axis_without_lengths_is_refused(tmp_path):
    class Unsaid(Levels):
        output_spec = keras.KerasTensor((None, None, 2))

    with pytest.raises(ValueError, match="must give `lengths`"):
        FeatureStore(tmp_path, Unsaid())


@pytest.mark.backends("torch", more=["torch"])
def test_what_was_written_before_a_kill_is_not_computed_again(tmp_path, monkeypatch, decoded):
    many = of([example.clip for example in examples(tmp_path, 40)])
    monkeypatch.setattr(feature_store, "_BYTES_A_FILE", 16 * 16 * 4 * 16)  # a batch
    store = FeatureStore(tmp_path / "store", front_end())
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, timeout=300, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    store = FeatureStore(tmp_path / "store", front_end())
    decoded.clear()
    found = store.features(many)
    assert 8 <= len(decoded) <= 24
    np.testing.assert_array_equal(found, FeatureStore(tmp_path / "other", front_end()).features(many))


@pytest.mark.backends("torch")
def test_no_more_is_read_ahead_than_a_few_batches(tmp_path, clips, monkeypatch):
    """Ten times the clips hold no more waveforms at once; each is cut to what the front end reads."""
    cache = FeatureStore(tmp_path, front_end())
    monkeypatch.setattr(feature_store, "_READ_AHEAD", 8)
    long = np.zeros(10 * cache.front_end.clip_samples, np.float32)
    monkeypatch.setattr(feature_store, "read_waveform", lambda path, **settings: long)
    peaks = []
    for count in (32, 320):
        tracemalloc.start()
        waveforms = cache._waveforms(iter(of(clips) * count))
        assert sum(waveform.base is None for waveform in itertools.islice(waveforms, count)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        waveforms.close()
    size = 4 * cache.front_end.clip_samples
    assert max(peaks) < 16 * size
    assert abs(peaks[1] - peaks[0]) < 4 * size


@pytest.mark.long
@pytest.mark.backends("jax")  # once will do: what grows or does not is no backend's
def test_a_hundred_thousand_recordings_fit_into_memory(tmp_path):
    """Their images are 6.5 GB; short recordings, as only what is kept of them counts."""
    if shutil.disk_usage(tmp_path).free < 25e9:
        lacking("disk", "cache and images take 13 GB of disk")
    ended = subprocess.run([sys.executable, "-c", MEMORY_OF_IMAGES, tmp_path], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    images, above_the_import = json.loads(ended.stdout)
    assert images == 100_000
    assert above_the_import < 1.5e9


@pytest.mark.backends("torch")
def test_a_bad_recording_stops_the_reading_ahead(tmp_path, clips, decoded):
    bad = tmp_path / "text.wav"
    bad.write_text("no sound")
    with pytest.raises(NotAudioError, match=r"text\.wav"):
        FeatureStore(tmp_path / "cache", front_end()).features(of([Clip(bad, "calm"), *clips * 100]))
    assert len(decoded) <= feature_store._READ_AHEAD + 1


@pytest.fixture
def bad(tmp_path):
    """Recordings that cannot be used, each for a reason of its own."""
    folder = tmp_path / "bad"
    folder.mkdir()
    contents = {"empty.wav": b"", "text.wav": b"no sound", "gone.wav": None}
    for name, content in contents.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return [Clip(folder / name, "calm") for name in contents]


@pytest.mark.backends("torch")
def test_every_bad_recording_is_named_and_the_others_are_kept(tmp_path, clips, bad, decoded):
    cache = FeatureStore(tmp_path / "cache", front_end())
    steps = []
    reasons = cache.unreadable([bad[0], *clips, bad[2], bad[1]], lambda *step: steps.append(step))
    assert [clip.path.name for clip in reasons] == ["empty.wav", "gone.wav", "text.wav"]
    for clip, words in zip(reasons, ["is an empty file", "no such file", "is not a sound file"], strict=True):
        assert f"{clip.path.name}: {words}" in str(reasons[clip])
    assert (steps[-1], steps) == ((6, 6), sorted(steps))
    (file,) = tmp_path.rglob("*.safetensors")
    assert len(safetensors.safe_open(file, "numpy").keys()) == 3


@pytest.mark.backends("torch")
def test_what_was_checked_is_not_decoded_again(tmp_path, clips, bad, decoded):
    expected = FeatureStore(tmp_path / "other", front_end()).features(of(clips))
    cache = FeatureStore(tmp_path / "cache", front_end())
    cache.unreadable([*clips, *bad])
    decoded.clear()
    np.testing.assert_allclose(cache.features(of(clips)), expected, atol=1e-6)
    assert list(cache.unreadable(clips)) == []
    assert decoded == []


def test_bad_recordings_change_no_image(tmp_path, clips, bad):
    """Forty bad ones stand between the good ones, so that batches of 16 begin and end with either."""
    mixed = FeatureStore(tmp_path / "mixed", front_end())
    mixed.unreadable([clips[0], *bad * 7, clips[1], *bad * 7, clips[2]])
    expected = FeatureStore(tmp_path / "alone", front_end()).features(of(clips))
    np.testing.assert_allclose(mixed.features(of(clips)), expected, atol=1e-6)


@pytest.mark.backends("torch")
def test_progress_counts_to_all(tmp_path, clips):
    steps = []
    cache = FeatureStore(tmp_path, front_end())
    cache.features(of(clips), lambda *step: steps.append(step))
    assert steps[-1] == (3, 3)
    assert steps == sorted(steps)
    steps.clear()
    cache.features(of(clips), lambda *step: steps.append(step))
    assert steps == [(3, 3)]


@pytest.mark.backends("torch")
def test_a_bad_recording_is_named_and_nothing_of_it_is_kept(tmp_path):
    path = tmp_path / "text.wav"
    path.write_text("no sound")
    with pytest.raises(NotAudioError, match=r"text\.wav"):
        FeatureStore(tmp_path / "cache", front_end()).features(of([Clip(path, "calm")]))
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.backends("torch")
def test_no_examples_give_no_images(tmp_path):
    assert FeatureStore(tmp_path, front_end()).features([]).shape == (0, 16, 16, 1)
