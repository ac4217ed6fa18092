"""Two workers of a local Ray, one of which is killed: every clip is answered exactly once."""

import importlib.util
import json
import os
import signal
import sys

import numpy as np
import psutil
import pytest
import soundfile

from keras_vitser.errors import ModelFolderError, PredictionError
from keras_vitser.prediction import predict_stream, ray_stream
from keras_vitser.prediction.ray_engine import Listener, _row
from keras_vitser.prediction.stream import answered
from tests.experiments.made_up import chirp
from tests.requirements import lacking

# Ray is not imported here: it reads where it may listen as it is imported.
pytestmark = [pytest.mark.backends("tensorflow"), pytest.mark.more]
ROWS = 1400  # the worker that is left is busy until another has started


@pytest.fixture(autouse=True)
def _ray():
    if importlib.util.find_spec("ray") is None:
        lacking("ray", "Ray is not installed")


def workers():
    """The processes of our actors among this process' own descendants."""
    found = psutil.Process().children(recursive=True)
    return {process.pid for process in found if "Listener" in " ".join(_command(process))}


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:  # has just ended
        return []


def listening_elsewhere():
    """Addresses besides 127.0.0.1 at which our descendants listen."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        except psutil.Error:
            continue
        found |= {c.laddr.ip for c in listening}
    return found - {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_a_worker_that_is_killed_loses_no_clip_and_tells_none_twice(model, recognizer, sounds, listed):
    paths = listed(ROWS)
    paths[7] = "nowhere.wav"
    rows, first, killed = [], set(), None
    stream = ray_stream(model, iter(paths), folder=sounds, workers=2)
    for row in stream:
        rows.append(row)
        if killed is None:
            first = workers()
            assert len(first) == 2
            killed = min(first)
            os.kill(killed, signal.SIGKILL)
            assert not listening_elsewhere()
        if len(rows) == ROWS - 1:
            assert len(workers() - first) == 1  # the one that was started for the killed
    assert not workers()
    assert [row.path for row in rows] == paths
    assert "no such file" in rows[7].error
    expected = list(predict_stream(recognizer, paths, folder=sounds))
    for row, other in zip(rows, expected, strict=True):
        assert (row.label, row.seconds_used, row.is_cut) == (other.label, other.seconds_used, other.is_cut)
        assert row.heard == other.heard
        assert row.probabilities == pytest.approx(other.probabilities, abs=2e-6)


def test_an_actor_skips_silence_where_it_was_asked_to(model, recognizer, tmp_path):
    """The actor itself, without Ray."""
    soundfile.write(tmp_path / "late.wav", np.concatenate([np.zeros(8000), chirp(3, 0.2)]), 16000)
    chunk = {"start": [0], "paths": [json.dumps(["late.wav"])]}
    for skips in (True, False):
        (row,) = json.loads(Listener(str(model), str(tmp_path), skips)(chunk)["rows"][0])
        (expected,) = answered(recognizer, ["late.wav"], tmp_path, 0, skips)
        assert _row(row) == expected
        assert (expected.heard > 0) == skips


def test_a_model_that_is_none_is_refused_before_ray_starts():
    with pytest.raises(ModelFolderError, match="nowhere"):
        next(ray_stream("nowhere", ["a.wav"]))


def test_without_the_extra_one_line_tells_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PredictionError, match=r"pip install 'keras-vitser\[ray\]'"):
        next(ray_stream(model, ["a.wav"]))


def test_a_cluster_that_is_not_there_costs_one_line(model, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(PredictionError, match="no Ray answers at RAY_ADDRESS=") as caught:
        next(ray_stream(model, ["a.wav"]))
    assert "\n" not in str(caught.value)
