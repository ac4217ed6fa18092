"""What a sound file's own header says of its size, which libsndfile quietly corrects.

libsndfile reads a WAV that was cut off as a shorter WAV. For a training corpus that
is a wrong recording, so the declared length is compared with the bytes there are.
Lengths that a writer leaves open while it streams (0 or all ones) are no promise.
"""

import struct
from typing import BinaryIO

_OPEN_LENGTHS = {0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}
_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b".snd", b"caff", b"riff")
_MAX_CHUNKS = 1000


def is_known_container(file: BinaryIO) -> bool:
    """Whether the first bytes are those of a sound format (so that failing to decode means damage)."""
    file.seek(0)
    start = file.read(12)
    if start[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return len(start) < 12 or start[8:] == b"WAVE"
    if start[:4] == b"FORM":
        return len(start) < 12 or start[8:] in (b"AIFF", b"AIFC", b"8SVX", b"16SV")
    is_mpeg_frame = len(start) > 1 and start[0] == 0xFF and start[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
    return start.startswith(_MAGIC) or is_mpeg_frame


def is_cut_short(file: BinaryIO) -> bool:
    """Whether the header promises more bytes of sound than the file holds."""
    size = file.seek(0, 2)
    file.seek(0)
    magic = file.read(4)
    if magic in (b"RIFF", b"RF64"):
        return _chunk_passes_end(file, size, "<", b"data")
    if magic == b"RIFX":
        return _chunk_passes_end(file, size, ">", b"data")
    if magic == b"FORM":
        return _chunk_passes_end(file, size, ">", b"SSND")
    if magic == b".snd":
        header = file.read(8)
        if len(header) < 8:
            return True
        offset, length = struct.unpack(">II", header)
        return length not in _OPEN_LENGTHS and offset + length > size
    if magic == b"riff":  # Sony Wave64: a 16-byte GUID, then the size of the whole file
        file.seek(16)
        header = file.read(8)
        return len(header) < 8 or size < struct.unpack("<Q", header)[0] not in _OPEN_LENGTHS
    if magic == b"OggS":
        return _ogg_page_passes_end(file, size)
    return False


def _chunk_passes_end(file: BinaryIO, size: int, order: str, wanted: bytes) -> bool:
    position, long_length = 12, None
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return True  # the sound's own chunk was never reached
        name, length = header[:4], struct.unpack(order + "I", header[4:])[0]
        if name == b"ds64":
            long_length = struct.unpack("<Q", file.read(16)[8:].ljust(8, b"\0"))[0]
        if name == wanted:
            if length == 0xFFFFFFFF and long_length is not None:
                length = long_length
            return length not in _OPEN_LENGTHS and position + 8 + length > size
        position += 8 + length + length % 2
    return False


def _ogg_page_passes_end(file: BinaryIO, size: int) -> bool:
    tail_length = min(size, 65307)  # the largest Ogg page
    file.seek(size - tail_length)
    tail = file.read()
    start = tail.rfind(b"OggS")
    page = tail[start:]
    if start < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
