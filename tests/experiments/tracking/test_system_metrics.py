"""How busy the machine is."""

import sys

import pytest

from keras_vitser.experiments.tracking import system_metrics
from keras_vitser.experiments.tracking.system_metrics import SystemMetrics
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow")


def test_an_epoch_has_its_means():
    require("track")
    system = SystemMetrics()
    for _ in range(2):
        means = system.means()
        assert 0 <= means["cpu_utilization_percentage"] <= 100
        assert 0 < means["system_memory_usage_percentage"] < 100


def test_a_sample_each_ten_seconds(monkeypatch):
    class Collector:
        seen = 0

        def collect_metrics(self):
            self.seen += 1

        def aggregate_metrics(self):
            return {"seen": float(self.seen)}

        def clear_metrics(self):
            self.seen = 0

    now = [100.0]
    monkeypatch.setattr(system_metrics, "_collectors", lambda: [Collector()])
    monkeypatch.setattr(system_metrics.time, "monotonic", lambda: now[0])
    system = SystemMetrics()
    for seconds in (0, 5, 4, 1, 9, 1):  # samples at 0, 10 and 20 s, and at the end
        now[0] += seconds
        system.sample()
    assert system.means() == {"seen": 4.0}
    assert system.means() == {"seen": 1.0}


@pytest.mark.parametrize("missing", ["psutil", "mlflow"])
def test_without_the_collectors_there_is_nothing(monkeypatch, missing):
    for name in [name for name in sys.modules if name.startswith("mlflow.system_metrics")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert SystemMetrics().means() == {}


def test_where_it_is_not_wanted_nothing_is_sampled():
    system = SystemMetrics(enabled=False)
    system.sample()
    assert system.means() == {}
