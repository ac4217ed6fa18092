"""Tracking: what `test_experiment` cannot show, above all that a store's failure stops nothing."""

import logging
import sys
import time

import pytest

from keras_vitser import corpora
from keras_vitser.corpora import protocols
from keras_vitser.experiments import load_config
from keras_vitser.experiments.tracking import Tracker

ROW = {"stage": "teacher", "epoch": 1, "loss": 0.5}


@pytest.fixture(scope="module")
def split():
    return protocols.paper(corpora.load("demo", classes=["anger", "sadness"]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One folder for all, since making a database takes seconds."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def warned(caplog):
    caplog.set_level(logging.WARNING, "keras_vitser")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("keras_vitser")]


def config(**tracking):
    return load_config(None, {f"tracking.{key}": value for key, value in tracking.items()})


def use(tracker, split, folder):
    tracker.start(config(), split)
    tracker.epoch(ROW)
    tracker.end({"test/student/macro_f1": 0.5}, folder)
    tracker.fail()


def test_where_it_is_not_wanted_nothing_is_written(tmp_path, split, warned):
    use(Tracker(config(enabled=False), tmp_path, "a run"), split, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert warned() == []


def test_without_mlflow_one_line_says_how_to_have_it(tmp_path, split, warned, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    use(Tracker(config(), tmp_path, "a run"), split, tmp_path)
    assert list(tmp_path.iterdir()) == []
    (line,) = warned()
    assert "pip install 'keras-vitser[track]'" in line


class TestStoresThatFail:
    @pytest.fixture(autouse=True)
    def no_long_waits(self, monkeypatch):
        """MLflow tries a database ten times, 102 s in all."""
        pytest.importorskip("mlflow")
        slept = []
        monkeypatch.setattr(time, "sleep", slept.append)
        yield
        assert sum(slept) < 5

    @pytest.mark.parametrize("place", ["a folder", "no/folder", "text"])
    def test_a_store_that_cannot_be_opened(self, tmp_path, split, warned, place):
        (tmp_path / "a folder").mkdir()
        (tmp_path / "no").write_text("")
        (tmp_path / "text").write_text("this is no database" * 100)
        use(Tracker(config(uri=f"sqlite:///{tmp_path / place}"), tmp_path, "a run"), split, tmp_path)
        (line,) = warned()
        assert "tracking stopped, and the run goes on" in line
        assert "\n" not in line

    def test_a_uri_of_no_kind(self, tmp_path, split, warned):
        use(Tracker(config(uri="nonsense://x"), tmp_path, "a run"), split, tmp_path)
        assert len(warned()) == 1

    def test_a_store_that_fails_on_the_way_is_told_of_once(self, runs, tmp_path, split, warned, monkeypatch):
        tracker = Tracker(config(), runs, "a run")
        monkeypatch.setattr(
            tracker._client, "log_metric", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("disk full\nreally"))
        )
        use(tracker, split, tmp_path)
        (line,) = warned()
        assert "disk full" in line
        assert "\n" not in line


def test_a_failed_run_is_marked_and_leaky_is_said(runs, split):
    mlflow = pytest.importorskip("mlflow")
    tracker = Tracker(config(experiment="mine"), runs, "a run")
    tracker.start(config(), split)
    tracker.fail()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert run.info.status == "FAILED"
    assert (run.data.tags["protocol"], run.data.tags["leaky"]) == ("paper", "True")


def test_mlflows_own_state_is_left_alone(runs, split, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    before = mlflow.get_tracking_uri()
    use(Tracker(config(), runs, "a run"), split, tmp_path)
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before
