"""keras_vitser/audio/decoding.py: MP3 files that do not say how long they are, against the same files that do."""

import io
import struct

import numpy as np
import pytest
import soundfile

from keras_vitser.audio import read_waveform
from keras_vitser.audio.containers import is_cut_short
from keras_vitser.errors import AudioCodecError, AudioTooLongError, TruncatedAudioError

from .sound_files import encoded, wav, without_length

pytestmark = pytest.mark.backends("tensorflow")

SECONDS = 8
DELAY = 1105  # samples that LAME's encoder puts before the sound, by its own tag
TAG = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)


def mp3(rate, is_loud_first):
    """Half a noise, half silence: of a variable bit rate, so that one half says little of the other."""
    noise = np.random.default_rng(0).normal(0, 0.1, rate * SECONDS)
    loud = np.arange(len(noise)) < len(noise) // 2
    file = io.BytesIO()
    soundfile.write(
        file,
        noise * (loud if is_loud_first else ~loud),
        rate,
        format="MP3",
        bitrate_mode="VARIABLE",
        compression_level=0.2,
    )
    return file.getvalue()


@pytest.fixture(params=[(16000, True), (16000, False), (44100, True), (44100, False)], ids=str, scope="module")
def whole(request):
    """Rate, a file that says how long it is, and its samples by soundfile."""
    rate, is_loud_first = request.param
    data = mp3(rate, is_loud_first)
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    assert len(samples) == SECONDS * rate
    return rate, data, samples


def read(data, rate):
    return read_waveform(data, sampling_rate=rate)


@pytest.mark.parametrize("around", [(b"", b""), (TAG, b""), (TAG + TAG, b""), (b"", b"TAG" + bytes(125))], ids=len)
def test_all_of_the_sound_is_read_whatever_was_guessed(whole, around):
    rate, data, samples = whole
    given = read(around[0] + without_length(data) + around[1], rate)
    assert 0 <= len(given) - DELAY - len(samples) < 3 * 1152
    np.testing.assert_allclose(given[DELAY:][: len(samples)], samples, rtol=0, atol=1e-4)


def test_a_tag_of_players_behind_it_is_no_damage(whole):
    rate, data, _ = whole
    bare = without_length(data)
    tag = b"APETAGEX" + b"a line of text, " * 200
    np.testing.assert_array_equal(read(bare + tag, rate), read(bare, rate))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_where_it_was_cut_is_its_end(whole, share):
    rate, data, samples = whole
    bare = without_length(data)
    given = read(bare[: round(share * len(bare))], rate)
    sound = min(len(given) - DELAY, len(samples))
    assert sound > 0.1 * len(samples)
    np.testing.assert_allclose(given[DELAY:][:sound], samples[:sound], rtol=0, atol=1e-4)


def test_what_begins_in_the_middle_of_a_frame_is_read(whole):
    rate, data, samples = whole
    given = read(data[len(data) // 2 + 1 :], rate)
    same = min(len(given), len(samples)) // 2
    assert same > rate
    # The first frames lean on bytes that are gone.
    np.testing.assert_allclose(given[-same:], read(without_length(data), rate)[-same:], rtol=0, atol=1e-4)


def test_where_a_length_was_promised_a_cut_is_an_error(whole):
    rate, data, _ = whole
    with pytest.raises(TruncatedAudioError, match=r"of the 8\.00 s that its header promises"):
        read(data[: len(data) // 2], rate)


def test_a_hole_is_not_taken_for_the_end(whole):
    rate, data, _ = whole
    bare = without_length(data)
    hole = len(bare) // 3
    with pytest.raises(TruncatedAudioError, match="cut off or damaged"):
        read(bare[:hole] + bytes(3000) + bare[hole:], rate)


def test_the_limit_is_judged_by_what_was_decoded(whole):
    _, data, _ = whole
    bare = without_length(data)
    assert len(read_waveform(bare, limit_seconds=8.5)) > 8 * 16000
    with pytest.raises(AudioTooLongError, match="lasts longer than 7 s; at most 7 s are read"):
        read_waveform(bare, limit_seconds=7)
    with pytest.raises(AudioTooLongError, match=r"lasts 8\.0 s; at most 7 s are read"):
        read_waveform(data, limit_seconds=7)


def test_in_a_wav_file_it_is_read_as_outside(whole):
    rate, data, _ = whole
    bare = without_length(data)
    file = wav(bare, rate=rate, tag=0x55, bits=16)
    np.testing.assert_array_equal(read(file, rate), read(bare, rate))


def without_total(data):
    """A FLAC file as it is written to a pipe."""
    packed = int.from_bytes(data[18:26], "big")
    return data[:18] + (packed >> 36 << 36).to_bytes(8, "big") + data[26:]


def test_flac_without_its_length_is_read_to_its_end():
    noise = np.random.default_rng(0).normal(0, 0.1, 100000)
    file = io.BytesIO()
    soundfile.write(file, noise, 16000, format="FLAC")
    data = without_total(file.getvalue())
    expected, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    np.testing.assert_array_equal(read_waveform(data), expected)
    given = read_waveform(data[: len(data) // 2])
    assert len(given) > 40000
    np.testing.assert_array_equal(given, expected[: len(given)])
    with pytest.raises(AudioTooLongError):
        read_waveform(data, limit_seconds=6)


@pytest.mark.parametrize("length", [0, 0x7FFFFFFF, 0xFFFFFFFF, 32001])
@pytest.mark.parametrize("format", ["AU", "AIFF", "RF64", "CAF"])
def test_other_headers_are_judged_as_that_of_wav(format, length):
    file = io.BytesIO()
    samples = np.random.default_rng(0).integers(-9999, 9999, 16000).astype("int16")
    soundfile.write(file, samples, 16000, format=format, subtype="PCM_16")
    data = bytearray(file.getvalue())
    if format == "RF64":
        place, code = data.find(b"ds64") + 16, struct.pack("<Q", length if length == 32001 else length * (2**32 + 1))
    elif format == "CAF":
        place, code = data.find(b"data") + 4, struct.pack(">Q", 4 + length if length == 32001 else 2**64 - 1)
    elif format == "AU":
        place, code = 8, struct.pack(">I", length)
    else:
        place, code = data.find(b"SSND") + 4, struct.pack(">I", length + 8 * (length == 32001))
    data[place : place + len(code)] = code
    np.testing.assert_array_equal(read_waveform(bytes(data)), samples.astype("float32") / 32768)


def ogg(packet):
    """An Ogg file of one stream, which begins with the packet."""
    pages = ((2, packet), (4, bytes(100)))
    return b"".join(b"OggS\0" + bytes([kind]) + bytes(20) + bytes([1, len(body)]) + body for kind, body in pages)


@pytest.mark.parametrize(
    ("packet", "codec"),
    [
        (b"\x7fFLAC\x01\x00\x00\x01fLaC\x00\x00\x00\x22" + bytes(34), "FLAC"),
        (b"Speex   1.2.1" + bytes(67), "Speex"),
        (b"\x80theora\x03\x02\x01" + bytes(30), "another codec than Vorbis and Opus"),
    ],
    ids=["FLAC", "Speex", "Theora"],
)
def test_ogg_with_a_codec_that_is_not_decoded_is_named(packet, codec):
    with pytest.raises(AudioCodecError, match=f"is Ogg with {codec}, which cannot be decoded here; convert it"):
        read_waveform(ogg(packet))


def test_chunks_of_a_caf_file_that_go_beyond_any_place_are_damage():
    with pytest.raises(TruncatedAudioError):
        read_waveform(b"caff\0\x01\0\0" + (b"free" + b"\xff" * 8) * 3)


@pytest.mark.parametrize("packet", [b"\x01vorbis" + bytes(23), b"OpusHead" + bytes(11)])
def test_ogg_with_a_damaged_beginning_is_damaged(packet):
    with pytest.raises(TruncatedAudioError, match="cut off or damaged"):
        read_waveform(ogg(packet))


@pytest.mark.parametrize(
    ("format", "subtype", "code", "other"),
    [
        ("AIFF", "ALAW", b"alaw", b"QDM2"),
        ("AU", "PCM_16", b"\0\0\0\x03", b"\0\0\0\x0b"),
        ("CAF", None, b"lpcm", b"aac "),
        ("NIST", None, b"-s3 pcm", b"-s26 pcm,embedded-shorten-v2.00"),
    ],
)
def test_an_encoding_that_libsndfile_does_not_know_is_no_damage(format, subtype, code, other):
    data = encoded(format, subtype).replace(code, other, 1)
    with pytest.raises(AudioCodecError, match="is whole, in an encoding that cannot be decoded here; convert it"):
        read_waveform(data)


@pytest.mark.parametrize("coding", [b"sample_coding -s26 pcm,embedded-shorten-v2.00", b"sample_coding -s3 pcm,"])
def test_nist_that_promises_nothing_that_can_be_compared_is_not_cut_off(coding):
    data = encoded("NIST")
    header = data[:1024].replace(b"sample_coding -s3 pcm", coding)
    if coding.endswith(b","):
        header = header.replace(b"sample_count -i 16000\n", b"")
    assert not is_cut_short(io.BytesIO(header[:1024] + data[1024:5000]))
