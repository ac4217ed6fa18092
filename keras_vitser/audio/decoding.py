"""An open sound file to one channel at its own rate, by libsndfile, in blocks to the end.

What libsndfile says of a file's length is not always a promise: of MPEG audio without a frame Xing or Info it is a
guess. Then, and where the writer left the length open, only what is decoded counts.
"""

import logging
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from keras_vitser.audio import av_decoding, mpeg, rare_headers
from keras_vitser.audio.containers import (
    is_cut_short,
    is_known_container,
    is_mpeg_audio,
    other_container,
    what_it_is_instead,
)
from keras_vitser.audio.file_views import Endless, Patched, View
from keras_vitser.audio.gathering import mono_blocks
from keras_vitser.audio.sound_header import CUT_SHORT, FLOAT, PCM, Sound, sound_of
from keras_vitser.errors import AudioCodecError, AudioError, NotAudioError, TruncatedAudioError

FORMATS = "WAV, FLAC, OGG, MP3, AIFF, AU and the other formats of libsndfile"

_BLOCK, _SHORT_BLOCK = 2**20, 2**16  # samples
_UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's, in frames
_MPEG_CODECS = (0x50, 0x55)  # of WAV
_CODECS = (PCM, 0x02, FLOAT, 0x06, 0x07, 0x11, 0x31, 0x38, 0x40, *_MPEG_CODECS)  # that libsndfile decodes
_BITS = {PCM: range(33), FLOAT: (32, 64)}  # of these; without bits a header is damaged
_UNKNOWN_ENCODING = (1, 4, 18)  # libsndfile's numbers, where the header is one that it knows
_OGG_CODECS = {b"\x7fFLAC": "FLAC", b"Speex   ": "Speex"}  # by the first packet, which libsndfile does not decode
_OTHERS = {  # by the first bytes
    b"MAC ": "Monkey's Audio",
    b"MP+": "Musepack",
    b"MPCK": "Musepack",
    b"DSD ": "DSD",
    b"FRM8": "DSD",
}
_LEAST_BEHIND = 0.1  # seconds; less behind the sound is a tag or a filler

log = logging.getLogger(__name__)


def decoded(file: BinaryIO, name: str, limit_seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    """Decodes a sound file of any kind, a block at a time.

    Args:
        file: The file, open to be read and to be sought in.
        name: What messages call it.
        limit_seconds: Positive float, seconds.

    Yields:
        float32 array `(samples,)`, the mean of the channels, and int, its rate in Hz. What libsndfile reads comes in
        blocks of at most 4 MB; what FFmpeg reads as one, as its length is known at its end.

    Raises:
        AudioError: As in `read_waveform`.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros((8000, 2)), 8000, format="WAV")
        >>> [(block.shape, rate) for block, rate in decoded(file, "it", 600)]
        [((8000,), 8000)]
    """
    words = what_it_is_instead(file)
    if words:
        raise NotAudioError(f"{name}: {words}")
    container = other_container(file)
    if container is None:
        yield from _by_libsndfile(file, name, limit_seconds)
        return
    if is_cut_short(file):
        raise TruncatedAudioError(f"{name}: {CUT_SHORT}")
    yield av_decoding.decoded(file, container, name, limit_seconds)


def tell_of_sound_behind(path: Path) -> None:
    """Says in the log, as reading does and once in all, that more sound lies in a file than its header declares.

    Only the header is read, and nothing is said of a file that cannot be opened.
    """
    with suppress(OSError), path.open("rb") as file:
        sound = sound_of(file)
        if sound and sound.bytes_a_second:
            _tell_of_more(sound, str(path), sound.length / sound.bytes_a_second)


def _by_libsndfile(file: BinaryIO, name: str, limit_seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    is_known, sound = is_known_container(file), sound_of(file)
    frame, codec = _mpeg_frame(file, sound), _codec_that_is_not_decoded(file, sound)
    damage: AudioError
    if codec:
        damage = _not_decoded(name, f"is {codec}, which")
    elif is_known and (sound.is_cut_short if sound else is_cut_short(file)):
        raise TruncatedAudioError(f"{name}: {CUT_SHORT}")
    elif is_known or frame is not None:
        damage = TruncatedAudioError(f"{name}: is cut off or damaged and cannot be decoded; copy or record it again")
    else:
        damage = NotAudioError(f"{name}: is not a sound file; readable are {FORMATS}")
    view = _view(file, sound, frame)
    samples, rate = 0, 1
    try:
        for block, rate in _blocks(view, name, limit_seconds):
            samples += len(block)
            yield block, rate
    except soundfile.LibsndfileError as error:
        view.check()
        has_header = sound or rare_headers.is_whole_nist_header(file)
        if has_header and error.code in _UNKNOWN_ENCODING and isinstance(damage, TruncatedAudioError):
            damage = _not_decoded(name, "is whole, in an encoding that")
        raise damage from None
    if sound:
        _tell_of_more(sound, name, samples / rate)


def _codec_that_is_not_decoded(file: BinaryIO, sound: Sound | None) -> str | None:
    """Words for the codec or container of a file which libsndfile does not decode; `None` where it may."""
    if sound and sound.codec is not None:
        if sound.codec not in _CODECS:
            return f"a WAV with codec 0x{sound.codec:04X}"
        if sound.bits not in _BITS.get(sound.codec, [sound.bits]):
            return f"a WAV with codec 0x{sound.codec:04X} of {sound.bits} bits"
    file.seek(0)
    start = file.read(36)
    packet = start[28:]
    for beginning, other in _OTHERS.items():
        if start.startswith(beginning):
            return other
    if not start.startswith(b"OggS") or len(packet) < 8 or packet.startswith((b"\x01vorbis", b"OpusHead")):
        return None
    named = [codec for beginning, codec in _OGG_CODECS.items() if packet.startswith(beginning)]
    return f"Ogg with {named[0] if named else 'another codec than Vorbis and Opus'}"


def _not_decoded(name: str, words: str) -> AudioCodecError:
    return AudioCodecError(
        f"{name}: {words} cannot be decoded here; convert it, with `ffmpeg -i INPUT OUTPUT.wav` for instance"
    )


def _mpeg_frame(file: BinaryIO, sound: Sound | None) -> int | None:
    """Where MPEG audio begins, which may be behind a tag, behind half a frame, or in a WAV file."""
    if sound:
        return mpeg.find_frame(file, sound.begins) if sound.codec in _MPEG_CODECS else None
    begins = mpeg.length_of_tags(file)
    file.seek(0)
    start = file.read(4)
    if not begins and is_known_container(file) and not is_mpeg_audio(start):
        return None
    return mpeg.find_frame(file, begins)


def _view(file: BinaryIO, sound: Sound | None, frame: int | None) -> View:
    """The file as libsndfile reads all of its sound."""
    if frame is not None:
        return View(file, frame) if mpeg.states_its_length(file, frame) else Endless(file, frame)
    if sound and sound.is_open:
        file.seek(0)
        magic = file.read(4)
        if magic == b"RF64":
            return Patched(file, 0, b"RIFF")  # whose length is in four bytes, and left open
        if magic == b"caff":
            chunk = sound.there + sound.begins - sound.length_at - 8
            return Patched(file, sound.length_at, struct.pack(">Q", chunk))
        return Patched(file, sound.length_at, b"\xff\xff\xff\xff")
    return View(file)


def _blocks(view: View, name: str, limit_seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    with _Forward(view) as sound:
        rate, promised = sound.samplerate, None
        if isinstance(view, Endless) or sound.frames == _UNKNOWN_LENGTH:
            blocks = _all_blocks(sound, view)
        else:
            blocks, promised = _promised_blocks(sound, view), sound.frames
        for block in mono_blocks(blocks, rate, name, limit_seconds, promised=promised):
            yield block, rate


class _Forward(soundfile.SoundFile):
    """Is read from its beginning to its end.

    soundfile goes to where it is after each block, as some decoders cannot, and others only by decoding again.
    """

    def seekable(self) -> bool:
        return False


def _promised_blocks(sound: soundfile.SoundFile, view: View) -> Iterator[np.ndarray]:
    rows, missing = max(1, _BLOCK // sound.channels), sound.frames
    while missing > 0:
        block = sound.read(min(rows, missing), dtype="float32", always_2d=True)
        view.check()
        if not len(block):
            return
        missing -= len(block)
        yield block


def _all_blocks(sound: soundfile.SoundFile, view: View) -> Iterator[np.ndarray]:
    """Blocks until none comes. Where the last frame of a file was cut, libsndfile fails instead of giving the rest."""
    rows, is_over = max(1, _SHORT_BLOCK // sound.channels), False
    while not is_over:
        block = np.full((rows, sound.channels), np.nan, np.float32)
        try:
            block = sound.read(out=block)
            view.check()
        except soundfile.LibsndfileError:
            view.check()
            if view.goes_on():
                raise
            block, is_over = block[~np.isnan(block[:, 0])], True
        if not len(block):
            return
        yield block


def _tell_of_more(sound: Sound, name: str, seconds: float) -> None:
    more = 0.0 if sound.is_open else seconds * sound.behind / max(sound.length, 1)
    if more >= _LEAST_BEHIND:
        _tell(
            f"{name}: its header declares {seconds:.2f} s of sound, and {more:.2f} s more lie behind; only what is "
            "declared is used. If all of it is sound, write the file again"
        )


@lru_cache(maxsize=2**12)
def _tell(words: str) -> None:
    """Once, however often a file is read."""
    log.warning(words)
