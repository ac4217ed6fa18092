"""The metrics' page, read by Prometheus' own parser."""

import pytest

from tests.requirements import require

require("serve")

from prometheus_client.parser import text_string_to_metric_families

from keras_vitser.serving.server.metrics import Metrics

pytestmark = pytest.mark.backends("tensorflow")


def test_the_page_is_read_by_prometheus_and_has_tensorflow_servings_names():
    metrics = Metrics("vit_ser", queued=lambda: 7)
    for code in ("OK", "OK", "UNAVAILABLE"):
        metrics.request(code, seconds=0.5)
    metrics.batch(rows=3, seconds=0.25)
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }
    assert samples[":tensorflow:serving:request_count", "OK", "vit_ser"] == 2
    assert samples[":tensorflow:serving:request_count", "UNAVAILABLE", "vit_ser"] == 1
    assert samples[":tensorflow:serving:request_latency_sum", "REST", "predict", "vit_ser"] == 1e6
    assert samples[":tensorflow:serving:request_latency_count", "REST", "predict", "vit_ser"] == 2
    assert samples[":tensorflow:serving:runtime_latency_sum", "Predict", "TF2", "vit_ser"] == 0.25e6
    assert samples[":tensorflow:serving:batching_session:processed_batch_size_sum", "vit_ser"] == 3
    assert samples["keras_vitser_queued_rows",] == 7
    assert samples["process_resident_memory_bytes",] > 1e6
