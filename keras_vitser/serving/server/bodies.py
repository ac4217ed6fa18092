"""The body of a request, as it comes or packed by gzip; no more of it is held than the bound."""

import asyncio
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from keras_vitser.serving.server.status import StatusError, invalid

if TYPE_CHECKING:
    from starlette.requests import Request

ENCODINGS = "gzip, identity"
_GZIP = 16 + zlib.MAX_WBITS
_MOST_MEMBERS = 1000  # of a gzip file: each takes time, also those that hold nothing


async def read_body(request: "Request", limit: int, deadline: float) -> bytes:
    """A request's body, unpacked where `Content-Encoding` says that it is packed.

    Args:
        request: The request, of which nothing was read.
        limit: Bytes of the body, as it comes and unpacked.
        deadline: By `time.monotonic`, when it must be there.

    Raises:
        StatusError: The body is too large (413), packed in another way than by gzip (415), no whole gzip file (400),
            or did not come.
    """
    from starlette.requests import ClientDisconnect

    unpack = Gunzip(limit) if _is_gzip(request.headers.getlist("content-encoding")) else None
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(max(deadline - time.monotonic(), 0.0)):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                for piece in unpack.feed(part) if unpack else [part]:
                    body += piece
    except ClientDisconnect:
        raise StatusError("CANCELLED", "the client went away") from None
    except TimeoutError:
        raise StatusError("DEADLINE_EXCEEDED", "the body did not arrive in time") from None
    if unpack:
        unpack.end()
    return bytes(body)


class Gunzip:
    """Unpacks a gzip file as its parts come.

    Args:
        limit: Bytes of what is unpacked; more is an error before it is held.

    Example:
        >>> import gzip
        >>> b"".join(Gunzip(100).feed(gzip.compress(b"hello")))
        b'hello'
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._left = limit
        self._members = 0
        self._member: Any = None  # an object of zlib, whose class has no public name

    def feed(self, part: bytes) -> Iterator[bytes]:
        """What a part of the file unpacks to, in pieces.

        Raises:
            StatusError: It is damaged, or there is too much of it.
        """
        while part:
            self._member = self._member or self._next_member()
            try:
                piece = self._member.decompress(part, self._left + 1)
            except zlib.error as error:  # "Error -3 while decompressing data: incorrect header check"
                raise _damaged(str(error).partition(": ")[2]) from None
            self._left -= len(piece)
            if self._left < 0:
                raise _too_large(self._limit)
            yield piece
            part = self._member.unconsumed_tail
            if self._member.eof:
                part, self._member = self._member.unused_data, None

    def end(self) -> None:
        """Says that no part follows.

        Raises:
            StatusError: The file was to go on.
        """
        if self._member:
            raise _damaged("it is cut off")

    def _next_member(self) -> Any:
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise _damaged(f"it is of more than {_MOST_MEMBERS} members")
        return zlib.decompressobj(_GZIP)


def _is_gzip(headers: Iterable[str]) -> bool:
    given = [name.strip().lower() for header in headers for name in header.split(",")]
    encodings = [name for name in given if name not in ("", "identity")]
    if not encodings:
        return False
    if len(encodings) > 1 or encodings[0] not in ("gzip", "x-gzip"):
        raise StatusError(
            "INVALID_ARGUMENT",
            f"Content-Encoding {', '.join(encodings)[:100]!r} is not read; send the body as it is, or packed by gzip "
            "once",
            http_status=415,
        )
    return True


def _too_large(limit: int) -> StatusError:
    return StatusError("INVALID_ARGUMENT", f"the body is larger than {limit} bytes", http_status=413)


def _damaged(reason: str) -> StatusError:
    return invalid(f"the body is no gzip file, which Content-Encoding says it is: {reason}")
