"""What a file is by its first bytes, whatever it is called, and whether it ends before its header says.

libsndfile reads a file that was cut off as a shorter one. For a training corpus that is a wrong recording, so the
declared length is compared with the bytes there are. Lengths that a writer leaves open while it streams are no promise.
"""

import re
import struct
from typing import BinaryIO, NamedTuple

from keras_vitser.audio import adts, rare_headers
from keras_vitser.audio.mpeg import length_of_tags
from keras_vitser.audio.sound_header import OPEN_LENGTH, sound_of

_OPEN_LENGTHS = {0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}
_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b".snd", b"caff", b"riff", *rare_headers.MAGIC)
_MAX_BOXES = 1000
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide")  # that an MPEG-4 file, or an older QuickTime film, begins with
_POINTER = b"version https://git-lfs.github.com/spec/"
_LONGEST_PROLOGUE = 2**14  # bytes of comments and space
_PROLOGUE = re.compile(r"(?:\s|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)  # of HTML or XML
_ELEMENT = re.compile(r"<(?:!doctype\s+)?([a-z][\w:.-]*)[\s/>]", re.IGNORECASE)
_OF_PAGES = ("html", "head", "body", "title", "meta", "script")
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


class Container(NamedTuple):
    """A container that libsndfile does not read.

    Attributes:
        title: What it is called.
        demuxer: What FFmpeg calls it.
        states_its_length: Whether it says how long it lasts; else FFmpeg guesses.
    """

    title: str
    demuxer: str
    states_its_length: bool


MPEG_4 = Container("MPEG-4 (m4a, mp4, 3gp, mov)", "mov", True)
MATROSKA = Container("Matroska (webm, mka, mkv)", "matroska", True)
ASF = Container("ASF (wma, asf)", "asf", True)
AMR = Container("AMR", "amr", False)
AAC = Container("AAC (ADTS)", "aac", False)
WAVPACK = Container("WavPack (wv)", "wv", True)
TTA = Container("TTA", "tta", True)
AC_3 = Container("AC-3 (ac3, eac3)", "ac3", False)
FLV = Container("FLV", "flv", True)
AVI = Container("AVI", "avi", True)
MPEG_TS = Container("MPEG-TS (ts)", "mpegts", False)
_BEGINNINGS = {
    b"\x1a\x45\xdf\xa3": MATROSKA,
    bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"): ASF,
    b"#!AMR": AMR,
    b"wvpk": WAVPACK,
    b"TTA1": TTA,
    b"\x0b\x77": AC_3,
    b"FLV\x01": FLV,
}
_TS_PACKET, _TS_SYNC = 188, b"G"  # bytes, and what each begins with


def is_known_container(file: BinaryIO) -> bool:
    """Whether the first bytes are those of a sound format (so that failing to decode means damage)."""
    file.seek(0)
    start = file.read(20)
    if start[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return len(start) < 12 or start[8:12] == b"WAVE"
    if start[:4] == b"FORM":
        return len(start) < 12 or start[8:12] in (b"AIFF", b"AIFC", b"8SVX", b"16SV")
    return start.startswith(_MAGIC) or is_mpeg_audio(start)


def is_mpeg_audio(start: bytes) -> bool:
    """Whether an MPEG audio frame of some layer begins here."""
    return len(start) > 1 and start[0] == 0xFF and start[1] & 0xE6 in (0xE2, 0xE4, 0xE6)


def other_container(file: BinaryIO) -> Container | None:
    """The container of the file, if it is one that FFmpeg reads and libsndfile does not.

    Example:
        >>> import io
        >>> other_container(io.BytesIO(b"#!AMR\\n")).title
        'AMR'
    """
    file.seek(0)
    start = file.read(3 * _TS_PACKET)
    if start[4:8] in _BOXES:
        return MPEG_4
    if start.startswith(b"RIFF") and start[8:12] == b"AVI ":
        return AVI
    if start[::_TS_PACKET] == 3 * _TS_SYNC:
        return MPEG_TS
    for beginning, container in _BEGINNINGS.items():
        if start.startswith(beginning):
            return container
    begins = length_of_tags(file)
    if not begins and is_known_container(file):
        return None
    return AAC if adts.find_frame(file, begins) is not None else None


def what_it_is_instead(file: BinaryIO) -> str | None:
    """Words for a file that stands where a recording should be, and what to do.

    Example:
        >>> import io
        >>> what_it_is_instead(io.BytesIO(b"<html>Not found</html>")).split(";")[0]
        'is a web page (HTML) and no sound'
    """
    file.seek(0)
    start = file.read(_LONGEST_PROLOGUE)
    if start.startswith(_POINTER):
        return "is a git-lfs pointer and not the recording itself; fetch that with `git lfs pull`"
    element = _first_element(start)
    if element is None:
        return None
    what = "a web page (HTML)" if element.lower() in _OF_PAGES else f"an XML document of <{element}>"
    return f"is {what} and no sound; the download failed: open it to see why, and download it again"


def _first_element(start: bytes) -> str | None:
    """The name of the element that a file of HTML or XML begins with."""
    mark = next((mark for mark in _BYTE_ORDER_MARKS if start.startswith(mark)), b"")
    text = start[len(mark) :].decode(_BYTE_ORDER_MARKS.get(mark, "latin-1"), "replace")
    prologue = _PROLOGUE.match(text)
    found = _ELEMENT.match(text, prologue.end() if prologue else 0)
    return found[1] if found else None


def is_cut_short(file: BinaryIO) -> bool:
    """Whether the header promises more bytes of sound than the file holds."""
    size = file.seek(0, 2)
    file.seek(0)
    magic, length, kind = file.read(4), file.read(4), file.read(4)
    if magic == b"RIFF" and kind == b"AVI ":
        return size - 8 < int.from_bytes(length, "little") < OPEN_LENGTH
    if magic in (b"RIFF", b"RF64", b"RIFX", b"FORM", b".snd", b"caff"):
        sound = sound_of(file)
        return sound is None or sound.is_cut_short
    if magic == b"riff":  # Sony Wave64: a 16-byte GUID, then the size of the whole file
        file.seek(16)
        header = file.read(8)
        return len(header) < 8 or size < struct.unpack("<Q", header)[0] not in _OPEN_LENGTHS
    if magic == b"OggS":
        return _ogg_page_passes_end(file, size)
    if (end := rare_headers.declared_end(file)) is not None:
        return end > size
    return length in _BOXES and _box_passes_end(file, size)


def _box_passes_end(file: BinaryIO, size: int) -> bool:
    """Whether a box of an MPEG-4 file is longer than what is there of it (ISO/IEC 14496-12, section 4.2)."""
    position = 0
    for _ in range(_MAX_BOXES):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            return position != size
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if length == 0:  # to the end
            return False
        position += max(length, 8)
        if position > size:
            return True
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
