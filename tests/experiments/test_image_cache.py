"""Images are computed once, found again by content and settings, and do not depend on who else is asked for."""

import itertools
import json
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile

from keras_vitser.audio import COPIES, Augmentation, read_waveform
from keras_vitser.corpora import Clip, Example
from keras_vitser.errors import NotAudioError
from keras_vitser.experiments import image_cache
from keras_vitser.experiments.image_cache import ImageCache
from keras_vitser.layers import LogMelImage
from tests.experiments.made_up import FRONT_END, chirp, examples, front_end
from tests.requirements import lacking

pytestmark = pytest.mark.backends("tensorflow", "jax", "torch")

MEMORY_OF_IMAGES = """
import json, resource, sys
from pathlib import Path
import numpy as np
import soundfile
from keras_vitser.corpora import Clip, Example
from keras_vitser.experiments.image_cache import ImageCache
from keras_vitser.layers import LogMelImage

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

imported, folder, samples = peak(), Path(sys.argv[1]), np.arange(1600)
(folder / "sounds").mkdir()
for number in range(100_000):
    soundfile.write(folder / "sounds" / f"{number}.wav", 0.5 * np.sin(samples * (0.1 + number * 1e-5)), 16000)
clips = [Clip(path, "calm") for path in (folder / "sounds").iterdir()]
images = ImageCache(folder / "cache", LogMelImage()).images([Example(clip) for clip in clips])
print(json.dumps([len(images), peak() - imported]))
"""
NOISE, SPEED, SHIFT = (COPIES.index(name) for name in ("noise", "speed", "shift"))


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded, in any order."""
    names = []

    def read(path, **settings):
        names.append(path.name)
        return read_waveform(path, **settings)

    monkeypatch.setattr(image_cache, "read_waveform", read)
    return names


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return [example.clip for example in examples(tmp_path_factory.mktemp("sounds"), 3)]


def of(clips, copy=0):
    return [Example(clip, copy) for clip in clips]


def test_an_image_is_the_front_ends(tmp_path, clips):
    images = ImageCache(tmp_path, front_end()).images(of(clips))
    assert (images.shape, images.dtype) == ((3, 16, 16, 1), np.float32)
    for clip, image in zip(clips, images, strict=True):
        alone = front_end()(soundfile.read(clip.path, dtype="float32")[0][None])
        np.testing.assert_allclose(image, np.asarray(alone)[0], atol=1e-6)
    assert np.abs(images[0] - images[1]).max() > 0.1


@pytest.mark.backends("torch")
def test_the_second_time_nothing_is_decoded(tmp_path, clips, monkeypatch):
    first = ImageCache(tmp_path, front_end()).images(of(clips))

    def fail(*args, **kwargs):
        raise AssertionError("decoded again")

    monkeypatch.setattr(image_cache, "read_waveform", fail)
    np.testing.assert_array_equal(ImageCache(tmp_path, front_end()).images(of(clips)), first)
    np.testing.assert_array_equal(ImageCache(tmp_path, front_end()).images(of(clips)[::-1]), first[::-1])


@pytest.mark.backends("torch")
def test_only_what_is_missing_is_computed(tmp_path, clips, decoded):
    cache = ImageCache(tmp_path, front_end())
    first = cache.images(of(clips[1:2]))
    images = cache.images(of(clips))
    assert sorted(decoded) == ["0.wav", "1.wav", "2.wav"]
    np.testing.assert_array_equal(images[1], first[0])


@pytest.mark.backends("torch")
def test_a_renamed_file_is_the_same_image(tmp_path, clips, decoded):
    cache = ImageCache(tmp_path, front_end())
    first = cache.images(of(clips[:1]))
    other = tmp_path / "other name.wav"
    other.write_bytes(clips[0].path.read_bytes())
    np.testing.assert_array_equal(cache.images(of([Clip(other, "upset", "ann")])), first)
    assert decoded == ["0.wav"]


@pytest.mark.backends("torch")
def test_other_content_under_the_same_name_is_another_image(tmp_path, decoded):
    path = tmp_path / "a.wav"
    cache = ImageCache(tmp_path / "cache", front_end())
    soundfile.write(path, chirp(0), 16000)
    first = cache.images(of([Clip(path, "calm")]))
    soundfile.write(path, chirp(5), 16000)
    assert np.abs(cache.images(of([Clip(path, "calm")])) - first).max() > 0.1
    assert decoded == ["a.wav", "a.wav"]


@pytest.mark.backends("torch")
@pytest.mark.parametrize("settings", [{"top_db": 40.0}, {"highest_band_first": False}, {"fmin": 300.0}])
def test_another_front_end_is_another_image(tmp_path, clips, settings):
    first = ImageCache(tmp_path, front_end()).images(of(clips[:1]))
    second = ImageCache(tmp_path, front_end(**settings)).images(of(clips[:1]))
    assert np.abs(first - second).max() > 0.01


@pytest.mark.backends("torch")
def test_the_front_ends_name_is_no_setting(tmp_path, clips, decoded):
    cache = ImageCache(tmp_path, front_end())
    cache.images(of(clips[:1]))
    again = ImageCache(tmp_path, LogMelImage(**FRONT_END, name="other"))
    again.images(of(clips[:1]))
    assert len(decoded) == 1


@pytest.mark.backends("torch")
@pytest.mark.parametrize("copy", [NOISE, SPEED, SHIFT])
def test_seed_and_strengths_belong_to_a_copy(tmp_path, clips, decoded, copy):
    def image(seed, **strengths):
        return ImageCache(tmp_path, front_end(), Augmentation(**strengths), seed).images(of(clips[:1], copy))

    first = image(0)
    others = [image(1), image(0, noise_snr_db=(0.0, 5.0), speed=(0.5, 0.6), shift_seconds=1.5)]
    assert all(np.abs(first - other).max() > 1e-3 for other in others)
    np.testing.assert_array_equal(image(0), first)
    assert len(decoded) == 3


@pytest.mark.backends("torch")
def test_seed_and_strengths_do_not_concern_what_was_recorded(tmp_path, clips, decoded):
    first = ImageCache(tmp_path, front_end()).images(of(clips[:1]))
    second = ImageCache(tmp_path, front_end(), Augmentation(shift_seconds=0.1), seed=1).images(of(clips[:1]))
    np.testing.assert_array_equal(first, second)
    assert len(decoded) == 1


@pytest.mark.backends("torch")
def test_the_copies_of_a_clip_differ(tmp_path, clips):
    images = ImageCache(tmp_path, front_end()).images([Example(clips[0], copy) for copy in range(len(COPIES))])
    for one in range(len(COPIES)):
        for other in range(one):
            assert np.abs(images[one] - images[other]).max() > 1e-3


def test_a_copy_depends_on_nobody_else(tmp_path):
    """Neither the order nor the batch (16 at a time) of those that are computed together matters."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    many = [example for copy in range(len(COPIES)) for example in examples(folder, 5, copy)]
    together = ImageCache(tmp_path / "together", front_end()).images(many)
    order = np.random.default_rng(0).permutation(len(many))
    mixed = ImageCache(tmp_path / "mixed", front_end()).images([many[index] for index in order])
    np.testing.assert_allclose(mixed, together[order], rtol=0, atol=1e-6)
    alone = ImageCache(tmp_path / "alone", front_end())
    for index in (0, 7, 19):
        np.testing.assert_allclose(alone.images([many[index]])[0], together[index], rtol=0, atol=1e-6)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("damage", [b"", b"no image", None])
def test_a_damaged_file_of_the_cache_is_computed_again(tmp_path, clips, decoded, damage):
    cache = ImageCache(tmp_path, front_end())
    first = cache.images(of(clips[:1]))
    (file,) = tmp_path.rglob("*.npy")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    np.testing.assert_allclose(cache.images(of(clips[:1])), first, atol=1e-7)
    assert len(decoded) == 2
    np.testing.assert_allclose(cache.images(of(clips[:1])), first, atol=1e-7)
    assert len(decoded) == 2


@pytest.mark.backends("torch")
def test_an_array_of_another_shape_or_of_objects_is_not_taken(tmp_path, clips, decoded):
    cache = ImageCache(tmp_path, front_end())
    first = cache.images(of(clips[:1]))
    (file,) = tmp_path.rglob("*.npy")
    for wrong in (np.zeros((2, 2), "float32"), np.zeros((16, 16, 1)), np.array([{}], object)):
        np.save(file, wrong, allow_pickle=True)
        np.testing.assert_allclose(cache.images(of(clips[:1])), first, atol=1e-7)
    assert len(decoded) == 4


def test_a_long_clip_is_cut_and_a_short_one_filled(tmp_path):
    long, short = tmp_path / "long.wav", tmp_path / "short.wav"
    sound = chirp(1, seconds=5)
    soundfile.write(long, sound, 16000)
    soundfile.write(short, sound[:64000], 16000)
    images = ImageCache(tmp_path / "cache", front_end()).images(of([Clip(long, "calm"), Clip(short, "calm")]))
    np.testing.assert_allclose(images[0], images[1], atol=1e-6)


@pytest.mark.backends("torch")
def test_a_large_set_is_mapped_and_is_the_same(tmp_path, clips, monkeypatch):
    cache = ImageCache(tmp_path, front_end())
    held = cache.images(of(clips))
    monkeypatch.setattr(image_cache, "_HELD_IN_MEMORY", 0)
    mapped = cache.images(of(clips))
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, held)
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 3, "the mapped file has no name"


@pytest.mark.backends("torch")
def test_no_more_is_read_ahead_than_a_few_batches(tmp_path, clips, monkeypatch):
    """Ten times the clips hold no more waveforms at once; each is cut to what the front end reads."""
    cache = ImageCache(tmp_path, front_end())
    monkeypatch.setattr(image_cache, "_READ_AHEAD", 8)
    long = np.zeros(10 * cache.front_end.clip_samples, np.float32)
    monkeypatch.setattr(image_cache, "read_waveform", lambda path, **settings: long)
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
        ImageCache(tmp_path / "cache", front_end()).images(of([Clip(bad, "calm"), *clips * 100]))
    assert len(decoded) <= image_cache._READ_AHEAD + 1


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
    cache = ImageCache(tmp_path / "cache", front_end())
    steps = []
    reasons = cache.unreadable([bad[0], *clips, bad[2], bad[1]], lambda *step: steps.append(step))
    assert [clip.path.name for clip in reasons] == ["empty.wav", "gone.wav", "text.wav"]
    for clip, words in zip(reasons, ["is an empty file", "no such file", "is not a sound file"], strict=True):
        assert f"{clip.path.name}: {words}" in str(reasons[clip])
    assert (steps[-1], steps) == ((6, 6), sorted(steps))
    assert len(list(tmp_path.rglob("*.npy"))) == 3


@pytest.mark.backends("torch")
def test_what_was_checked_is_not_decoded_again(tmp_path, clips, bad, decoded):
    expected = ImageCache(tmp_path / "other", front_end()).images(of(clips))
    cache = ImageCache(tmp_path / "cache", front_end())
    cache.unreadable([*clips, *bad])
    decoded.clear()
    np.testing.assert_allclose(cache.images(of(clips)), expected, atol=1e-6)
    assert list(cache.unreadable(clips)) == []
    assert decoded == []


def test_bad_recordings_change_no_image(tmp_path, clips, bad):
    """Forty bad ones stand between the good ones, so that batches of 16 begin and end with either."""
    mixed = ImageCache(tmp_path / "mixed", front_end())
    mixed.unreadable([clips[0], *bad * 7, clips[1], *bad * 7, clips[2]])
    expected = ImageCache(tmp_path / "alone", front_end()).images(of(clips))
    np.testing.assert_allclose(mixed.images(of(clips)), expected, atol=1e-6)


@pytest.mark.backends("torch")
def test_progress_counts_to_all(tmp_path, clips):
    steps = []
    cache = ImageCache(tmp_path, front_end())
    cache.images(of(clips), lambda *step: steps.append(step))
    assert steps[-1] == (3, 3)
    assert steps == sorted(steps)
    steps.clear()
    cache.images(of(clips), lambda *step: steps.append(step))
    assert steps == [(3, 3)]


@pytest.mark.backends("torch")
def test_a_bad_recording_is_named_and_nothing_of_it_is_kept(tmp_path):
    path = tmp_path / "text.wav"
    path.write_text("no sound")
    with pytest.raises(NotAudioError, match=r"text\.wav"):
        ImageCache(tmp_path / "cache", front_end()).images(of([Clip(path, "calm")]))
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.backends("torch")
def test_no_examples_give_no_images(tmp_path):
    assert ImageCache(tmp_path, front_end()).images([]).shape == (0, 16, 16, 1)
