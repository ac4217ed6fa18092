"""Prometheus metrics, those that TensorFlow Serving has too under its names, so that one dashboard reads both."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

_MICROSECONDS = [10 * 1.8**step for step in range(33)]  # the buckets of TensorFlow Serving
_PREFIX = ":tensorflow:serving:"


class Metrics:
    """Counts what a server of one model does.

    Args:
        model_name: The model's name.
        queued: Function that gives the rows that wait.

    Example:
        >>> metrics = Metrics("vit_ser", queued=lambda: 0)
        >>> metrics.request("OK", seconds=0.02)
        >>> b':tensorflow:serving:request_count{model_name="vit_ser",status="OK"} 1.0' in metrics.page()
        True
    """

    def __init__(self, model_name: str, queued: Callable[[], int]):
        import prometheus_client as prometheus

        self._registry = prometheus.CollectorRegistry()
        self._model_name = model_name
        self._requests: Counter[str] = Counter()
        self._latency = prometheus.Histogram(
            f"{_PREFIX}request_latency",
            "Microseconds from a request to its answer.",
            ["model_name", "API", "entrypoint"],
            buckets=_MICROSECONDS,
            registry=self._registry,
        ).labels(model_name, "predict", "REST")
        self._runtime = prometheus.Histogram(
            f"{_PREFIX}runtime_latency",
            "Microseconds that TensorFlow computes a batch.",
            ["model_name", "API", "runtime"],
            buckets=_MICROSECONDS,
            registry=self._registry,
        ).labels(model_name, "Predict", "TF2")
        self._rows = prometheus.Histogram(
            f"{_PREFIX}batching_session:processed_batch_size",
            "Rows of a batch.",
            ["model_name"],
            buckets=[1, 2, 4, 8, 16, 32, 64, 128],
            registry=self._registry,
        ).labels(model_name)
        prometheus.Gauge("keras_vitser_queued_rows", "Rows that wait.", registry=self._registry).set_function(queued)
        prometheus.ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def request(self, code: str, seconds: float) -> None:
        """Counts an answered request by the name of its status."""
        self._requests[code] += 1
        if code == "OK":
            self._latency.observe(seconds * 1e6)

    def batch(self, rows: int, seconds: float) -> None:
        """Counts a computed batch."""
        self._rows.observe(rows)
        self._runtime.observe(seconds * 1e6)

    def collect(self) -> Iterator[Any]:
        """The count of requests; prometheus-client's own counter would put `_total` behind the name."""
        from prometheus_client.metrics_core import Metric

        metric = Metric(f"{_PREFIX}request_count", "Requests by status.", "unknown")
        for code, count in sorted(self._requests.items()):
            metric.add_sample(metric.name, {"model_name": self._model_name, "status": code}, count)
        yield metric

    def page(self) -> bytes:
        """All metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)
