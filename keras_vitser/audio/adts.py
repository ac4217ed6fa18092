"""The frames of an AAC stream (ADTS): where they begin.

The header of a frame gives its length and has no checksum, and few of its bits are fixed (ISO/IEC 13818-7, section
6.2). One header is there by chance now and then; so are not some in a row with the same settings.
"""

from typing import BinaryIO

_LOOKED_AT = 2**16  # bytes in which a frame is looked for
_AT_THE_START, _WITHIN = 2, 3  # frames in a row


def find_frame(file: BinaryIO, start: int) -> int | None:
    """Where a frame begins: at `start`, or the first of some in a row soon behind it, as in a stream joined late.

    Args:
        file: Open at any place, and left at any.
        start: Int, where to begin to look.

    Example:
        >>> import io
        >>> frame = bytes.fromhex("fff1604001fffc") + bytes(8)
        >>> find_frame(io.BytesIO(bytes(5) + 3 * frame), 0)
        5
    """
    file.seek(start)
    data = file.read(_LOOKED_AT)
    if _frames_follow(data, 0, _AT_THE_START):
        return start
    place = data.find(b"\xff")
    while place >= 0:
        if _frames_follow(data, place, _WITHIN):
            return start + place
        place = data.find(b"\xff", place + 1)
    return None


def _frames_follow(data: bytes, place: int, count: int) -> bool:
    """Whether so many frames begin, each behind the other, or one at least that ends where the file does."""
    settings = data[place + 1 : place + 3]
    for number in range(count):
        if number and place == len(data) < _LOOKED_AT:
            return True
        length = _frame_length(data[place : place + 7])
        if not length or data[place + 1 : place + 3] != settings:
            return False
        place += length
    return True


def _frame_length(header: bytes) -> int:
    """Bytes of the frame that begins with these seven; 0 where none does."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0
