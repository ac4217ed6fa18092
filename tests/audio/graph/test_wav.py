"""WAV files in the graph against libsndfile and soxr outside of it: the same samples, the same refusals."""

import io
import struct

import numpy as np
import pytest
import soundfile

from keras_vitser.audio import read_waveform
from keras_vitser.audio.graph.resampling_filters import COMMON_RATES
from keras_vitser.audio.graph.wav import WavReader
from keras_vitser.errors import AudioError
from tests.audio.sound_cases import CASES
from tests.audio.sound_files import odd_chunk, pcm16, wav
from tests.requirements import require

tf = require("tensorflow")

SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT")
LENGTH = 64000  # of a row in a batch
MOST_ERROR, MOST_AT_EDGES = -130, -125  # dB; float32 alone has about -140


@pytest.fixture(scope="module")
def reader():
    return WavReader()


@pytest.fixture(scope="module")
def waveform(reader):
    graph = tf.function(lambda file: reader.waveform(file, tf.constant("it ")), [tf.TensorSpec((), tf.string)])
    return lambda file: graph(file).numpy()


@pytest.fixture(scope="module")
def batch(reader):
    graph = tf.function(lambda files: reader.batch(files, LENGTH), [tf.TensorSpec((None,), tf.string)])
    return lambda files: graph(tf.constant(files, tf.string)).numpy()


def noise_file(rate=16000, channels=1, samples=None, subtype="PCM_16", format="WAV", seed=0):
    samples = rate // 2 + 11 if samples is None else samples
    noise = np.random.default_rng(seed).normal(0, 0.2, (samples, channels))
    file = io.BytesIO()
    soundfile.write(file, noise, rate, format=format, subtype=subtype)
    return file.getvalue()


def error_of(given, expected):
    """Energy of the difference, dB of the output's."""
    assert given.shape == expected.shape
    given, expected = given.astype(np.float64), expected.astype(np.float64)
    return 10 * np.log10(np.sum((given - expected) ** 2) / np.sum(expected**2) + 1e-30)


@pytest.mark.parametrize("rate", COMMON_RATES)
@pytest.mark.parametrize("subtype", SUBTYPES)
def test_white_noise_is_read_as_outside(waveform, rate, subtype):
    for channels, format in ((1, "WAV"), (2, "WAV"), (3, "WAVEX")):
        file = noise_file(rate, channels, subtype=subtype, format=format)
        given, expected = waveform(file), read_waveform(file)
        assert error_of(given, expected) < MOST_ERROR
        assert error_of(given[:50], expected[:50]) < MOST_AT_EDGES
        assert error_of(given[-50:], expected[-50:]) < MOST_AT_EDGES


@pytest.mark.parametrize("rate", COMMON_RATES)
def test_any_length_is_read_as_outside(waveform, batch, rate):
    for samples in (3, 40, 5 * rate + 3):
        file = noise_file(rate, samples=samples)
        expected = read_waveform(file)
        most = MOST_ERROR if samples > 40 else MOST_AT_EDGES
        assert error_of(waveform(file), expected) < most
        row = np.zeros(LENGTH, np.float32)
        row[: min(LENGTH, len(expected))] = expected[:LENGTH]
        assert error_of(batch([file])[0], row) < most


def test_real_recordings_are_read_as_outside(waveform, recordings):
    files = sorted((recordings / "original_samples").rglob("*.wav"))
    assert len(files) == 18
    for path in files:
        file = path.read_bytes()
        assert error_of(waveform(file), read_waveform(file)) < MOST_ERROR


@pytest.mark.parametrize("subtype", SUBTYPES)
def test_without_resampling_the_samples_are_exact(waveform, subtype):
    file = noise_file(16000, subtype=subtype)
    np.testing.assert_array_equal(waveform(file), read_waveform(file))


def riff(*chunks):
    """Chunks, pairs of name and bytes, as a file."""
    body = b"".join(struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2) for name, data in chunks)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WAVE") + body


FORMAT = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)


@pytest.mark.parametrize(
    "file",
    [
        wav(pcm16(999), before=odd_chunk()),
        riff((b"LIST", b"odd"), (b"fmt ", FORMAT), (b"bext", bytes(602)), (b"data", pcm16(999)), (b"_PMX", b"x")),
        wav(pcm16(999), data_length=0xFFFFFFFF),
        wav(pcm16(999), data_length=0),
        wav(pcm16(999) + b"x"),
    ],
    ids=["odd chunk before", "chunks around", "open length", "length never written", "half a frame at the end"],
)
def test_chunks_are_found_as_outside(waveform, file):
    np.testing.assert_array_equal(waveform(file), read_waveform(file))


def test_the_format_may_come_after_the_sound(waveform):
    """libsndfile refuses this order; RIFF leaves it open."""
    late = riff((b"data", pcm16(999)), (b"fmt ", FORMAT))
    np.testing.assert_array_equal(waveform(late), read_waveform(wav(pcm16(999))))


def refusal(of, *given):
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        of(*given)
    return raised.value.message.split("assertion failed: [")[1].split("]\n")[0]


GOOD = noise_file(44100)
BAD = {
    "empty": (b"", "is empty; expected the bytes of a WAV file"),
    "no WAV": (b"ID3\x04" + GOOD, "is no WAV file: it does not begin with RIFF and WAVE"),
    "big-endian": (b"RIFX" + GOOD[4:], "is no WAV file: it does not begin with RIFF and WAVE"),
    "magic only": (GOOD[:12], "ends before the sound that its header promises; copy or record it again"),
    "header cut": (GOOD[:40], "ends before the sound that its header promises; copy or record it again"),
    "sound cut": (GOOD[:2000], "ends before the sound that its header promises; copy or record it again"),
    "no format": (riff((b"data", pcm16(99))), "is damaged: it has no whole chunk `fmt `"),
    "mu-law": (wav(bytes(99), tag=7, bits=8), "is a WAV with codec 0x0007, which cannot be decoded here; convert it"),
    "float 64": (noise_file(subtype="DOUBLE"), "is a WAV with codec 0x0003, which cannot be decoded here; convert it"),
    "no channel": (
        riff((b"fmt ", struct.pack("<HHIIHH", 1, 0, 16000, 0, 0, 16)), (b"data", pcm16(9))),
        "is damaged: channels, bits and bytes a frame do not fit together",
    ),
    "rate": (noise_file(12000), "has a sampling rate of 12000 Hz; expected one of 8000, 11025, 16000"),
    "no length": (wav(b"") + odd_chunk(b"LIST"), "holds no samples; expected a recording"),
    "no samples": (wav(b""), "holds no samples; expected a recording"),
    "NaN": (wav(np.array([0, np.nan], "<f4").tobytes(), tag=3, bits=32), "holds samples that are NaN or infinite"),
    "too short": (wav(pcm16(1), rate=48000), "lasts less than one sample at 16000 Hz; expected a recording"),
    "too long": (wav(bytes(2 * 8000 * 601), rate=8000), "lasts longer than 600 s; cut it into shorter files"),
}


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("name", CASES)
def test_files_that_are_not_as_they_should_be_are_judged_as_outside(waveform, name):
    case = CASES[name]
    if case.error is None and case.graph_words is None:
        np.testing.assert_array_equal(waveform(case.data), case.samples)
    else:
        assert refusal(waveform, case.data).startswith("it " + (case.graph_words or case.words))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_what_is_wrong(waveform, batch, name):
    file, words = BAD[name]
    assert refusal(waveform, file).startswith("it " + words)
    assert refusal(batch, [GOOD, file, GOOD]).startswith("audio_bytes[1] " + words)
    if name != "rate" and "codec" not in words:
        with pytest.raises(AudioError):
            read_waveform(file)


def test_late_nan_is_found_although_only_the_start_is_used(batch):
    samples = np.zeros(70000, "<f4")
    samples[-1] = np.inf
    file = wav(samples.tobytes(), tag=3, bits=32)
    assert refusal(batch, [file]) == "audio_bytes[0] holds samples that are NaN or infinite"


def test_no_file_is_refused(batch):
    assert refusal(batch, []) == "audio_bytes holds no file"


def fuzzed(number):
    """A good file of some kind, damaged in one of four ways."""
    generator = np.random.default_rng(number)
    file = bytearray(
        noise_file(
            COMMON_RATES[number % 8],
            channels=1 + number % 3,
            samples=300 + number % 7,
            subtype=SUBTYPES[number // 3 % 5],
            format=("WAV", "WAVEX")[number // 8 % 2],
            seed=number,
        )
    )
    kind, odd = number % 4, generator.integers(0, 256, 8).astype(np.uint8).tobytes()
    if kind == 0:
        file[generator.integers(0, 80)] = odd[0]
    elif kind == 1:
        del file[generator.integers(0, len(file)) :]
    elif kind == 2:
        file += odd[: generator.integers(1, 8)]
    else:
        place = generator.integers(12, 60)
        file[place:place] = odd[: generator.integers(1, 8)]
    return bytes(file)


def answer_or_refusal(waveform, file):
    try:
        return waveform(file), None
    except tf.errors.InvalidArgumentError as error:
        return None, error.message


@pytest.mark.parametrize("count", [400, pytest.param(10000, marks=pytest.mark.long)])
def test_a_damaged_file_is_refused_in_our_words_or_read_as_outside(waveform, count):
    agreed = 0
    for number in range(count):
        file = fuzzed(number)
        try:
            expected = read_waveform(file)
        except AudioError:
            expected = None
        given, said = answer_or_refusal(waveform, file)
        if given is None:
            assert "assertion failed: [it " in said
            agreed += expected is None
        elif expected is not None:
            assert given.shape == expected.shape
            np.testing.assert_allclose(given, expected, atol=1e-4 * max(1, np.abs(expected).max()))
            agreed += 1
    assert agreed > 0.95 * count  # rates that are not served, and oddities that libsndfile mends or refuses
