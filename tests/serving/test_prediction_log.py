"""`PredictionLog` against bytes that were written field by field, without protobuf's library."""

import pytest

from keras_vitser.serving.prediction_log import prediction_log
from tests.requirements import require

require("tensorflow")

pytestmark = pytest.mark.backends("tensorflow")

TENSOR = bytes(range(200))
BYTES = (
    b"\x32\xf7\x01\x0a\xf4\x01"  # predict_log, request
    b"\x0a\x1a\x0a\x07vit_ser\x1a\x0fserving_default"  # model_spec
    b"\x12\xd5\x01\x0a\x08waveform\x12\xc8\x01" + TENSOR  # inputs
)


def test_it_writes_the_published_field_numbers():
    log = prediction_log()()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "vit_ser", "serving_default"
    request.inputs.add(key="waveform", value=TENSOR)
    assert log.SerializeToString() == BYTES


def test_it_reads_them_and_passes_over_fields_that_it_does_not_know():
    version = b"\x12\x02\x08\x07"  # ModelSpec.version
    more = BYTES.replace(b"\x0a\x1a\x0a\x07vit_ser", b"\x0a\x1e" + version + b"\x0a\x07vit_ser")
    more = b"\x32\xfb\x01\x0a\xf8\x01" + more[6:]
    for written in (BYTES, more):
        request = prediction_log().FromString(written).predict_log.request
        assert (request.model_spec.name, request.model_spec.signature_name) == ("vit_ser", "serving_default")
        assert [(each.key, each.value) for each in request.inputs] == [("waveform", TENSOR)]


def test_what_is_no_message_is_an_error():
    with pytest.raises(Exception, match="parsing"):
        prediction_log().FromString(b"\xff\xff no message")
