"""The clients, against a small HTTP server of Python's own that says what it saw, and against the real one."""

import asyncio
import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from tests.requirements import require

require("serve")

from keras_vitser.audio import read_waveform
from keras_vitser.errors import AudioError, KerasViTSERError, NonFiniteAudioError, PredictionError, ServingError
from keras_vitser.serving import AsyncClient, Client, client
from tests.serving.running_server import running_server
from tests.serving.small_model import LABELS, SAMPLES, tone

pytestmark = pytest.mark.backends("tensorflow")


class Scripted(ThreadingHTTPServer):
    """Answers with the statuses of a list, then 200 and a prediction an instance; remembers what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), ScriptedHandler)
        self.statuses, self.headers, self.bodies, self.paths, self.times = [], {}, [], [], []
        self.connections, self.pause = 0, 0.0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class ScriptedHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        self.server.paths.append(self.path)
        self.server.times.append(time.monotonic())
        time.sleep(self.server.pause)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        rows = len(json.loads(body)["instances"])
        answer = {"predictions": [{"label": "calm", "score": 0.75, "probabilities": [0.25, 0.75]}] * rows}
        text = json.dumps(answer if status == 200 else {"error": f"so: {status}"}).encode()
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setattr(client, "_FIRST_PAUSE", 0.01)
    server = Scripted()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # seconds until it sees `shutdown`
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class InALoop:
    """An `AsyncClient` that is called like a `Client`."""

    def __init__(self, *arguments, **options):
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(*arguments, **options)

    def predict(self, *arguments, **options):
        return self._loop.run_until_complete(self._client.predict(*arguments, **options))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


both = pytest.mark.parametrize("kind", [Client, InALoop], ids=["Client", "AsyncClient"])


@both
def test_one_recording_gives_one_prediction_and_a_list_a_list(kind, scripted):
    with kind(scripted.url) as asking:
        one = asking.predict(tone(), sampling_rate=16000)
        several = asking.predict([tone(), tone()], sampling_rate=16000)
        assert asking.predict([]) == []
    assert (one.label, one.score, one.probabilities.tolist()) == ("calm", 0.75, [0.25, 0.75])
    assert one.probabilities.dtype == np.float32
    assert len(several) == 2
    assert scripted.paths == ["/v1/models/vit_ser:predict"] * 2


@both
def test_sixteen_bits_in_base64_are_sent_and_are_an_eighth_of_json_numbers(kind, scripted, tmp_path):
    samples = np.random.default_rng(0).uniform(-0.7, 0.7, 48000).astype("float32")
    soundfile.write(tmp_path / "a.flac", samples, 48000, subtype="PCM_24")
    with kind(scripted.url) as asking:
        asking.predict(tmp_path / "a.flac")
        asking.predict((tmp_path / "a.flac").read_bytes())
        asking.predict(samples, sampling_rate=48000)
    expected = read_waveform(tmp_path / "a.flac")
    for body in scripted.bodies:
        document = json.loads(body)
        assert document["signature_name"] == "wav"
        (instance,) = document["instances"]
        assert list(instance) == ["b64"]
        sent, rate = soundfile.read(io.BytesIO(base64.b64decode(instance["b64"])), dtype="float32")
        assert (rate, sent.shape) == (16000, expected.shape)
        np.testing.assert_allclose(sent, expected, atol=0.51 / 32768)
        assert soundfile.info(io.BytesIO(base64.b64decode(instance["b64"]))).subtype == "PCM_16"
    numbers = json.dumps({"instances": [expected.astype(float).tolist()]})
    assert 7 < len(numbers) / len(scripted.bodies[0]) < 9


@both
@pytest.mark.parametrize("status", [429, 503, 504])
def test_what_passes_is_asked_again_with_growing_pauses(kind, scripted, status):
    scripted.statuses = [status] * 3
    with kind(scripted.url) as asking:
        assert asking.predict(tone(), sampling_rate=16000).label == "calm"
    pauses = np.diff(scripted.times)
    assert len(pauses) == 3
    assert all(pauses > [0.005, 0.01, 0.02])
    assert pauses.sum() < 2


@both
@pytest.mark.parametrize("status", [400, 404, 413, 500, 502])
def test_nothing_else_is_asked_again(kind, scripted, status):
    scripted.statuses = [status]
    with kind(scripted.url) as asking, pytest.raises(ServingError, match=f"{status}: so: {status}") as error:
        asking.predict(tone(), sampling_rate=16000)
    assert error.value.status == status
    assert isinstance(error.value, KerasViTSERError)
    assert isinstance(error.value, ConnectionError)
    assert len(scripted.bodies) == 1


@both
def test_the_attempts_are_bounded(kind, scripted):
    scripted.statuses = [503] * 9
    with kind(scripted.url, retries=2) as asking, pytest.raises(ServingError, match="503: so: 503"):
        asking.predict(tone(), sampling_rate=16000)
    assert len(scripted.bodies) == 3


@both
def test_a_server_may_say_how_long_to_wait(kind, scripted):
    scripted.statuses, scripted.headers = [503], {"Retry-After": "1"}
    with kind(scripted.url) as asking:
        asking.predict(tone(), sampling_rate=16000)
    assert 0.9 < np.diff(scripted.times)[0] < 3


@both
def test_a_slow_answer_and_a_silent_server_are_errors_at_once(kind, scripted):
    scripted.pause = 1.0
    started = time.monotonic()
    with kind(scripted.url, timeout=0.2) as asking, pytest.raises(ServingError, match="gave no answer") as error:
        asking.predict(tone(), sampling_rate=16000)
    assert time.monotonic() - started < 0.9
    assert (error.value.status, len(scripted.bodies)) == (None, 1)
    with kind("http://127.0.0.1:1") as asking, pytest.raises(ServingError, match="is the server running"):
        asking.predict(tone(), sampling_rate=16000)


@both
def test_one_connection_serves_many_requests(kind, scripted):
    scripted.statuses = [200, 503, 200]
    with kind(scripted.url, batch_size=1) as asking:
        for _ in range(3):
            asking.predict([tone(), tone()], sampling_rate=16000)
    assert len(scripted.bodies) == 7
    assert scripted.connections == 1


@both
def test_many_recordings_go_in_several_requests(kind, scripted):
    with kind(scripted.url, batch_size=3) as asking:
        assert len(asking.predict([tone()] * 7, sampling_rate=16000)) == 7
    assert [len(json.loads(body)["instances"]) for body in scripted.bodies] == [3, 3, 1]


@both
def test_a_quiet_recording_is_sent_in_24_bits(kind, scripted):
    samples = np.random.default_rng(0).uniform(-0.12, 0.12, 16000).astype("float32")
    with kind(scripted.url) as asking:
        asking.predict([samples, 1.1 * samples], sampling_rate=16000)
    (body,) = scripted.bodies
    files = [base64.b64decode(instance["b64"]) for instance in json.loads(body)["instances"]]
    assert [soundfile.info(io.BytesIO(file)).subtype for file in files] == ["PCM_24", "PCM_16"]
    sent, rate = soundfile.read(io.BytesIO(files[0]), dtype="float64")
    assert rate == 16000
    np.testing.assert_allclose(sent, samples, atol=0.51 / 2**23)


@both
@pytest.mark.parametrize(
    ("source", "rate", "error"),
    [
        ("no such file.wav", None, AudioError),
        (b"no sound", None, AudioError),
        (tone(), None, PredictionError),
        (np.full(9, np.nan), 16000, NonFiniteAudioError),
        ([0.5, 0.25], 16000, PredictionError),
        (np.round(3 * tone()), 48000, PredictionError),  # integers whose type was lost
        (20000.5 * tone(), 16000, PredictionError),
    ],
)
def test_what_is_no_recording_is_refused_before_anything_is_sent(kind, scripted, source, rate, error):
    with kind(scripted.url) as asking, pytest.raises(error):
        asking.predict(source, sampling_rate=rate)
    assert not scripted.bodies


@both
def test_an_answer_that_is_none_of_ours_is_an_error(kind, scripted, monkeypatch):
    monkeypatch.setattr(
        ScriptedHandler, "send_response", lambda self, status: BaseHTTPRequestHandler.send_response(self, 200)
    )
    scripted.statuses = [500]
    with kind(scripted.url) as asking, pytest.raises(ServingError, match="not that of a model of keras_vitser"):
        asking.predict(tone(), sampling_rate=16000)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("numbers", ["[NaN, 0.5]", "[Infinity, 0]"])
def test_an_answer_that_is_no_number_is_an_error(numbers):
    body = f'{{"predictions": [{{"label": "calm", "score": NaN, "probabilities": {numbers}}}]}}'
    with pytest.raises(ServingError, match="NaN or infinite, so its label says nothing"):
        client._predictions(body.encode())


@both
def test_version_and_label_are_in_the_path_and_exclude_each_other(kind, scripted):
    with kind(scripted.url + "/", model="a b", version=3) as asking:
        asking.predict(tone(), sampling_rate=16000)
    with kind(scripted.url, label="stable") as asking:
        asking.predict(tone(), sampling_rate=16000)
    assert scripted.paths == ["/v1/models/a%20b/versions/3:predict", "/v1/models/vit_ser/labels/stable:predict"]
    with pytest.raises(PredictionError, match="not both"):
        Client(scripted.url, version=1, label="stable")


def test_several_calls_of_the_async_client_run_at_once(scripted):
    scripted.pause = 0.3

    async def main():
        async with AsyncClient(scripted.url) as asking:
            return await asyncio.gather(*(asking.predict(tone(), sampling_rate=16000) for _ in range(4)))

    started = time.monotonic()
    assert len(asyncio.run(main())) == 4
    assert time.monotonic() - started < 1.0


@pytest.mark.more
def test_the_real_server_answers_as_tensorflow_does(two_versions):
    import tensorflow as tf

    tones = [tone(number, 1.0) for number in range(5)]
    half = np.where(np.arange(16000) < 8000, tones[0], 0)
    with running_server(two_versions, "--versions", "all") as running:
        with Client(running.url) as asking:
            predictions = asking.predict(tones, sampling_rate=16000)
            assert asking.predict(half, sampling_rate=16000).heard == pytest.approx(0.5, abs=0.02)  # a tone is seldom 0
        with InALoop(running.url) as asking:
            one = asking.predict(tones[0], sampling_rate=16000)
            assert (one.label, one.heard) == (predictions[0].label, predictions[0].heard)
        for kind in (Client, InALoop):
            with kind(running.url, version=1) as asking:  # exported before `heard`
                assert asking.predict(tones[0], sampling_rate=16000).heard is None
    function = tf.saved_model.load(str(two_versions / "2")).signatures["serving_default"]
    outputs = function(waveform=tf.constant(np.stack(tones)[:, :SAMPLES]))
    for prediction, probabilities in zip(predictions, outputs["probabilities"].numpy(), strict=True):
        np.testing.assert_allclose(prediction.probabilities, probabilities, atol=1e-3)  # 16 bits a sample
        assert prediction.label == LABELS[probabilities.argmax()]
        assert prediction.score == pytest.approx(probabilities.max(), abs=1e-3)
        assert 0.9 < prediction.heard <= 1
