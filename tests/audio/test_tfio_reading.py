"""A tf.data pipeline from file names against `read_waveform`; the decoder is tensorflow-io's where it works.

`make test-tfio` runs these, and those marked `tfio`, in an environment where it does; elsewhere what is tested is the
way that soundfile reads.
"""

import logging
import sys
import types

import keras
import numpy as np
import pytest
import soundfile

from keras_vitser.audio import read_waveform, tfio_reading
from keras_vitser.audio.graph.resampling_filters import COMMON_RATES
from keras_vitser.errors import AudioError, BackendError
from keras_vitser.layers import LogMelImage
from tests.audio.sound_cases import CASES
from tests.audio.sound_files import encoded, odd_chunk, pcm16, wav, without_length
from tests.requirements import require

tf = require("tensorflow")

STEP = 1 / 32768
FORMATS = {
    "8.wav": ("WAV", "PCM_U8"),
    "16.wav": ("WAV", "PCM_16"),
    "24.wav": ("WAVEX", "PCM_24"),
    "float.wav": ("WAV", "FLOAT"),
    "8.flac": ("FLAC", "PCM_S8"),
    "16.flac": ("FLAC", "PCM_16"),
    "24.flac": ("FLAC", "PCM_24"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "layer_3.mp3": ("MP3", None),
}


def write(path, data):
    path.write_bytes(data)
    return path


def each(paths, **options):
    """What the pipeline gives for each path: an array, or the error's message."""
    elements = iter(tfio_reading.waveforms(paths, **options))
    for _ in paths:
        try:
            yield next(elements).numpy()
        except tf.errors.OpError as error:
            yield error.message
    assert next(elements, None) is None


@pytest.mark.tfio
def test_tensorflow_io_works_where_it_must():
    assert tfio_reading.tensorflow_io_works()


def test_every_format_and_rate_is_read_as_outside(tmp_path):
    paths = [
        write(
            tmp_path / f"{rate}_{channels}_{name}",
            encoded(*FORMATS[name], rate=rate, channels=channels, seconds=0.5),
        )
        for name in FORMATS
        for rate in COMMON_RATES
        for channels in (1, 2)
    ]
    for path, given in zip(paths, each(paths), strict=True):
        expected = read_waveform(path)
        assert given.shape == expected.shape, path
        np.testing.assert_allclose(given, expected, rtol=0, atol=STEP, err_msg=str(path))


def test_real_recordings_are_read_as_outside(recordings, tmp_path):
    """Originals at 16 to 48 kHz, 30 FLAC files, and what a listener would make of them: Vorbis and MP3."""
    paths = sorted((recordings / "original_samples").rglob("*.wav"))
    flacs = [
        path for corpus in ("savee", "ravdess", "emodb") for path in sorted((recordings / corpus).rglob("*.flac"))[:10]
    ]
    assert (len(paths), len(flacs)) == (18, 30)
    for number, path in enumerate(paths[::3]):
        samples, rate = soundfile.read(path)
        for kind in ("ogg", "mp3"):
            soundfile.write(tmp_path / f"{number}.{kind}", samples, rate)
            paths.append(tmp_path / f"{number}.{kind}")
    paths += flacs
    for path, given in zip(paths, each(paths), strict=True):
        expected = read_waveform(path)
        assert given.shape == expected.shape, path
        np.testing.assert_allclose(given, expected, rtol=0, atol=STEP, err_msg=str(path))


def test_chunks_and_tags_around_the_sound_are_passed_over(tmp_path):
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 1, 3]) + bytes(131)
    paths = [
        write(tmp_path / "chunk.wav", wav(pcm16(999), before=odd_chunk())),
        write(tmp_path / "tagged.mp3", tag + encoded("MP3", rate=22050, seconds=0.3)),
        write(tmp_path / "tall.wav", encoded("FLAC")),  # a name says nothing
    ]
    for path, given in zip(paths, each(paths), strict=True):
        np.testing.assert_allclose(given, read_waveform(path), rtol=0, atol=STEP)


def test_the_order_is_that_of_the_names(tmp_path):
    kinds = ("16.flac", "16.wav", "layer_3.mp3", "vorbis.ogg")
    names = [(number, kinds[number % 4]) for number in range(24)]
    paths = [
        write(tmp_path / f"{number}_{kind}", encoded(*FORMATS[kind], seconds=0.1 + 0.01 * (number * 7 % 24)))
        for number, kind in names
    ]
    for path, given in zip(paths, each(paths), strict=True):
        assert len(given) == len(read_waveform(path))


def test_waveforms_of_one_length_are_batched(tmp_path):
    lengths = {"padded.wav": 0.4, "cut.wav": 1.3}
    paths = [write(tmp_path / name, encoded("WAV", rate=48000, seconds=seconds)) for name, seconds in lengths.items()]
    dataset = tfio_reading.waveforms(map(str, paths), samples=10000)
    assert dataset.element_spec.shape == (10000,)
    (batch,) = dataset.batch(2)
    for row, path in zip(batch.numpy(), paths, strict=True):
        expected = read_waveform(path)[:10000]
        np.testing.assert_allclose(row, np.pad(expected, (0, 10000 - len(expected))), rtol=0, atol=STEP)


def test_another_rate(tmp_path):
    path = write(tmp_path / "a.flac", encoded("FLAC", rate=44100))
    (given,) = each([path], sampling_rate=8000)
    np.testing.assert_allclose(given, read_waveform(path, sampling_rate=8000), rtol=0, atol=STEP)


def test_any_file_system_of_tensorflow_is_read():
    data = encoded("FLAC", rate=22050)
    with tf.io.gfile.GFile("ram://clip.flac", "wb") as file:
        file.write(data)
    (given,) = each(["ram://clip.flac"])
    np.testing.assert_allclose(given, read_waveform(data), rtol=0, atol=STEP)


def test_no_names_give_no_waveforms():
    assert list(tfio_reading.waveforms([])) == []


GOOD = {kind: encoded(*FORMATS[kind], seconds=0.4) for kind in FORMATS}
BAD = {
    "empty.wav": (b"", "is an empty file; expected a sound file"),
    "text.wav": (b"hello, I am no sound", "is no"),
    "long.wav": (wav(bytes(2 * 8000 * 601), rate=8000), "last"),
    "none.flac": (encoded("FLAC", seconds=0), ""),
    **{f"cut.{kind}": (data[: len(data) * 2 // 3], "") for kind, data in GOOD.items()},
    **{f"magic.{kind}": (data[:4], "") for kind, data in GOOD.items()},
}


def test_a_bad_file_is_an_error_of_its_own_that_names_it(tmp_path):
    good = write(tmp_path / "good.flac", GOOD["16.flac"])
    bad = [write(tmp_path / name, data) for name, (data, _) in BAD.items()]
    bad += [tmp_path / "missing.wav", tmp_path]
    paths = [path for each_bad in bad for path in (good, each_bad)] + [good]
    expected = read_waveform(good)
    for path, given in zip(paths, each(paths), strict=True):
        if path == good:
            np.testing.assert_allclose(given, expected, rtol=0, atol=STEP)
        elif path.name.startswith(("cut.layer", "magic.layer")) and not isinstance(given, str):
            assert given.shape == read_waveform(path).shape  # an MP3 that was cut between two frames is an MP3
        else:
            assert isinstance(given, str), path
            assert str(path) in given
            assert BAD.get(path.name, ("", ""))[1] in given
            assert "Traceback" not in given
    left = list(tfio_reading.waveforms(paths).ignore_errors())
    assert len(left) == len(bad) + 1


@pytest.mark.backends("tensorflow")
def test_files_that_are_not_as_they_should_be_are_judged_as_by_the_reader(tmp_path):
    paths = [write(tmp_path / f"{number}.wav", case.data) for number, case in enumerate(CASES.values())]
    in_graph = tfio_reading.tensorflow_io_works()
    for (name, case), given in zip(CASES.items(), each(paths), strict=True):
        if case.samples is not None and not (in_graph and case.graph_words):
            np.testing.assert_allclose(given, case.samples, rtol=0, atol=STEP, err_msg=name)
        else:
            assert isinstance(given, str), name
            by_graph = in_graph and case.graph_words and case.data.startswith(b"RIFF")
            assert (case.graph_words if by_graph else case.words) in given, name


@pytest.mark.backends("tensorflow")
def test_an_mp3_that_does_not_say_how_long_it_is_is_read_to_its_end(tmp_path):
    stream = without_length(encoded("MP3", seconds=0.2)) + without_length(encoded("MP3", seconds=3.0))
    path = write(tmp_path / "stream.mp3", stream)
    (given,) = each([path])
    assert len(given) > 3.1 * 16000
    np.testing.assert_allclose(given, read_waveform(path), rtol=0, atol=STEP)


@pytest.mark.tfio
@pytest.mark.backends("tensorflow")
def test_what_phones_write_is_named(tmp_path):
    path = write(tmp_path / "phone.wav", b"#!AMR\n" + bytes(100))
    (given,) = each([path])
    assert f"{path}: is AMR, which is not decoded here; convert it to WAV, FLAC, MP3 or Ogg Vorbis" in given


def damaged(number):
    """A good file, cut somewhere, or with a bit turned over behind its header."""
    generator = np.random.default_rng(number)
    kind = ("16.flac", "24.flac", "8.flac", "vorbis.ogg", "16.wav")[number % 5]
    data = bytearray(GOOD[kind])
    if number // 5 % 2:
        return kind, bytes(data[: generator.integers(0, len(data))])
    data[generator.integers(200, len(data))] ^= 1 << generator.integers(0, 8)
    return kind, bytes(data)


def test_what_is_refused_outside_is_never_read(tmp_path):
    """tensorflow-io alone waits for ever on a FLAC file that was cut, and reads silence where one is damaged."""
    paths = []
    for number in range(150):
        kind, data = damaged(number)
        paths.append(write(tmp_path / f"{number}_{kind}", data))
    refused = 0
    for path, given in zip(paths, each(paths), strict=True):
        try:
            expected = read_waveform(path)
        except AudioError:
            assert isinstance(given, str), path
            refused += 1
        else:
            if not isinstance(given, str):
                np.testing.assert_allclose(given, expected, rtol=0, atol=STEP, err_msg=str(path))
    assert refused > 75


@pytest.mark.tfio
def test_silence_in_a_whole_file_is_sound(tmp_path):
    samples = np.zeros((20000, 2))
    samples[9000:9100] = 0.5
    paths = [tmp_path / "silence.flac", tmp_path / "gaps.flac"]
    soundfile.write(paths[0], np.zeros(20000), 16000)
    soundfile.write(paths[1], samples, 16000)
    for path, given in zip(paths, each(paths), strict=True):
        np.testing.assert_array_equal(given, read_waveform(path))


@pytest.mark.tfio
def test_what_it_cannot_read_is_refused_by_name(tmp_path):
    rate = "has a sampling rate of 12000 Hz; expected one of 8000, 11025, 16000"
    words = {
        "opus.ogg": "is an Ogg file without Vorbis; only Ogg Vorbis is decoded here",
        "a.aiff": "is no sound file that is decoded here: WAV, FLAC, MP3 or Ogg Vorbis",
        "odd.flac": rate,
        "odd.ogg": rate,
        "odd.wav": rate,
    }
    files = [("OGG", "OPUS", 24000), ("AIFF", None, 16000), *((kind, None, 12000) for kind in ("FLAC", "OGG", "WAV"))]
    paths = [
        write(tmp_path / name, encoded(format, subtype, rate=rate))
        for name, (format, subtype, rate) in zip(words, files, strict=True)
    ]
    for path, given in zip(paths, each(paths), strict=True):
        assert f"{path}: {words[path.name]}" in given


def test_images_are_those_of_the_front_end(tmp_path):
    front_end = LogMelImage(n_mels=16, frames=16, hop_length=256, clip_seconds=0.5)
    paths = [write(tmp_path / kind, GOOD[kind]) for kind in ("16.wav", "16.flac", "vorbis.ogg")]
    dataset = tfio_reading.images(paths, front_end)
    assert dataset.element_spec.shape == (16, 16, 1)
    for path, image in zip(paths, dataset, strict=True):
        expected = front_end(read_waveform(path)[None])[0]
        np.testing.assert_allclose(image, expected, rtol=0, atol=2e-3)  # 0.16 dB, in bands near the floor


def test_images_need_keras_on_tensorflow(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(BackendError, match="Keras runs on jax; set KERAS_BACKEND=tensorflow, or take `waveforms`"):
        tfio_reading.images(["a.wav"], LogMelImage())


class Broken:
    """What tensorflow-io is with another TensorFlow: imported without an error, and each call fails."""

    def __init__(self):
        self.calls = 0

    def decode_flac(self, file, dtype):
        self.calls += 1
        raise NotImplementedError("unable to open file: libtensorflow_io.so, from paths: [...]")


@pytest.fixture
def broken(monkeypatch):
    audio = Broken()
    monkeypatch.setitem(sys.modules, "tensorflow_io", types.SimpleNamespace(audio=audio))
    tfio_reading.tensorflow_io_works.cache_clear()
    yield audio
    tfio_reading.tensorflow_io_works.cache_clear()


def test_where_it_does_not_work_it_is_tried_once_and_soundfile_reads(broken, caplog, tmp_path):
    opus = write(tmp_path / "opus.ogg", encoded("OGG", "OPUS", rate=24000))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            (given,) = each([opus])
            np.testing.assert_array_equal(given, read_waveform(opus))
    assert broken.calls == 1
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("keras_vitser")]
    assert "\n" not in line
    assert f"TensorFlow {tf.__version__}" in line
    assert "libtensorflow_io.so" in line
    assert "soundfile reads, outside the graph" in line
    assert "pip install 'keras-vitser[tfio]'" in line


def test_where_it_is_missing_soundfile_reads(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    tfio_reading.tensorflow_io_works.cache_clear()
    path = write(tmp_path / "a.mp3", GOOD["layer_3.mp3"])
    (given,) = each([path])
    np.testing.assert_array_equal(given, read_waveform(path))
    tfio_reading.tensorflow_io_works.cache_clear()


def test_without_tensorflow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(BackendError, match=r"pip install 'keras-vitser\[tfio\]', or \[tensorflow\]"):
        tfio_reading.waveforms(["a.wav"])
