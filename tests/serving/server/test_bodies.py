"""Bodies of requests, plain and packed by gzip, as they come in parts."""

import asyncio
import gzip
import random
import subprocess
import time
import tracemalloc
import zlib

import pytest

from tests.requirements import require

require("serve")

from starlette.requests import Request

from keras_vitser.serving.server.bodies import Gunzip, read_body
from keras_vitser.serving.server.status import StatusError

pytestmark = pytest.mark.backends("tensorflow")

TEXT = b'{"instances": [[0.125, -0.5]]}' * 10
LIMIT = 1000
assert len(TEXT) < LIMIT


def read(body, *encodings, limit=LIMIT, part=7):
    """The body of a request that comes in parts of a few bytes."""
    parts = iter([body[start : start + part] for start in range(0, len(body), part)] or [b""])

    async def receive():
        message = {"type": "http.request", "body": next(parts, None)}
        if message["body"] is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        return message | {"more_body": True}

    headers = [(b"content-encoding", encoding.encode()) for encoding in encodings]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(read_body(request, limit, time.monotonic() + 10))


def refused(body, *encodings, **options):
    with pytest.raises(StatusError) as error:
        read(body, *encodings, **options)
    return error.value.http_status, error.value.message


@pytest.mark.parametrize(
    ("body", "encodings"),
    [
        pytest.param(TEXT, [], id="plain"),
        pytest.param(TEXT, ["identity"], id="identity"),
        pytest.param(TEXT, ["", " , identity"], id="nothing named"),
        pytest.param(gzip.compress(TEXT), ["gzip"], id="gzip"),
        pytest.param(gzip.compress(TEXT), ["GZip "], id="its name in capitals"),
        pytest.param(gzip.compress(TEXT), ["x-gzip"], id="its old name"),
        pytest.param(gzip.compress(TEXT), ["identity", "gzip"], id="two headers"),
        pytest.param(gzip.compress(TEXT, 0), ["gzip"], id="stored"),
        pytest.param(b"".join(gzip.compress(TEXT[n : n + 9]) for n in range(0, len(TEXT), 9)), ["gzip"], id="members"),
        pytest.param(gzip.compress(b"") + gzip.compress(TEXT) + gzip.compress(b""), ["gzip"], id="empty members"),
    ],
)
@pytest.mark.parametrize("part", [1, 10**6])
def test_a_body_is_read(body, encodings, part):
    assert read(body, *encodings, part=part) == TEXT


def test_gzip_of_the_command_line_is_read():
    packed = subprocess.run(["gzip", "-9", "--name", "-"], input=TEXT, capture_output=True, check=True).stdout
    assert read(packed, "gzip") == TEXT


PACKED = gzip.compress(TEXT)
DAMAGED = {
    "no gzip": (TEXT, "incorrect header check"),
    "deflate": (zlib.compress(TEXT), "incorrect header check"),
    "its header alone": (PACKED[:10], "it is cut off"),
    "one byte": (PACKED[:1], "it is cut off"),
    "the half": (PACKED[: len(PACKED) // 2], "it is cut off"),
    "without its last byte": (PACKED[:-1], "it is cut off"),
    "another checksum": (PACKED[:-8] + bytes(4) + PACKED[-4:], "incorrect data check"),
    "another length": (PACKED[:-4] + bytes(4), "incorrect length check"),
    "something behind it": (PACKED + b"garbage", "incorrect header check"),
    "zeros behind it": (PACKED + bytes(512), "incorrect header check"),
    "a cut second member": (PACKED + PACKED[:15], "it is cut off"),
    "packed twice": (gzip.compress(PACKED)[:-20], "it is cut off"),
    "a thousand and one members": (gzip.compress(b"") * 1001, "more than 1000 members"),
}


@pytest.mark.parametrize(("body", "words"), DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("part", [1, 10**6])
def test_what_is_no_whole_gzip_file_is_400(body, words, part):
    status, message = refused(body, "gzip", part=part, limit=50_000)
    assert status == 400
    assert words in message
    assert "Content-Encoding" in message


def test_a_flipped_bit_is_400_or_changes_nothing():
    generator, statuses = random.Random(0), []
    for _ in range(200):
        body = bytearray(PACKED)
        body[generator.randrange(len(body))] ^= 1 << generator.randrange(8)
        try:
            assert read(bytes(body), "gzip") == TEXT  # a flag or the time in the header
        except StatusError as error:
            statuses.append(error.http_status)
    assert set(statuses) == {400}
    assert len(statuses) > 100


@pytest.mark.parametrize("encodings", [["br"], ["deflate"], ["zstd"], ["gzip, gzip"], ["gzip", "gzip"], ["gzip2"]])
def test_another_encoding_is_415_by_its_name(encodings):
    status, message = refused(PACKED, *encodings)
    assert status == 415
    assert f"Content-Encoding {', '.join(encodings)!r} is not read" in message


def test_the_bound_is_of_what_is_unpacked():
    assert read(gzip.compress(b" " * LIMIT), "gzip") == b" " * LIMIT
    for body in (gzip.compress(b" " * (LIMIT + 1)), gzip.compress(b" " * LIMIT) + gzip.compress(b" ")):
        assert refused(body, "gzip") == (413, "the body is larger than 1000 bytes")
    assert refused(b" " * (LIMIT + 1)) == (413, "the body is larger than 1000 bytes")


def test_the_bound_is_of_what_comes_too():
    """Empty stored blocks: a stream without end that unpacks to nothing."""
    assert refused(PACKED[:10] + b"\x00\x00\x00\xff\xff" * 10_000, "gzip", part=1000)[0] == 413


@pytest.mark.parametrize("part", [1000, 10**6])
def test_a_zip_bomb_is_413_at_once_and_is_never_held(part):
    limit = 2**20
    bomb = gzip.compress(bytes(50 * limit), 9)
    assert len(bomb) < limit
    tracemalloc.start()
    started = time.process_time()
    assert refused(bomb, "gzip", limit=limit, part=part)[0] == 413
    seconds, (_, most) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5 * limit
    assert seconds < 2


def test_pieces_come_as_the_parts_do():
    unpack = Gunzip(LIMIT)
    pieces = [b"".join(unpack.feed(PACKED[n : n + 5])) for n in range(0, len(PACKED), 5)]
    unpack.end()
    assert b"".join(pieces) == TEXT
    assert sum(map(bool, pieces)) > 1
