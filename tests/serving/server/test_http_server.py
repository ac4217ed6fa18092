"""The server in whole: its end and its reloading. Its bounds are in `test_model_server.py`."""

import http.client
import json
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.requirements import require

require("serve")

from keras_vitser.errors import ModelFolderError
from keras_vitser.serving import serve
from keras_vitser.serving.server import model_server
from keras_vitser.serving.server.status import StatusError
from tests.serving.running_server import running_server

pytestmark = pytest.mark.backends("tensorflow")


def test_a_model_that_cannot_be_loaded_is_one_error(tmp_path, monkeypatch):
    def broken(folder):
        raise StatusError("DATA_LOSS", "half a file")

    monkeypatch.setattr(model_server, "SavedModel", broken)
    with pytest.raises(ModelFolderError, match="holds no version"):
        serve(tmp_path, port=0)
    (tmp_path / "1").mkdir()
    with pytest.raises(ModelFolderError, match="half a file"):
        serve(tmp_path, port=0)


def test_a_taken_port_is_an_error_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(model_server, "SavedModel", lambda folder: pytest.fail("loaded"))
    (tmp_path / "1").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            serve(tmp_path, port=taken.getsockname()[1])


def post(url, document, path="/v1/models/vit_ser:predict"):
    request = urllib.request.Request(url + path, json.dumps(document).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.status, json.load(response)


def status_of(url, version):
    try:
        with urllib.request.urlopen(f"{url}/v1/models/vit_ser/versions/{version}", timeout=10) as response:
            (status,) = json.load(response)["model_version_status"]
    except urllib.error.HTTPError:
        return None, None
    return status["state"], status["status"]["error_code"]


def begun(address, body):
    """A connection on which the server has begun to read a request, and waits for the second half of its body."""
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    head = f"POST /v1/models/vit_ser:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
    connection.sendall(body[: len(body) // 2])
    return connection


@pytest.mark.more
def test_sigterm_finishes_what_is_in_flight(two_versions):
    body = json.dumps({"instances": np.zeros((16, 16000)).tolist()}).encode()
    with running_server(two_versions) as running:
        address = urlsplit(running.url)
        connections = [begun(address, body) for _ in range(3)]
        running.process.terminate()
        time.sleep(0.5)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address.hostname, address.port), timeout=5).close()
        for connection in connections:
            connection.sendall(body[len(body) // 2 :])
        for connection in connections:
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200
            assert len(json.loads(response.read())["predictions"]) == 16
            connection.close()
        assert running.process.wait(20) == 0
    assert "Traceback" not in running.log.read_text()


@pytest.mark.more
def test_new_versions_are_loaded_while_requests_are_answered_and_a_corrupted_one_never_is(two_versions, tmp_path):
    folder = tmp_path / "vit_ser"
    folder.mkdir()
    shutil.copytree(two_versions / "1", folder / "1")
    statuses, stop = [], threading.Event()
    document = {"instances": [[0.5] * 400]}
    with running_server(folder) as running:

        def keep_asking():
            while not stop.is_set():
                try:
                    statuses.append(post(running.url, document)[0])
                except Exception as error:
                    statuses.append(error)

        def wait_until(version, state):
            end = time.monotonic() + 60
            while status_of(running.url, version)[0] != state:
                assert time.monotonic() < end, running.log.read_text()
                time.sleep(0.05)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            first = post(running.url, document)
            shutil.copytree(two_versions / "2", tmp_path / "part")
            (tmp_path / "part").rename(folder / "2")
            wait_until(2, "AVAILABLE")
            wait_until(1, "END")
            second = post(running.url, document)
            shutil.copytree(two_versions / "1", tmp_path / "part")
            weights = tmp_path / "part" / "variables" / "variables.data-00000-of-00001"
            weights.write_bytes(weights.read_bytes()[:-100])
            (tmp_path / "part").rename(folder / "3")
            wait_until(3, "END")
            third = post(running.url, document)
        finally:
            stop.set()
            asking.join()
        assert status_of(running.url, 3)[1] != "OK"
        assert status_of(running.url, 2) == ("AVAILABLE", "OK")
    assert first != second
    assert second == third
    assert set(statuses) == {200}
