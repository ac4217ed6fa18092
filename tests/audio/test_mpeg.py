"""keras_vitser/audio/mpeg.py, on frames that LAME and FFmpeg wrote."""

import io

import numpy as np
import pytest
import soundfile

from keras_vitser.audio.mpeg import find_frame, frame_length, length_of_tags, states_its_length
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow")

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def noise(rate):
    return np.random.default_rng(0).normal(0, 0.1, rate)


def lame(rate, compression_level):
    file = io.BytesIO()
    options = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": compression_level}
    soundfile.write(file, noise(rate), rate, **options)
    return file.getvalue()


def layer_ii(rate, bit_rate):
    av = require("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp2") as output:
        stream = output.add_stream("mp2", rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray((noise(rate) * 32767).astype("int16")[None], "s16", "mono")
        frame.sample_rate = rate
        for part in av.AudioResampler("s16", "mono", rate, frame_size=1152).resample(frame):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def walked(data):
    """Where the frames end that follow each other from the beginning."""
    place = 0
    while length := frame_length(data[place : place + 4]):
        place += length
    return place


@pytest.mark.parametrize("rate", RATES)
def test_frames_follow_each_other_to_the_end(rate):
    for compression_level in (0.0, 0.3, 0.6, 0.9):
        data = lame(rate, compression_level)
        assert walked(data) == len(data)


@pytest.mark.parametrize(("rate", "bit_rate"), [(16000, 64000), (22050, 96000), (44100, 128000), (48000, 192000)])
def test_so_do_those_of_layer_ii(rate, bit_rate):
    data = layer_ii(rate, bit_rate)
    assert walked(data) == len(data)
    samples, _ = soundfile.read(io.BytesIO(data))
    assert len(samples) >= rate - 1152


@pytest.mark.parametrize(
    "header", ["", "ff", "fffb", "00fb9000", "ffeb9000", "fff99000", "fffb0000", "fffbf000", "fffb9c00"]
)
def test_what_is_no_frame_has_no_length(header):
    assert frame_length(bytes.fromhex(header)) == 0


def test_the_first_frame_is_found_behind_a_tag_and_behind_half_a_frame():
    data = lame(16000, 0.5)
    first = frame_length(data[:4])
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x05hello"
    assert length_of_tags(io.BytesIO(tag + tag + data)) == 2 * len(tag)
    assert find_frame(io.BytesIO(tag + data), len(tag)) == len(tag)
    assert find_frame(io.BytesIO(data[100:]), 0) == first - 100
    assert states_its_length(io.BytesIO(data), 0)
    assert not states_its_length(io.BytesIO(data), first)


def test_no_frame_is_found_in_noise_or_text():
    random = np.random.default_rng(0).integers(0, 256, 2**16).astype("uint8").tobytes()
    for data in (b"\x00" + random, b"\xff" * 5000, " ÿû is no frame.".encode("latin-1") * 100, b""):
        assert find_frame(io.BytesIO(data), 0) is None
