"""The bounds of a server, with a model of the test's own. Its answers are in `tests/contract/test_rest.py`."""

import asyncio
import gzip
import json
import threading
import time

import numpy as np
import pytest

from tests.requirements import require

require("serve")

import httpx

from keras_vitser.serving import Bounds, create_app
from keras_vitser.serving.server import model_server
from keras_vitser.serving.server.rest_json import TensorInfo

pytestmark = pytest.mark.backends("tensorflow")

PREDICT = "/v1/models/m:predict"
ONE = {"instances": [[1.0, 2.0]]}


class FakeModel:
    """In place of a SavedModel: doubles `x`, when `go` lets it."""

    go = threading.Event()
    runs = 0
    method_name = "tensorflow/serving/predict"

    def __init__(self, folder):
        self.inputs = {"x": TensorInfo(np.dtype("float32"), (-1, -1))}
        self.signature_def = {}

    def signature(self, name):
        return self

    def run(self, inputs):
        FakeModel.runs += 1
        assert FakeModel.go.wait(20)
        if (inputs["x"] < 0).any():
            raise RuntimeError("a fault of ours")
        return {"y": 2 * inputs["x"]}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Runs `await scenario(client)` against the application in this process."""
    monkeypatch.setattr(model_server, "SavedModel", FakeModel)
    (tmp_path / "1").mkdir()
    FakeModel.go.set()
    FakeModel.runs = 0

    def run(scenario, **bounds):
        async def main():
            app = create_app(tmp_path, "m", bounds=Bounds(**bounds))
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url="http://server")
            async with app.router.lifespan_context(app), client:
                try:
                    return await asyncio.wait_for(scenario(client), 20)
                finally:
                    FakeModel.go.set()

        return asyncio.run(main())

    return run


def refused(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    return response.json()["error"]


async def occupied(client, others=0):
    """The model computes two requests, one by one, and `others` wait."""
    FakeModel.go.clear()
    tasks = []
    for count in (1, 2):
        tasks.append(asyncio.create_task(client.post(PREDICT, json=ONE)))
        while FakeModel.runs < count:
            await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(client.post(PREDICT, json=ONE)) for _ in range(others)]
    await asyncio.sleep(0.05)
    return tasks


def test_a_body_is_bounded_said_or_unsaid(asked):
    async def pieces():
        for _ in range(100):
            yield b" " * 100

    async def scenario(client):
        assert "larger than 1000 bytes" in refused(await client.post(PREDICT, content=b" " * 1001), 413)
        refused(await client.post(PREDICT, content=pieces()), 413)
        assert (await client.post(PREDICT, content=json.dumps(ONE).encode().ljust(1000))).status_code == 200

    asked(scenario, body_bytes=1000)


def test_a_body_may_be_packed_by_gzip_and_in_no_other_way(asked):
    body = json.dumps(ONE).encode()

    async def post(client, body, encoding):
        return await client.post(PREDICT, content=body, headers={"Content-Encoding": encoding})

    async def scenario(client):
        answer = await post(client, gzip.compress(body), "gzip")
        assert (answer.status_code, answer.json()) == (200, {"predictions": [[2.0, 4.0]]})
        other = await post(client, body, "br")
        assert "Content-Encoding 'br'" in refused(other, 415)
        assert other.headers["accept-encoding"] == "gzip, identity"
        assert "cut off" in refused(await post(client, gzip.compress(body)[:-5], "gzip"), 400)
        refused(await post(client, gzip.compress(body.ljust(1001)), "gzip"), 413)
        classify = {"Content-Encoding": "gzip"}
        unread = await client.post("/v1/models/m:classify", content=gzip.compress(b"{}"), headers=classify)
        assert "signature method_name" in refused(unread, 400)

    asked(scenario, body_bytes=1000)


def test_rows_and_clips_are_bounded(asked):
    async def scenario(client):
        rows = await client.post(PREDICT, json={"instances": [[1.0]] * 5})
        assert "Task size 5 is larger than maximum input batch size 4" in refused(rows, 400)
        rows = await client.post(PREDICT, json={"inputs": [[1.0]] * 5})
        assert "Task size 5 is larger" in refused(rows, 400)
        clip = await client.post(PREDICT, json={"instances": [[0.0] * 1601]})
        assert "at most 0.1 s are taken" in refused(clip, 400)
        fits = await client.post(PREDICT, json={"instances": [[0.0] * 1600] * 4})
        assert fits.status_code == 200

    asked(scenario, batch_size=4, clip_seconds=0.1)


def test_a_full_queue_is_503_at_once_and_afterwards_all_is_well(asked):
    async def scenario(client):
        tasks = await occupied(client, others=2)
        started = time.monotonic()
        response = await client.post(PREDICT, json=ONE)
        assert time.monotonic() - started < 0.5
        assert "queue" in refused(response, 503)
        assert response.headers["retry-after"] == "1"
        FakeModel.go.set()
        assert {task.status_code for task in await asyncio.gather(*tasks)} == {200}
        assert (await client.post(PREDICT, json=ONE)).json() == {"predictions": [[2.0, 4.0]]}

    asked(scenario, queue=2, batch_size=2)


def test_too_many_requests_are_429_before_they_are_read(asked):
    async def unread():
        raise AssertionError("was read")
        yield

    async def scenario(client):
        tasks = await occupied(client, others=1)
        assert "3 requests" in refused(await client.post(PREDICT, content=unread()), 429)
        FakeModel.go.set()
        assert {task.status_code for task in await asyncio.gather(*tasks)} == {200}

    asked(scenario, requests=3)


def test_a_late_answer_is_504(asked):
    async def scenario(client):
        started = time.monotonic()
        for task in await occupied(client):
            refused(await task, 504)
        assert time.monotonic() - started < 2.0

    asked(scenario, seconds=0.2)


def test_a_body_that_does_not_come_is_504(asked):
    async def slow():
        yield b'{"inst'
        await asyncio.sleep(5)

    async def scenario(client):
        refused(await client.post(PREDICT, content=slow()), 504)

    asked(scenario, seconds=0.2)


def test_a_fault_of_ours_is_500_without_its_details(asked):
    async def scenario(client):
        assert "a fault of ours" not in refused(await client.post(PREDICT, json={"instances": [[-1.0]]}), 500)
        assert (await client.post(PREDICT, json=ONE)).status_code == 200

    asked(scenario)


def test_other_paths_are_404_and_metrics_are_where_tensorflow_serving_has_them(asked):
    async def scenario(client):
        for path in ("/", "/favicon.ico", "/v2/models/m"):
            refused(await client.get(path), 404)
        await client.post(PREDICT, json=ONE)
        await client.post(PREDICT, content=b"{")
        page = (await client.get("/monitoring/prometheus/metrics")).text
        assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 1.0' in page
        assert ':tensorflow:serving:request_count{model_name="m",status="INVALID_ARGUMENT"} 1.0' in page

    asked(scenario)


def test_classify_is_unimplemented_where_there_is_a_signature_for_it(asked, monkeypatch):
    monkeypatch.setattr(FakeModel, "method_name", "tensorflow/serving/classify")

    async def scenario(client):
        assert ":predict" in refused(await client.post("/v1/models/m:classify", json={"examples": [{}]}), 501)
        message = refused(await client.post("/v1/models/m:regress", json={"examples": [{}]}), 400)
        wanted, got = "tensorflow/serving/regress", "tensorflow/serving/classify"
        assert message == f"Expected regression signature method_name to be {wanted}. Was: {got}"

    asked(scenario)


def test_a_version_that_is_no_number_of_64_bits_is_400(asked):
    async def scenario(client):
        assert (await client.post(f"/v1/models/m/versions/{'0' * 5000}1:predict", json=ONE)).status_code == 200
        path = f"/v1/models/m/versions/{2**64 - 1}:predict"
        assert "Failed to convert version" in refused(await client.post(path, json=ONE), 400)

    asked(scenario)


def test_names_in_paths_may_be_escaped(asked):
    async def scenario(client):
        assert (await client.post("/v1/models/%6D:predict", json=ONE)).status_code == 200
        assert (await client.get("/V1/Models/m")).status_code == 200

    asked(scenario)
