"""What the header of a WAV, AIFF, AU or CAF file says of its sound, beside the bytes that are there.

libsndfile reads a file that was cut off as a shorter one, and so it does where the header is wrong. Here the declared
length is judged: left open by a writer that streamed, wrong by no more than some writers are, or a promise.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format tags of the chunk `fmt `
SUB_FORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # of an extensible format, after its tag
# Lengths from here on are what SoX, arecord and FFmpeg leave while they write to a pipe, some less their headers.
OPEN_LENGTH = 0x7FFF0000
# By how many bytes a length may be too large because the writer counted a header: the 44 bytes of the plainest, what
# the chunk RIFF counts of them, and the chunk's own head. Those of the file's own header come beside them.
HEADER_LENGTHS = (8, 36, 44)
MAX_CHUNKS = 1000
PRINTABLE = range(0x20, 0x7F)  # of the four letters of a chunk's name
FORMAT_BYTES = 40  # of the chunk of the format, at most
CUT_SHORT = "ends before the sound that its header promises; copy or record it again"

_SAMPLED = (PCM, FLOAT, 6, 7)  # one sample after the other; all other codecs pack them in blocks
_OPEN_LENGTHS = {b"FORM": 0x7F000000, b"ds64": 0x7FFF000000000000}  # where they are others
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # of a sample, by encoding
_ORDERS = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">", b"FORM": ">"}
_FORMAT, _SOUND = (b"fmt ", b"COMM", b"VHDR"), (b"data", b"SSND", b"BODY")


@dataclass(frozen=True)
class Sound:
    """The sound of a file, as its header has it.

    Attributes:
        begins: Int, where the first byte of the sound stands.
        declared: Int, bytes of sound by the header.
        there: Int, bytes from `begins` to the file's end.
        frame: Int, bytes of a frame; 1 where samples are packed.
        bytes_a_second: Int; 0 where the header does not say.
        codec: Int, the format tag of a WAV file, else `None`.
        bits: Int, of a sample of a WAV file, else 0.
        behind: Int, bytes behind the declared sound that are no well-formed chunks.
        least_open: Int, the least length that a writer leaves which does not know it.
        length_at: Int, where the declared length stands.
    """

    begins: int = 0
    declared: int = 0
    there: int = 0
    frame: int = 1
    bytes_a_second: int = 0
    codec: int | None = None
    bits: int = 0
    behind: int = 0
    least_open: int = OPEN_LENGTH
    length_at: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the sound goes to the file's end, as its writer did not know the length."""
        if self.declared == 0:
            return self.behind > 0
        return self.declared >= self.least_open and self.declared > self.there

    @property
    def length(self) -> int:
        """Bytes of sound."""
        return self.there if self.is_open else min(self.declared, self.there)

    @property
    def is_cut_short(self) -> bool:
        """Whether a frame or more is missing, and not just counted wrongly."""
        missing = self.declared - self.there
        headers = (*HEADER_LENGTHS, self.begins - 8, self.begins)
        return not self.is_open and missing >= max(self.frame, 2) and missing not in headers


def sound_of(file: BinaryIO) -> Sound | None:
    """Looks for the sound of a WAV (RIFF, RIFX, RF64), AIFF, AU or CAF file.

    Args:
        file: Open at any place, and left at any.

    Returns:
        What the header says, a sound of no length where the chunks have no end; `None` where the file has another
        beginning, or ends before its sound begins.

    Example:
        >>> import io, numpy as np, soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros(16000), 16000, format="WAV")
        >>> sound_of(file).length
        32000
    """
    size = file.seek(0, 2)
    file.seek(0)
    magic, _, kind = file.read(4), file.read(4), file.read(4)
    if magic == b".snd":
        return _au_sound(file, size)
    if magic == b"caff":
        return _caf_sound(file, size)
    if magic not in _ORDERS:
        return None
    order, least_open = _ORDERS[magic], _OPEN_LENGTHS.get(magic, OPEN_LENGTH)
    fields, long_length, found, count = b"", None, None, 0
    for name, begins, length in _chunks(file, 12, order):
        count += 1
        if name == b"ds64":
            long_length = struct.unpack("<Q", file.read(16)[8:].ljust(8, b"\0"))[0]
        if name in _FORMAT and not fields:
            fields = file.read(min(length, FORMAT_BYTES))
        if name in _SOUND and found is None:
            found = begins, length
        if found and fields:
            break
    if found is None:
        return Sound() if count == MAX_CHUNKS else None
    begins, declared = found
    if declared == 0xFFFFFFFF and long_length is not None:
        declared, least_open = long_length, _OPEN_LENGTHS[b"ds64"]
    behind = _bytes_behind(file, begins + declared, size, order)
    format = _format(kind, fields, order)
    return Sound(begins, declared, size - begins, *format, behind, least_open, begins - 4)


def _au_sound(file: BinaryIO, size: int) -> Sound | None:
    file.seek(4)
    header = file.read(20)
    if len(header) < 20:
        return None
    begins, declared, encoding, rate, channels = struct.unpack(">5I", header)
    width = _AU_BYTES.get(encoding, 0) * channels
    there, behind = size - begins, size - begins - declared
    return Sound(begins, declared, there, max(width, 1), rate * width, behind=behind, length_at=8)


def _caf_sound(file: BinaryIO, size: int) -> Sound | None:
    """Of a Core Audio file, whose chunks have lengths of eight bytes; all of them are set where it is left open."""
    position, frame = 8, 1
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(12)
        if len(head) < 12:
            return None
        length = int.from_bytes(head[4:], "big")
        if head[:4] == b"desc":
            frame = int.from_bytes(file.read(20)[16:], "big")  # 0 where packets differ
        if head[:4] == b"data":
            begins = position + 16  # behind a count of edits
            return Sound(begins, length - 4, size - begins, max(frame, 1), least_open=2**63, length_at=position + 4)
        position = min(position + 12 + length, size)
    return Sound()


def _chunks(file: BinaryIO, position: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and declared length of each chunk; the file stands at that byte."""
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        length = struct.unpack(order + "I", head[4:])[0]
        yield head[:4], position + 8, length
        position += 8 + length + length % 2


def _format(kind: bytes, fields: bytes, order: str) -> tuple[int, int, int | None, int]:
    """Bytes of a frame and of a second, the codec, and bits of a sample."""
    if kind == b"WAVE" and len(fields) >= 16:
        tag, _, rate, average, frame, bits = struct.unpack(order + "HHIIHH", fields[:16])
        if tag == EXTENSIBLE and fields[26:] == SUB_FORMAT_TAIL:
            tag = struct.unpack(order + "H", fields[24:26])[0]
        return (frame, rate * frame, tag, bits) if tag in _SAMPLED else (1, average, tag, bits)
    if kind == b"AIFF" and len(fields) >= 8:
        channels, _, bits = struct.unpack(">HIH", fields[:8])
        return channels * ((bits + 7) // 8), 0, None, 0
    return 1, 0, None, 0


def _bytes_behind(file: BinaryIO, position: int, size: int, order: str) -> int:
    """Bytes from `position` on that are no chunks. The byte that fills an odd chunk may be missing."""
    if position >= size:
        return 0
    for start in (position + position % 2, position):
        end = start
        for name, begins, length in _chunks(file, start, order):
            if not all(code in PRINTABLE for code in name) or begins + length > size:
                break
            end = begins + length + length % 2
        if end >= size or end > start:
            return max(0, size - end)
    return max(0, size - position)
