"""Where the sound of a NIST SPHERE, Creative Voice or AVR file ends by its header; libsndfile reads what there is."""

import re
from typing import BinaryIO

MAGIC = (b"NIST_1A", b"Creative Voice File", b"2BIT")

_NIST_HEADER = 1024  # bytes, at least
_AVR_HEADER = 128
_MAX_BLOCKS = 1000


def declared_end(file: BinaryIO) -> int | None:
    """The first place behind all of the sound.

    Args:
        file: Open at any place, and left at any.

    Returns:
        Int; `None` where the file is none of these, or does not say.

    Example:
        >>> import io, numpy as np, soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros(100), 16000, format="NIST")
        >>> declared_end(file)
        1224
    """
    file.seek(0)
    start = file.read(_NIST_HEADER)
    if start.startswith(b"NIST_1A"):
        return _nist_end(start)
    if start.startswith(b"Creative Voice File") and len(start) >= 22:
        return _voc_end(file, int.from_bytes(start[20:22], "little"))
    if start.startswith(b"2BIT") and len(start) >= _AVR_HEADER:
        channels = 2 if start[12:14] == b"\xff\xff" else 1
        return _AVR_HEADER + int.from_bytes(start[26:30], "big") * channels * (int.from_bytes(start[14:16], "big") // 8)
    return None


def is_whole_nist_header(file: BinaryIO) -> bool:
    """Whether a file of NIST begins here, with all of its header."""
    file.seek(0)
    start = file.read(_NIST_HEADER)
    return start.startswith(b"NIST_1A") and len(start) == _NIST_HEADER


def _nist_end(start: bytes) -> int | None:
    """Its header is lines of a name, a type and a value; it does not say where samples are packed."""
    header = dict(re.findall(rb"^(\w+) +-[ir] *(\d+)", start, re.MULTILINE))
    length = re.match(rb"NIST_1A\s+(\d+)\s", start)
    if not length or b"sample_count" not in header or b"shorten" in start or b"shortpack" in start:
        return None
    width = int(header.get(b"channel_count", 1)) * int(header.get(b"sample_n_bytes", 1))
    return int(length[1]) + int(header[b"sample_count"]) * width


def _voc_end(file: BinaryIO, position: int) -> int:
    """Its blocks begin with a kind and a length of three bytes; kind 0 is the last, and may be missing."""
    for _ in range(_MAX_BLOCKS):
        file.seek(position)
        head = file.read(4)
        if len(head) < 4 or head[0] == 0:
            break
        position += 4 + int.from_bytes(head[1:], "little")
    return position
