"""The warm-up requests, read again and sent."""

import numpy as np
import pytest

from keras_vitser.serving.prediction_log import FILE, prediction_log
from tests.requirements import require
from tests.serving import c_library

tf = require("tensorflow")
TensorProto = require("tensorflow", "tensorflow.core.framework.tensor_pb2").TensorProto

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(scope="module")
def requests(exported):
    """What the file holds: model, signature, and the input by name."""
    found = []
    for record in tf.data.TFRecordDataset(str(exported.path / FILE), compression_type=""):
        log = prediction_log().FromString(record.numpy())
        assert log.SerializeToString() == record.numpy()  # nothing but the known fields
        request = log.predict_log.request
        (entry,) = request.inputs
        tensor = tf.make_ndarray(TensorProto.FromString(entry.value))
        found.append((request.model_spec.name, request.model_spec.signature_name, entry.key, tensor))
    return found


def test_each_signature_has_one_request(requests, exported):
    assert FILE == "assets.extra/tf_serving_warmup_requests"
    assert [signature for _, signature, _, _ in requests] == list(exported.signatures)
    assert {model for model, _, _, _ in requests} == {"vit_ser"}


def test_the_requests_are_answered(requests, exported):
    jobs = [
        (signature, {name: list(tensor) if name == "audio_bytes" else tensor.astype(np.float32)})
        for _, signature, name, tensor in requests
    ]
    answers = c_library.run(c_library.installed_library(), exported.path, jobs).answers
    assert len(answers) == 4
    assert not [answer for answer in answers if isinstance(answer, str)]
