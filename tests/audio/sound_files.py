"""The bytes of sound files, for the tests of this room."""

import io
import struct

import numpy as np
import soundfile

from keras_vitser.audio.mpeg import frame_length


def encoded(format, subtype=None, *, rate=16000, channels=1, seconds=1.0, seed=0):
    """A sweep with a little noise, as the bytes of a file."""
    time = np.arange(round(rate * seconds)) / rate
    sweep = 0.5 * np.sin(2 * np.pi * (200 * time + 300 * time**2))[:, None] * np.linspace(1, 0.5, channels)
    noise = np.random.default_rng(seed).normal(0, 0.02, sweep.shape)
    file = io.BytesIO()
    soundfile.write(file, sweep + noise, rate, format=format, subtype=subtype)
    return file.getvalue()


def wav(samples, *, rate=16000, tag=1, bits=16, before=b"", data_length=None):
    """A WAV of raw little-endian sample bytes, written by hand."""
    body = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, 1, rate, rate * bits // 8, bits // 8, bits)
    length = len(samples) if data_length is None else data_length
    body += before + struct.pack("<4sI", b"data", length) + samples
    return struct.pack("<4sI4s", b"RIFF", min(4 + len(body), 0xFFFFFFFF), b"WAVE") + body


def odd_chunk(name=b"FLLR", length=37):
    """A chunk of an odd length, so with a byte of padding after it."""
    return struct.pack("<4sI", name, length) + bytes(length + length % 2)


def pcm16(samples=16000):
    return (8000 * np.sin(0.1 * np.arange(samples))).astype("<i2").tobytes()


def without_length(mp3):
    """The same frames but for the first, Xing or Info, which tells how many there are."""
    first = frame_length(mp3[:4])
    assert b"Xing" in mp3[:first] or b"Info" in mp3[:first]
    return mp3[first:]
