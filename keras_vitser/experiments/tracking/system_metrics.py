"""How busy the machine is while a network trains."""

import time

_SECONDS = 10.0  # between two samples, as MLflow has it


class SystemMetrics:
    """Samples processors, memory, disk, network and GPUs by MLflow's own collectors.

    It is asked after each batch and has no thread, so that nothing of it can outlive or hold up the run. A GPU is
    seen where `nvidia-ml-py` is installed; without MLflow and `psutil` there is nothing to sample with.

    Args:
        enabled: Whether to sample at all.

    Example:
        >>> SystemMetrics(enabled=False).means()
        {}
    """

    def __init__(self, enabled: bool = True):
        self._collectors = _collectors() if enabled else []
        self._next = 0.0

    def sample(self) -> None:
        """Takes a sample, unless the last one is younger than 10 s."""
        if self._collectors and time.monotonic() >= self._next:
            for collector in self._collectors:
                collector.collect_metrics()
            self._next = time.monotonic() + _SECONDS

    def means(self) -> dict[str, float]:
        """The means since the last call, by MLflow's names (`cpu_utilization_percentage`, ...)."""
        means: dict[str, float] = {}
        self._next = 0.0  # an epoch has one sample at least
        self.sample()
        for collector in self._collectors:
            means |= collector.aggregate_metrics()
            collector.clear_metrics()
        return means


def _collectors() -> list:
    try:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    except ImportError:
        return []
    collectors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

        collectors.append(GPUMonitor())
    except Exception:  # it raises a plain one where there is no GPU
        pass
    return collectors
