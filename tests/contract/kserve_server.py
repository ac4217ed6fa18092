"""KServe's server with a SavedModel: `python -m tests.contract.kserve_server VERSION_FOLDER PORT`.

KServe reads the requests and writes the answers; this only hands arrays to TensorFlow and back.
"""

import base64
import sys

import tensorflow as tf
from kserve import Model, ModelServer
from kserve.errors import InvalidInput


class Served(Model):
    """A SavedModel whose signatures have one input each."""

    def __init__(self, folder):
        super().__init__("vit_ser")
        self._signatures = tf.saved_model.load(folder).signatures
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        function = self._signatures[payload.get("signature_name", "serving_default")]
        ((name, info),) = function.structured_input_signature[1].items()
        rows = [base64.b64decode(row["b64"]) if isinstance(row, dict) else row for row in payload["instances"]]
        try:
            outputs = function(**{name: tf.constant(rows, info.dtype)})
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise InvalidInput(str(error)) from error
        columns = {key: value.numpy().astype(object).tolist() for key, value in outputs.items()}
        predictions = [dict(zip(columns, map(_text, row), strict=True)) for row in zip(*columns.values(), strict=True)]
        only = len(columns) == 1
        return {"predictions": [row.popitem()[1] for row in predictions] if only else predictions}


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1).start([Served(sys.argv[1])])
