"""The frames of an MPEG audio file (MP3): where they begin, and whether one says how many there are.

Each frame begins with four bytes that give its length (ISO/IEC 11172-3, section 2.4.1.3). A stream, a recorder and a
file that was cut have no frame Xing, Info or VBRI, which would give the length of all: then it is not known.
"""

from typing import BinaryIO

_LOOKED_AT = 2**16  # bytes in which a frame is looked for
_RATES = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}  # Hz, by version
_BIT_RATES = {  # kbit/s, by whether it is MPEG-1, and layer
    (True, 3): tuple(range(0, 449, 32)),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_BIT_RATES[False, 1] = _BIT_RATES[False, 2]
_IN_A_ROW = 3  # frames that cannot be there by chance
_MAX_TAGS = 100


def frame_length(header: bytes) -> int:
    """Bytes of the frame that begins with these four; 0 where none does, or where it does not say.

    Example:
        >>> frame_length(bytes.fromhex("fffb9000"))
        417
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3  # 3: MPEG-1; 3, 2, 1: layers I, II, III
    bits, place, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 0 or bits in (0, 15) or place == 3:
        return 0
    is_first = version == 3
    bit_rate, rate = 1000 * _BIT_RATES[is_first, layer][bits], _RATES[version][place]
    if layer == 3:
        return 4 * (12 * bit_rate // rate + padding)
    return (144 if is_first or layer == 2 else 72) * bit_rate // rate + padding


def find_frame(file: BinaryIO, start: int) -> int | None:
    """Where a frame begins: at `start`, or the first of some in a row soon behind it.

    Args:
        file: Open at any place, and left at any.
        start: Int, where to begin to look.
    """
    file.seek(start)
    data = file.read(_LOOKED_AT)
    if frame_length(data[:4]):
        return start
    place = data.find(b"\xff")
    while place >= 0:
        if _frames_follow(data, place):
            return start + place
        place = data.find(b"\xff", place + 1)
    return None


def states_its_length(file: BinaryIO, frame: int) -> bool:
    """Whether the frame at that place tells how many follow."""
    file.seek(frame)
    data = file.read(60)
    if data[36:40] == b"VBRI":
        return True
    for mark in (b"Xing", b"Info"):
        place = data.find(mark)
        if place >= 0:
            return len(data) > place + 7 and bool(data[place + 7] & 1)
    return False


def length_of_tags(file: BinaryIO) -> int:
    """Bytes of the ID3v2 tags that a file begins with.

    Example:
        >>> import io
        >>> length_of_tags(io.BytesIO(bytes.fromhex("49443304000000000201") + bytes(257)))
        267
    """
    length = 0
    for _ in range(_MAX_TAGS):
        file.seek(length)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            break
        length += 10 + sum((code & 0x7F) << shift for code, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    return length


def _frames_follow(data: bytes, place: int) -> bool:
    kind = data[place + 1 : place + 2]
    for _ in range(_IN_A_ROW):
        length = frame_length(data[place : place + 4])
        if not length or data[place + 1 : place + 2] != kind:
            return False
        place += length
    return True
