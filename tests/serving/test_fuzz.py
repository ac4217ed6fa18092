"""Thousands of wrong requests: each is answered 4xx with a reason, and the server then answers as before."""

import http.client
import json
import random
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from tests.requirements import require
from tests.serving.fuzzing import malformed
from tests.serving.running_server import running_server
from tests.serving.small_model import tone

require("serve")
pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]
GOOD = "POST", "/v1/models/vit_ser:predict", json.dumps({"instances": [tone().tolist()]}).encode()


@pytest.fixture(scope="module")
def server(two_versions):
    with running_server(two_versions) as server:
        yield server


class Asker:
    """One connection; asks and reads the answer's status and document."""

    def __init__(self, url):
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def __call__(self, method, path, body):
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())


def fuzz(url, seed, count, faults):
    ask, generator = Asker(url), random.Random(seed)
    for _ in range(count):
        request = malformed(generator)
        started = time.monotonic()
        try:
            status, document = ask(*request)
            seconds = time.monotonic() - started
            if not (400 <= status < 500 and isinstance(document["error"], str) and document["error"] and seconds < 10):
                faults.append((status, document, seconds, request))
        except Exception as error:
            faults.append((error, request))
            ask = Asker(url)


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.long)])
def test_malformed_requests_are_4xx_and_the_server_still_answers(server, count):
    before = Asker(server.url)(*GOOD)
    assert before[0] == 200
    faults = []
    threads = [threading.Thread(target=fuzz, args=(server.url, seed, count // 4, faults)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, f"{len(faults)} faults, the first {faults[:1]!s:.2000}; {server.log.read_text()[-3000:]}"
    assert Asker(server.url)(*GOOD) == before
    assert server.process.poll() is None


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/models/vit_ser:predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/models/vit_ser:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        b"POST /v1/models/vit_ser:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server, data):
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        except OSError:  # closed before all was sent
            answer = b""
    assert answer == b"" or b" 4" in answer.split(b"\r\n")[0]
    assert Asker(server.url)(*GOOD)[0] == 200
