"""`keras-vitser track`, and runs that are tracked by a real server, which goes away in mid-run."""

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from keras_vitser import experiments
from keras_vitser.recognizer import Recognizer
from tests.experiments.made_up import STAGES, TINY, chirp
from tests.requirements import require

mlflow = require("track")

pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]

DEMO = TINY | {"corpus.name": "demo", "protocol.test_speakers": ["speaker6"], "stages.teacher.epochs": 2, "seed": 3}
CHANGING = ("seconds", "clips_per_second")  # and all of the machine's


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A command that answers on 127.0.0.1; it and its workers are killed by the id of their own group."""

    def __init__(self, folder, path, *arguments, **environment):
        self.uri = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "process.log"
        self._ready = f"{self.uri}/{path}"
        self._command = [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1"]
        self._command += ["--port", self.uri.rpartition(":")[2], "--workers", "1"]
        # `mlflow models serve` looks for uvicorn beside Python.
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        self._environment = os.environ | {"PATH": path} | environment
        self._process = None

    def start(self):
        with self._log.open("ab") as file:
            self._process = subprocess.Popen(
                self._command, stdout=file, stderr=file, env=self._environment, start_new_session=True
            )
        end = time.monotonic() + 120
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(self._ready, timeout=2).close()
                return self
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(self._log.read_text()[-3000:])

    def kill(self):
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    places = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "a")]
    server = Process(folder, "health", "server", *places).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(server):
    return mlflow.MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)


def run(runs, uri, progress=lambda *step: None):
    tracking = {"tracking.enabled": True, "tracking.uri": uri}
    return experiments.run(None, runs=runs, overrides=DEMO | tracking, progress=progress).folder


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """A run through which the server stays."""
    return run(tmp_path_factory.mktemp("whole"), server.uri)


def state_of(folder):
    return json.loads((folder / "tracking.json").read_text())


def history(client, run_id, metric):
    return [(value.step, value.value) for value in client.get_metric_history(run_id, metric)]


def artifacts(client, run_id, folder=None):
    names = set()
    for item in client.list_artifacts(run_id, folder):
        names |= artifacts(client, run_id, item.path) if item.is_dir else {item.path}
    return names


def content(client, folder):
    """All that MLflow holds of a run and its stages, but for times and what the machine did."""
    state = state_of(folder)
    ids = {"run": state["run"]} | state["stages"]
    parent = client.get_run(state["run"])
    found = {
        "stages": list(state["stages"]),
        "inputs": sorted((given.dataset.name, given.dataset.digest) for given in parent.inputs.dataset_inputs),
        "artifacts": artifacts(client, state["run"]),
    }
    for name, run_id in ids.items():
        kept = client.get_run(run_id)
        own = {key for key in kept.data.metrics if key not in CHANGING and not key.startswith("system/")}
        found[name] = {
            "status": kept.info.status,
            "params": kept.data.params,
            "tags": {key: value for key, value in kept.data.tags.items() if not key.startswith("mlflow.")},
            "child": kept.data.tags.get("mlflow.parentRunId") == state["run"],
            "metrics": {key: history(client, run_id, key) for key in own},
            "names": set(kept.data.metrics),
        }
    return found


@pytest.fixture
def lines():
    kept = []
    handler = logging.Handler()
    handler.emit = lambda record: kept.append(record.getMessage())
    logger = logging.getLogger("keras_vitser")
    logger.addHandler(handler)
    yield kept
    logger.removeHandler(handler)


def test_a_server_holds_the_run_and_its_stages(client, whole):
    found = content(client, whole)
    assert found["stages"] == list(STAGES)
    assert {part["status"] for part in (found["run"], *(found[stage] for stage in STAGES))} == {"FINISHED"}
    assert [found[stage]["child"] for stage in STAGES] == [True, True, True]
    assert [step for step, _ in found["teacher"]["metrics"]["loss"]] == [1, 2]
    assert found["teacher"]["params"]["epochs"] == "2"
    assert len(found["inputs"]) == 3
    assert {"config.yaml", "report.html", "figures/learning_curves.png", "model/MODEL_CARD.md"} <= found["artifacts"]
    assert not [name for name in found["artifacts"] if name.endswith((".pkl", ".pickle"))]
    assert state_of(whole)["complete"] is True


def test_a_server_that_goes_away_in_mid_run_loses_nothing(command, server, client, whole, tmp_path, lines):
    def progress(task, done, total):
        if (task, done) == ("matching", 1):
            server.kill()

    began = time.monotonic()
    try:
        folder = run(tmp_path, server.uri, progress)
    finally:
        seconds = time.monotonic() - began
        server.start()
    assert seconds < 60
    assert (folder / "report.html").is_file()
    assert state_of(folder)["complete"] is False
    assert len([line for line in lines if "tracking stopped, and the run goes on" in line]) == 1
    assert len([line for line in lines if f"keras-vitser track {folder}" in line]) == 1
    before = content(client, folder)
    assert before["stages"] == ["teacher", "matching"]
    assert before["run"]["status"] == "RUNNING"

    ended = command("track", folder)
    assert ended.code == 0, ended.err
    after = content(client, folder)
    assert after == content(client, whole)
    assert state_of(folder)["complete"] is True

    assert command("track", folder).code == 0
    assert content(client, folder) == after


def test_a_run_that_was_stopped_goes_on_in_the_same_run(server, client, whole, tmp_path):
    class Stopped(Exception):
        pass

    def progress(task, done, total):
        if (task, done) == ("matching", 1):
            raise Stopped

    with pytest.raises(Stopped):
        run(tmp_path, server.uri, progress)
    (folder,) = tmp_path.iterdir()
    before = state_of(folder)
    assert {client.get_run(before["run"]).info.status, client.get_run(before["stages"]["matching"]).info.status} == {
        "FAILED"
    }
    experiments.resume(folder)
    state = state_of(folder)
    assert state["run"] == before["run"]
    assert before["stages"].items() <= state["stages"].items()
    assert content(client, folder) == content(client, whole)


@pytest.fixture
def untracked(whole, tmp_path):
    """The folder of a run that MLflow never heard of."""
    folder = shutil.copytree(whole, tmp_path / whole.name)
    (folder / "tracking.json").unlink()
    return folder


def test_a_run_that_was_never_tracked_is_registered(command, client, whole, untracked):
    ended = command("track", untracked, "--register", "speech", "--alias", "champion", "--json")
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert answer["run_id"] != state_of(whole)["run"]
    assert content(client, untracked) == content(client, whole)
    assert client.get_model_version_by_alias("speech", "champion").run_id == answer["run_id"]
    again = json.loads(command("track", untracked, "--register", "speech", "--alias", "second", "--json").out)
    assert again == answer
    assert [version.version for version in client.search_model_versions("name = 'speech'")] == [answer["version"]]


def test_a_run_of_before_the_recordings_were_described(command, client, whole, untracked):
    environment = json.loads((untracked / "environment.json").read_text())
    del environment["recordings"]
    (untracked / "environment.json").write_text(json.dumps(environment))
    assert command("track", untracked).code == 0
    tags, expected = content(client, untracked)["run"]["tags"], content(client, whole)["run"]["tags"]
    assert tags == {key: value for key, value in expected.items() if key != "corpus.fingerprint"}


def test_a_run_goes_to_another_place(command, untracked, tmp_path):
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    ended = command("track", untracked, "--uri", uri)
    assert ended.code == 0, ended.err
    assert "mlflow models serve --env-manager local" in ended.out
    assert "Downloading" not in ended.err
    other = mlflow.MlflowClient(tracking_uri=uri)
    assert content(other, untracked)["run"]["status"] == "FINISHED"
    assert state_of(untracked)["uri"] == uri


def test_a_run_that_the_store_has_lost_is_made_anew(command, client, untracked):
    assert command("track", untracked).code == 0
    before = state_of(untracked)
    client.delete_run(before["run"])
    assert command("track", untracked).code == 0
    after = state_of(untracked)
    assert not {after["run"], *after["stages"].values()} & {before["run"], *before["stages"].values()}
    assert content(client, untracked)["teacher"]["child"]


def test_mlflow_serves_the_model(command, server, whole, untracked, tmp_path):
    answer = json.loads(command("track", untracked, "--register", "served", "--alias", "best", "--json").out)
    assert answer["version"] == "1"
    waveforms = np.stack([chirp(number) for number in range(3)])
    place = ["models", "serve", "--env-manager", "local", "-m", "models:/served@best"]
    model = Process(tmp_path, "ping", *place, MLFLOW_TRACKING_URI=server.uri, KERAS_BACKEND="tensorflow")
    try:
        model.start()
        request = urllib.request.Request(
            f"{model.uri}/invocations",
            json.dumps({"inputs": waveforms.tolist()}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            rows = json.load(response)["predictions"]
    finally:
        model.kill()
    expected = Recognizer.load(whole).predict(list(waveforms), sampling_rate=16000)
    for row, answer in zip(rows, expected, strict=True):
        assert row["label"] == answer.label
        found = [row[f"probability_{label}"] for label in answer.labels]
        np.testing.assert_allclose(found, answer.probabilities, atol=1e-6)
        assert row["score"] == max(found)


class TestRefusals:
    def test_what_is_no_run(self, command, tmp_path):
        assert "is no run folder" in command("track", tmp_path).refusal

    def test_a_run_that_has_not_ended(self, command, untracked):
        (untracked / "report.html").unlink()
        line = command("track", untracked).refusal
        assert "has not ended" in line
        assert f"keras-vitser train --resume {untracked}" in line

    def test_a_search(self, command, untracked):
        (untracked / "tuning").mkdir()
        assert f"keras-vitser tune --resume {untracked} brings" in command("track", untracked).refusal
        assert f"keras-vitser tune --resume {untracked}" in command("train", "--resume", untracked).refusal

    def test_an_alias_of_no_model(self, command, untracked):
        assert "--register" in command("track", untracked, "--alias", "best").refusal

    def test_a_server_that_is_not_there(self, command, untracked, monkeypatch):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        uri = f"http://127.0.0.1:{free_port()}"
        assert uri in command("track", untracked, "--uri", uri).refusal
        assert not (untracked / "tracking.json").exists()

    def test_mlflow_is_missing(self, command, untracked, monkeypatch):
        monkeypatch.setitem(sys.modules, "mlflow", None)
        assert "pip install 'keras-vitser[track]'" in command("track", untracked).refusal
