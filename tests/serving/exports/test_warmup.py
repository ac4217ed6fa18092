"""The warm-up requests, read by protocol buffers' own library from the published field numbers, and sent."""

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from keras_vitser.serving.exports.warmup import FILE
from tests.requirements import require
from tests.serving import c_library

tf = require("tensorflow")
TensorProto = require("tensorflow", "tensorflow.core.framework.tensor_pb2").TensorProto

pytestmark = pytest.mark.backends("tensorflow")

# tensorflow_serving/apis: prediction_log.proto, predict.proto, model.proto
MESSAGES = {
    "ModelSpec": [("name", 1, "string"), ("signature_name", 3, "string")],
    "InputsEntry": [("key", 1, "string"), ("value", 2, "bytes")],
    "PredictRequest": [("model_spec", 1, "ModelSpec"), ("inputs", 2, "InputsEntry*")],
    "PredictLog": [("request", 1, "PredictRequest")],
    "PredictionLog": [("predict_log", 6, "PredictLog")],
}


def prediction_log():
    """The message class."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="warmup.proto", package="serving", syntax="proto3")
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = described.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            if kind in ("string", "bytes"):
                field.type = kinds.TYPE_STRING if kind == "string" else kinds.TYPE_BYTES
            else:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".serving.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("serving.PredictionLog"))


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
    assert FILE.as_posix() == "assets.extra/tf_serving_warmup_requests"
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
