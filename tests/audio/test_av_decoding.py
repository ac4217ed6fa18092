"""keras_vitser/audio/av_decoding.py: what phones and browsers write, against the sound that was written."""

import io
import subprocess
import sys

import numpy as np
import pytest
import soxr

from keras_vitser.audio import read_waveform
from keras_vitser.audio.containers import other_container
from keras_vitser.errors import AudioCodecError, AudioTooLongError, NoSamplesError, NotAudioError, TruncatedAudioError
from tests.requirements import require

from .containers_by_av import CONTAINERS, film_without_sound, made, sweep
from .sound_files import encoded

pytestmark = pytest.mark.backends("tensorflow")

BEGINNINGS = {
    "MPEG-4 (m4a, mp4, 3gp, mov)": bytes.fromhex("0000001c667479704d344120") + bytes(16),
    "Matroska (webm, mka, mkv)": bytes.fromhex("1a45dfa39f4286810142f7810142f281"),
    "ASF (wma, asf)": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(16),
    "AMR": b"#!AMR\n\x04\x80",
    "WavPack (wv)": b"wvpk" + bytes(28),
    "TTA": b"TTA1\x01\x00\x01\x00\x10\x00",
    "AC-3 (ac3, eac3)": bytes.fromhex("0b77a2f310402f84"),
    "FLV": b"FLV\x01\x04\x00\x00\x00\x09",
    "AVI": b"RIFF\x18\x00\x00\x00AVI LIST",
    "MPEG-TS (ts)": 3 * (b"G" + bytes(187)),
    "AAC (ADTS)": 2 * (bytes.fromhex("fff160403fbffcde02004c617663") + bytes(495)),
}


@pytest.fixture(scope="module")
def files():
    require("av")
    return {name: made(name) for name in CONTAINERS}


def without_delay(waveform, expected):
    """The delay of the codec, which is at most 0.1 s either way, and both without it, as long as both are."""
    inner, lags = expected[4000:20000], range(-1600, 1600)
    delay = lags[int(np.argmax([waveform[4000 + lag :][:16000] @ inner for lag in lags]))]
    waveform, expected = waveform[max(delay, 0) :], expected[max(-delay, 0) :]
    length = min(len(waveform), len(expected))
    return delay, waveform[:length], expected[:length]


@pytest.mark.parametrize("name", CONTAINERS)
def test_it_is_read_whatever_it_is_called(name, files, tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(files[name])
    waveform = read_waveform(path)
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(read_waveform(files[name]), waveform)
    assert other_container(io.BytesIO(files[name])).title.split()[0] == name.split()[0]
    delay, waveform, expected = without_delay(waveform, sweep(16000, 2.0))
    assert len(expected) > 1.9 * 16000
    if name.startswith(("MPEG-4 to", "MPEG-4 in", "Matroska")) or name == "MPEG-4":
        assert delay == 0  # these containers tell of it
    # The codecs lose some: AMR, of telephones, most.
    error = np.sum((waveform - expected)[2000:-2000] ** 2) / np.sum(expected[2000:-2000] ** 2)
    assert error < (0.5 if name == "AMR" else 0.02)


def test_a_lossless_codec_is_read_exactly(files):
    expected = soxr.resample(sweep(44100, 2.0), 44100, 16000, quality="HQ")
    np.testing.assert_allclose(read_waveform(files["MPEG-4 in another codec"]), expected, rtol=0, atol=1e-4)


def test_channels_are_averaged(files):
    stereo = read_waveform(made("MPEG-4 in another codec", channels=2))
    np.testing.assert_allclose(stereo, read_waveform(files["MPEG-4 in another codec"]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_limit_holds(name, files):
    with pytest.raises(AudioTooLongError, match=r"the given bytes: lasts .*at most 1 s are read"):
        read_waveform(files[name], limit_seconds=1.0)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_cut_file_is_refused_where_it_promises_a_length(name, files):
    data = files[name][: len(files[name]) // 2]
    if name in ("AMR", "AAC", "AC-3", "AC-3 enhanced", "MPEG-TS", "Matroska of a browser"):
        assert 0.4 * 32000 < len(read_waveform(data)) < 0.7 * 32000
    else:
        with pytest.raises(TruncatedAudioError, match="the given bytes: "):
            read_waveform(data)


@pytest.mark.parametrize("name", ["MPEG-4", "AAC", "AMR"])
def test_a_last_frame_that_was_cut_is_no_damage_where_nothing_was_promised(name, files):
    data = files[name][:-3]
    if name == "MPEG-4":
        with pytest.raises(TruncatedAudioError):
            read_waveform(data)
    else:
        assert len(read_waveform(data)) > 0.9 * 32000


@pytest.mark.parametrize("start", [1, 100, 777, 5000])
def test_aac_that_begins_in_the_middle_of_a_frame_is_read_from_the_next(files, start):
    whole = read_waveform(files["AAC"])
    given = read_waveform(files["AAC"][start:])
    same = min(len(given) - 2048, len(whole) // 4)  # the first frame leans on the one before
    assert len(given) > len(whole) * (1 - start / len(files["AAC"])) - 2 * 1024
    np.testing.assert_allclose(given[-same:], whole[-same:], rtol=0, atol=1e-4)


def test_one_header_of_aac_by_chance_makes_no_aac(files):
    frame = files["AMR"][6 + 32 * 10 :]
    data = bytes.fromhex("fff160403fbffc") + frame
    assert other_container(io.BytesIO(data)) is None
    with pytest.raises(NotAudioError, match="is not a sound file"):
        read_waveform(data)


def test_a_damaged_middle_is_not_taken_for_the_end(files):
    data = bytearray(files["AAC"])
    half = len(data) // 2
    data[half : half + 300] = bytes(300)
    with pytest.raises(TruncatedAudioError, match=r"is AAC .*cut off or damaged"):
        read_waveform(data)


def test_a_film_without_sound_holds_no_samples():
    require("av")
    with pytest.raises(NoSamplesError, match="without sound"):
        read_waveform(film_without_sound())


@pytest.mark.parametrize("title", BEGINNINGS)
def test_without_pyav_the_container_is_named_and_both_ways_to_go_on(title, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "clip.wav"
    path.write_bytes(BEGINNINGS[title] + bytes(8))
    monkeypatch.setattr("keras_vitser.audio.decoding.is_cut_short", lambda file: False)
    with pytest.raises(AudioCodecError) as caught:
        read_waveform(path)
    assert f"{path}: is {title}, which needs PyAV: pip install 'keras-vitser[av]'" in str(caught.value)
    assert "ffmpeg -i INPUT OUTPUT.wav" in str(caught.value)


def test_a_pyav_that_is_broken_is_not_told_as_missing(monkeypatch, tmp_path):
    (tmp_path / "av.py").write_text("raise ImportError('libavcodec.so.62: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "av", raising=False)
    (tmp_path / "clip.amr").write_bytes(b"#!AMR\n" + bytes(8))
    with pytest.raises(AudioCodecError, match=r"PyAV, whose import fails here \(libavcodec\.so\.62.*\): pip install"):
        read_waveform(tmp_path / "clip.amr")


@pytest.mark.parametrize(
    ("start", "title"),
    [(b"MAC ", "Monkey's Audio"), (b"MP+\x07", "Musepack"), (b"MPCK", "Musepack"), (b"DSD ", "DSD"), (b"FRM8", "DSD")],
)
def test_what_is_read_in_neither_way_is_named(start, title):
    with pytest.raises(AudioCodecError, match=f"is {title}, which cannot be decoded here; convert it"):
        read_waveform(start + bytes(100))


def test_pyav_is_imported_only_for_such_a_file():
    code = (
        "import sys; from keras_vitser.audio import read_waveform; "
        "read_waveform(sys.stdin.buffer.read()); sys.exit('av' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], input=encoded("WAV", seconds=0.1), check=True)
