"""Sound files that are not quite as they should be, and what is right for each: in the reader, the graph, the bounds.

One table, so that no way that reads headers by code of its own tells another story.
"""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from keras_vitser.audio.full_scale import BEYOND
from keras_vitser.errors import (
    AudioCodecError,
    AudioError,
    AudioScaleError,
    NoSamplesError,
    NotAudioError,
    TruncatedAudioError,
)
from tests.audio.sound_files import encoded, odd_chunk, pcm16, wav

CUT = "ends before the sound that its header promises"
NOTHING = "holds no samples; expected a recording"
NO_WAV = "is no WAV file: it does not begin with RIFF and WAVE"
RATE = 16000
PCM = pcm16(RATE)
FRAMES = np.frombuffer(PCM, "<i2").astype("float32") / 32768
HALF = RATE // 2


@dataclass(frozen=True)
class Case:
    """A file, and what each way makes of it.

    Attributes:
        data: The file.
        samples: What is read of it, at 16 kHz; `None` where it is refused.
        error: What the reader refuses it with.
        words: What the refusal says.
        graph_words: What the graph says; `None` where it reads, or refuses in the same words.
        seconds: What the server counts before it decodes.
        said: What the log says, once.
    """

    data: bytes
    samples: np.ndarray | None = None
    error: type[AudioError] | None = None
    words: str = ""
    graph_words: str | None = None
    seconds: float = 1.0
    said: str = ""


def _read(samples=FRAMES, **options):
    return lambda data: Case(data, samples, **options)


def _refused(error, words, **options):
    return lambda data: Case(data, None, error, words, **options)


def _by_blocks(data, **options):
    """What libsndfile decodes if it is asked for as much as it has."""
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        samples = sound.read(sound.frames, dtype="float32", always_2d=True).mean(axis=1)
    return Case(data, samples, **options)


def _tagged(tag):
    return Case(wav(PCM, tag=tag), None, AudioCodecError, _not_decoded(tag))


def _compressed(subtype, tag):
    return _by_blocks(encoded("WAV", subtype, rate=RATE), graph_words=_not_decoded(tag))


def _not_decoded(tag):
    return f"is a WAV with codec 0x{tag:04X}, which cannot be decoded here; convert it"


def _floats(samples, is_taken):
    samples = samples.astype("<f4")
    data = wav(samples.tobytes(), tag=3, bits=32)
    return Case(data, samples) if is_taken else Case(data, None, AudioScaleError, BEYOND)


def _page(data):
    return _refused(NotAudioError, "is a web page", graph_words=NO_WAV, seconds=0.0)(data)


def _xml(named, data):
    return _refused(NotAudioError, f"is an XML document of {named}", graph_words=NO_WAV, seconds=0.0)(data)


def _with_length(length, case, before=b"", behind=b""):
    return case(wav(PCM, before=before, data_length=length) + behind)


LENGTH = len(PCM)
BEHIND = odd_chunk(b"LIST", 20) + odd_chunk(b"bext", 602) + odd_chunk(b"_PMX", 33)
TOO_SMALL = "declares 0.50 s of sound, and 0.50 s more lie behind"
PAGE = b"<!DOCTYPE html>\n<html><body>404</body></html>\n"
XML = b'<?xml version="1.0" encoding="utf-8"?>'
COMMENT = b"<!-- made by\n a <script> -->"
PAGES = {
    "its type": PAGE,
    "another type": b'<!DOCTYPE\nHTML PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">',
    "no type": b"<HTML lang=en>",
    "its title": b"<title>Sign in</title>",
    "space": b"\r\n\t " * 500 + PAGE,
    "a byte order mark": b"\xef\xbb\xbf" + PAGE,
    "a mark of UTF-16": b"\xff\xfe" + PAGE.decode().encode("utf-16-le"),
    "another mark of UTF-16": b"\xfe\xff" + PAGE.decode().encode("utf-16-be"),
    "a comment": COMMENT + PAGE,
    "a long comment": b"<!--" + b" a licence" * 500 + b"-->" + PAGE,
    "XML": XML + b"\n" + PAGE,
    "XML, comments and no type": b"\xef\xbb\xbf" + XML + COMMENT + b"\n" + COMMENT + b"<html xmlns='#'>",
}
DOCUMENTS = {
    "<Error>": XML + b"\n<Error><Code>NoSuchKey</Code></Error>",
    "<EnumerationResults>": b"\xef\xbb\xbf" + XML + b'<EnumerationResults ServiceEndpoint="#">',
    "<rss>": COMMENT + b"<rss version='2.0'>",
    "<plist>": XML + b'<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN">',
}
CASES = {
    "as it should be": Case(wav(PCM), FRAMES),
    # What SoX, arecord and FFmpeg write to a pipe
    **{
        f"left open as {length:#x}": _with_length(length, _read())
        for length in (0, 0x7FFFF000, 0x7FFFFF00, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0xFFFFFFFF - 44)
    },
    # Counted wrongly
    **{f"too large by {over}": _with_length(LENGTH + over, _read()) for over in (1, 8, 36, 44)},
    "too large by its own header": _with_length(LENGTH + 44 + 46, _read(), before=odd_chunk()),
    "too large by a frame": _with_length(LENGTH + 2, _refused(TruncatedAudioError, CUT)),
    "too large by a second": _with_length(2 * LENGTH, _refused(TruncatedAudioError, CUT)),
    "too small": _with_length(LENGTH // 2, _read(FRAMES[:HALF], seconds=0.5, said=TOO_SMALL)),
    # What lies behind the sound
    "chunks behind it": _with_length(LENGTH, _read(), behind=BEHIND),
    "an odd chunk behind it without its last byte": _with_length(LENGTH, _read(), behind=odd_chunk(b"LIST", 21)[:-1]),
    "a tag behind it": _with_length(LENGTH, _read(), behind=b"TAG" + bytes(125)),
    "chunks behind nothing": _refused(NoSamplesError, NOTHING, seconds=0.0)(wav(b"") + BEHIND),
    "nothing behind nothing": _refused(NoSamplesError, NOTHING, seconds=0.0)(wav(b"")),
    # Codecs
    **{f"codec {tag:#06x}": _tagged(tag) for tag in (0x22, 0x64, 0xFF, 0x161, 0x704F)},
    **{
        f"codec {tag:#06x} of {bits} bits": _refused(
            AudioCodecError,
            f"is a WAV with codec 0x{tag:04X} of {bits} bits, which cannot be decoded here; convert it",
            graph_words=_not_decoded(tag),
            seconds=16 / bits,
        )(wav(PCM, tag=tag, bits=bits))
        for tag, bits in ((1, 64), (1, 48), (3, 16), (3, 24))
    },
    **{
        subtype: _compressed(subtype, tag)
        for subtype, tag in (
            ("GSM610", 0x31),
            ("NMS_ADPCM_16", 0x38),
            ("NMS_ADPCM_24", 0x38),
            ("NMS_ADPCM_32", 0x38),
            ("G721_32", 0x40),
            ("IMA_ADPCM", 0x11),
            ("ULAW", 0x07),
        )
    },
    # Floats on another scale than that of -1 to 1
    **{
        f"floats up to {scale:g}": _floats(scale * FRAMES / FRAMES.max(), is_taken=scale < 16)
        for scale in (2, 15, 100, 32768, 1e6, 1e18, 3e38)
    },
    "16-bit integers as floats": _floats(8 * np.sign(FRAMES), is_taken=False),
    # What is no sound
    "a git-lfs pointer": _refused(NotAudioError, "git lfs pull", graph_words=NO_WAV, seconds=0.0)(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 32044\n"
    ),
    **{f"a web page that begins with {begins}": _page(page) for begins, page in PAGES.items()},
    **{f"XML of {named}": _xml(named, page) for named, page in DOCUMENTS.items()},
}
