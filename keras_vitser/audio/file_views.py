"""A sound file as libsndfile is to see it: without its name, and without what would mislead it."""

import contextlib
from typing import BinaryIO

from keras_vitser.audio import mpeg

_BEYOND = 2**40  # bytes; of more, libsndfile 1.2.0 guesses nothing


class View:
    """The reading half of a binary file.

    soundfile would take a file called x.raw for headerless samples, so there is no name. An error in reading is kept,
    as it would be lost in libsndfile, which calls back.

    Args:
        file: The file.
        start: Int, where it is to begin. Defaults to 0.

    Attributes:
        fault: The `OSError` that ended the reading, or `None`.
    """

    def __init__(self, file: BinaryIO, start: int = 0):
        self.fault: OSError | None = None
        self._file, self._start = file, start
        file.seek(start)

    def readinto(self, buffer: memoryview) -> int:
        """Fills the buffer, and says with how many bytes."""
        try:
            return self._file.readinto(buffer)  # type: ignore[attr-defined]  # what is opened to be read has it
        except OSError as error:
            self.fault = error
            return 0

    def seek(self, offset: int, whence: int = 0) -> None:
        """Goes to a place; nowhere, where a damaged file asks for one before its beginning."""
        with contextlib.suppress(OSError, ValueError):
            self._file.seek(offset if whence else offset + self._start, whence)

    def tell(self) -> int:
        """The place."""
        return self._file.tell() - self._start

    def check(self) -> None:
        """Raises the fault, if there is one."""
        if self.fault:
            raise self.fault

    def goes_on(self) -> bool:
        """Whether there is more behind the place where reading failed."""
        return bool(self._file.read(1))


class Patched(View):
    """A file with other bytes at one place.

    Args:
        file: The file.
        place: Int.
        patch: What is to be read there.

    Example:
        >>> import io
        >>> view, buffer = Patched(io.BytesIO(b"a length: ????"), 10, b"1234"), bytearray(14)
        >>> view.readinto(buffer)
        14
        >>> bytes(buffer)
        b'a length: 1234'
    """

    def __init__(self, file: BinaryIO, place: int, patch: bytes):
        super().__init__(file)
        self._place, self._patch = place, patch

    def readinto(self, buffer: memoryview) -> int:
        start = self.tell()
        count = super().readinto(buffer)
        for place, code in enumerate(self._patch, self._place - start):
            if 0 <= place < count:
                buffer[place : place + 1] = bytes([code])
        return count


class Endless(View):
    """MPEG audio that says of itself that it is longer than any.

    libmpg123 guesses how many samples a file without a stated length holds, from its size, and libsndfile reads no
    more. Of so long a file no guess is too low.

    Args:
        file: The file.
        start: Int, where its first frame begins.
    """

    def __init__(self, file: BinaryIO, start: int):
        self._size = file.seek(0, 2)
        super().__init__(file, start)

    def readinto(self, buffer: memoryview) -> int:
        if self._file.tell() <= self._size:
            return super().readinto(buffer)
        buffer[:] = bytes(len(buffer))  # a tag is looked for at the end
        return len(buffer)

    def seek(self, offset: int, whence: int = 0) -> None:
        if whence == 2:
            offset, whence = offset + _BEYOND, 0
        super().seek(offset, whence)

    def goes_on(self) -> bool:
        return mpeg.find_frame(self._file, self._file.tell()) is not None
