"""The server that the contract of the REST API is held against: the one of `--endpoint`, else ours, and KServe."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.requirements import lacking, require
from tests.serving.running_server import running_server
from tests.serving.small_model import write_version

ROOT = Path(__file__).parents[2]


def pytest_addoption(parser):
    group = parser.getgroup("contract of the REST API")
    group.addoption("--endpoint", help="URL of a server to test in place of ours, http://127.0.0.1:8501 for instance")
    group.addoption("--model", help="name of the model there, as keras-vitser export wrote it (default: vit_ser)")


@dataclass(frozen=True)
class Answer:
    """A server's answer: its HTTP status, its document and its content type."""

    status: int
    document: object
    content_type: str


@dataclass(frozen=True)
class Endpoint:
    """A server of the REST API.

    Attributes:
        url: Its address.
        model: The model's name there.
    """

    url: str
    model: str

    def get(self, path=""):
        """Asks for `/v1/models/MODEL` and what is added to it."""
        return self.ask("GET", f"/v1/models/{self.model}{path}")

    def predict(self, document, which="", method="predict"):
        """Posts a document, a dict or bytes, to `/v1/models/MODEL:predict`."""
        return self.ask("POST", f"/v1/models/{self.model}{which}:{method}", document)

    def ask(self, method, path, document=None):
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname, address.port or 80, timeout=60)
        body = document if isinstance(document, bytes | None) else json.dumps(document).encode()
        connection.request(method, address.path.rstrip("/") + path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return Answer(
            response.status,
            json.loads(text) if text else None,
            response.getheader("Content-Type", "").partition(";")[0],
        )


def given(config):
    """The endpoint of the options, or `None`."""
    url = config.getoption("--endpoint", default=None)
    return url and Endpoint(url, config.getoption("--model", default=None) or "vit_ser")


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """A model folder with versions 1 and 2."""
    folder = tmp_path_factory.mktemp("contract") / "vit_ser"
    for number in (1, 2):
        write_version(folder, number)
    return folder


@pytest.fixture(scope="session")
def server(request):
    """The endpoint of the options, or ours, with the labels `stable` and `canary`."""
    if endpoint := given(request.config):
        yield endpoint
        return
    require("serve")
    folder = request.getfixturevalue("small_model")
    with running_server(folder, "--label", "stable=1", "--label", "canary=2") as running:
        yield Endpoint(running.url, "vit_ser")


@pytest.fixture(scope="session")
def kserve(request):
    """KServe's own server with the same model: it has `:predict` in row format, and nothing else of TF Serving."""
    if given(request.config):
        lacking("kserve", "another endpoint was given")
    folder = request.getfixturevalue("small_model")
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.contract.kserve_server", str(folder / "2"), str(port)]
    log = (folder.parent / "kserve.log").open("w+")
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        endpoint = Endpoint(f"http://127.0.0.1:{port}", "vit_ser")
        end = time.monotonic() + 90
        while not _is_ready(endpoint):
            assert process.poll() is None, (folder.parent / "kserve.log").read_text()
            assert time.monotonic() < end, (folder.parent / "kserve.log").read_text()
            time.sleep(0.2)
        yield endpoint
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _is_ready(endpoint):
    try:
        return endpoint.get().status == 200
    except OSError:
        return False


@pytest.fixture(params=["server", pytest.param("kserve", marks=pytest.mark.kserve)])
def row_server(request):
    """Each server that answers `:predict` in row format."""
    return request.getfixturevalue(request.param)
