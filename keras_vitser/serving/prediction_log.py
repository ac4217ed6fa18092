"""`PredictionLog`, the message of TensorFlow Serving's warm-up file.

Its `.proto` files come with `tensorflow-serving-api` alone, which requires the large `tensorflow`; so the fields that
are needed are described here, for the protobuf that every TensorFlow brings. Numbers are those of
`tensorflow_serving/apis/prediction_log.proto`, `predict.proto` and `model.proto`.
"""

import functools
from typing import Any

FILE = "assets.extra/tf_serving_warmup_requests"  # of a SavedModel; a TFRecord of these messages
_FIELDS = {  # message: name, number and type of each field; with a star, repeated
    "ModelSpec": [("name", 1, "string"), ("signature_name", 3, "string")],
    "Input": [("key", 1, "string"), ("value", 2, "bytes")],  # an entry of a map; the value is a `TensorProto`
    "PredictRequest": [("model_spec", 1, "ModelSpec"), ("inputs", 2, "Input*")],
    "PredictLog": [("request", 1, "PredictRequest")],
    "PredictionLog": [("predict_log", 6, "PredictLog")],
}


@functools.cache
def prediction_log() -> Any:
    """The message's class, in a pool of its own: a process may have loaded TensorFlow Serving's too.

    Example:
        >>> log = prediction_log()()
        >>> log.predict_log.request.model_spec.name = "vit_ser"
        >>> log.SerializeToString()
        b'2\\r\\n\\x0b\\n\\t\\n\\x07vit_ser'
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {"string": kinds.TYPE_STRING, "bytes": kinds.TYPE_BYTES}
    file = descriptor_pb2.FileDescriptorProto(name="warmup.proto", package="keras_vitser", syntax="proto3")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = described.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            if kind in scalars:
                field.type = scalars[kind]
            else:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".keras_vitser.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("keras_vitser.PredictionLog"))
