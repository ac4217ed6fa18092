"""The tracker by itself, above all that a store's failure stops nothing; whole runs are in `cli/test_track`."""

import logging
import os
import socket
import sys
import time

import pytest

from keras_vitser.errors import TrackingError
from keras_vitser.experiments.config import TrackingSection
from keras_vitser.experiments.tracking.tracker import Tracker
from tests.requirements import require

pytestmark = pytest.mark.backends("torch")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One folder for all, since making a database takes seconds."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def warned(caplog):
    caplog.set_level(logging.WARNING, "keras_vitser")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("keras_vitser")]


@pytest.fixture
def client(runs):
    mlflow = require("track")
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")


def use(tracker, folder):
    """All that a tracker can do."""
    child = Tracker(TrackingSection(), folder, "a stage", parent=tracker)
    for each in (tracker, child):
        each.params({"stage": {"epochs": 3}})
        each.tags({"leaky": True})
        each.metrics({"loss": 0.5, "accuracy": 0.25}, step=1)
        each.artifact(__file__)
        each.steps("loss")
    child.end()
    tracker.end()
    return child


def test_where_it_is_not_wanted_nothing_is_written(tmp_path, warned):
    tracker = Tracker(TrackingSection(enabled=False), tmp_path, "a run")
    use(tracker, tmp_path)
    assert (tracker.run_id, tracker.uri, tracker.steps("loss")) == (None, None, set())
    assert list(tmp_path.iterdir()) == []
    assert warned() == []


def test_without_mlflow_one_line_says_how_to_have_it(tmp_path, warned, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    use(Tracker(TrackingSection(), tmp_path, "a run"), tmp_path)
    assert list(tmp_path.iterdir()) == []
    (line,) = warned()
    assert "pip install 'keras-vitser[track]'" in line
    with pytest.raises(TrackingError, match=r"keras-vitser\[track\]"):
        Tracker(TrackingSection(), tmp_path, "a run", strict=True)


class TestStoresThatFail:
    @pytest.fixture(autouse=True)
    def no_long_waits(self, monkeypatch):
        """MLflow tries a database ten times, 102 s in all."""
        require("track")
        slept = []
        monkeypatch.setattr(time, "sleep", slept.append)
        yield
        assert sum(slept) < 5

    @pytest.mark.parametrize("place", ["a folder", "no/folder", "text"])
    def test_a_store_that_cannot_be_opened(self, tmp_path, warned, place):
        (tmp_path / "a folder").mkdir()
        (tmp_path / "no").write_text("")
        (tmp_path / "text").write_text("this is no database" * 100)
        use(Tracker(TrackingSection(uri=f"sqlite:///{tmp_path / place}"), tmp_path, "a run"), tmp_path)
        (line,) = warned()
        assert "tracking stopped, and the run goes on" in line
        assert "\n" not in line

    def test_a_uri_of_no_kind(self, tmp_path, warned):
        use(Tracker(TrackingSection(uri="nonsense://x"), tmp_path, "a run"), tmp_path)
        assert len(warned()) == 1

    def test_a_store_that_fails_on_the_way_is_told_of_once(self, runs, tmp_path, warned, monkeypatch):
        tracker = Tracker(TrackingSection(), runs, "a run")
        calls = break_it(monkeypatch, tracker)
        child = use(tracker, tmp_path)
        (line,) = warned()
        assert "disk full" in line
        assert "\n" not in line
        assert calls == ["log_batch"]
        assert child.run_id

    def test_a_failure_is_raised_where_that_is_asked_for(self, runs, monkeypatch, warned):
        tracker = Tracker(TrackingSection(), runs, "a run", strict=True)
        break_it(monkeypatch, tracker)
        with pytest.raises(TrackingError, match=rf"{runs}.*disk full$"):
            tracker.metrics({"loss": 1.0})
        assert warned() == []

    @pytest.mark.parametrize("kind", ["refuses", "hangs"])
    def test_a_server_that_does_not_answer_is_not_waited_for(self, tmp_path, warned, monkeypatch, kind):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        environment = dict(os.environ)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            if kind == "hangs":
                listener.listen()
            began = time.monotonic()
            use(Tracker(TrackingSection(uri=f"http://127.0.0.1:{listener.getsockname()[1]}"), tmp_path, "a"), tmp_path)
        assert time.monotonic() - began < 20
        assert len(warned()) == 1
        assert dict(os.environ) == environment


def break_it(monkeypatch, tracker):
    """Makes batches fail; returns the list of the calls that did."""
    calls = []

    def fail(*args, **kwargs):
        calls.append("log_batch")
        raise OSError("disk full\nreally")

    monkeypatch.setattr(tracker._store._client, "log_batch", fail)
    return calls


def test_a_run_and_a_run_in_it(runs, client):
    tracker = Tracker(TrackingSection(), runs, "a run")
    child = use(tracker, runs)
    assert tracker.uri == f"sqlite:///{runs / 'mlflow.db'}"
    for each, name in ((tracker, "a run"), (child, "a stage")):
        found = client.get_run(each.run_id)
        assert (found.info.run_name, found.info.status) == (name, "FINISHED")
        assert found.data.params == {"stage.epochs": "3"}
        assert found.data.metrics == {"loss": 0.5, "accuracy": 0.25}
        assert found.data.tags["leaky"] == "True"
        assert [item.path for item in client.list_artifacts(each.run_id)] == ["test_tracking.py"]
    assert client.get_run(child.run_id).data.tags["mlflow.parentRunId"] == tracker.run_id
    assert client.get_run(child.run_id).info.experiment_id == client.get_run(tracker.run_id).info.experiment_id


def test_more_parameters_than_a_request_holds(runs, client):
    tracker = Tracker(TrackingSection(), runs, "a run")
    values = {f"key{number}": number for number in range(250)}
    tracker.params(values)
    assert client.get_run(tracker.run_id).data.params == {key: str(value) for key, value in values.items()}


def test_a_run_is_gone_on_with(runs, client):
    first = Tracker(TrackingSection(), runs, "a run")
    first.metrics({"loss": 1.0}, step=1)
    first.end(failed=True)
    assert client.get_run(first.run_id).info.status == "FAILED"
    second = Tracker(TrackingSection(), runs, "a run", run_id=first.run_id)
    assert second.run_id == first.run_id
    assert client.get_run(first.run_id).info.status == "RUNNING"
    assert second.steps("loss") == {1}
    assert second.steps("never") == set()
    second.end()
    ended = client.get_run(first.run_id).info
    third = Tracker(TrackingSection(), runs, "a run", run_id=first.run_id)
    third.end()
    assert client.get_run(first.run_id).info.end_time == ended.end_time


@pytest.mark.parametrize("is_deleted", [True, False])
def test_a_run_that_the_store_does_not_have_is_made_anew(runs, client, warned, is_deleted):
    run_id = "0" * 32
    if is_deleted:
        run_id = Tracker(TrackingSection(), runs, "a run").run_id
        client.delete_run(run_id)
    tracker = Tracker(TrackingSection(), runs, "a run", run_id=run_id)
    assert tracker.run_id
    assert tracker.run_id != run_id
    assert warned() == []


def test_mlflows_own_state_is_left_alone(runs, tmp_path, capsys):
    mlflow = require("track")
    before, environment = mlflow.get_tracking_uri(), dict(os.environ)
    use(Tracker(TrackingSection(), runs, "a run"), tmp_path)
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before
    assert dict(os.environ) == environment
    assert capsys.readouterr().out == ""
