"""A SavedModel as TensorFlow loads it: its signatures, its metadata, its warm-up requests. No Keras is imported.

The only file of the server that names TensorFlow.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_vitser.serving.prediction_log import FILE, prediction_log
from keras_vitser.serving.server.rest_json import TensorInfo
from keras_vitser.serving.server.status import HTTP_STATUS, StatusError, invalid

_CODES = dict(enumerate(HTTP_STATUS))  # in the order of the numbers of TensorFlow
_TRACES = "<stack traces unavailable>\n"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Signature:
    """A function of a SavedModel.

    Attributes:
        inputs: What it takes, by name.
        method_name: `tensorflow/serving/predict`, for instance.
        function: TensorFlow's function.
    """

    inputs: dict[str, TensorInfo]
    method_name: str
    function: Any

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The signature's outputs for its inputs; may be called from any thread.

        Raises:
            StatusError: TensorFlow refused the inputs, or failed.
        """
        import tensorflow as tf

        try:
            tensors = {name: tf.constant(_listed(array)) for name, array in inputs.items()}
            return {name: np.asarray(tensor.numpy()) for name, tensor in self.function(**tensors).items()}
        except tf.errors.OpError as error:
            raise _as_status(error) from None
        except UnicodeDecodeError as error:  # what TensorFlow makes of an error that quotes bytes of the input
            raise invalid(_own_words(error.object.decode("utf-8", "replace"))) from None


def _as_status(error: Any) -> StatusError:
    return StatusError(_CODES.get(error.error_code, "UNKNOWN"), _own_words(error.message or ""))


def _own_words(message: str) -> str:
    """The C++ part of an error's text, which is what TensorFlow Serving repeats."""
    message = message.partition(_TRACES)[2] or message
    return message.rpartition(" [Op:")[0] or message


def _listed(array: np.ndarray) -> Any:
    return array if array.dtype.kind != "O" or array.size else array.astype("S1")


class SavedModel:
    """A loaded version of a model.

    Args:
        folder: Folder with `saved_model.pb`.

    Raises:
        StatusError: TensorFlow cannot load it, or a warm-up request fails.

    Attributes:
        signatures: The functions, by name.
        signature_def: What `/metadata` answers of them.
    """

    def __init__(self, folder: str | os.PathLike):
        import tensorflow as tf

        try:
            self._load(Path(folder))
        except tf.errors.OpError as error:
            raise _as_status(error) from None
        except StatusError:
            raise
        except Exception as error:  # whatever a damaged file makes of TensorFlow's loader
            raise StatusError("INTERNAL", f"{type(error).__name__}: {error}") from None

    def _load(self, folder: Path) -> None:
        import tensorflow as tf

        definitions = _signature_definitions(folder)
        self._loaded = tf.saved_model.load(str(folder), tags=["serve"])
        self.signature_def = _as_json(definitions)
        self.signatures = {
            name: Signature(_inputs(definitions[name]), definitions[name].method_name, function)
            for name, function in self._loaded.signatures.items()
        }
        self._warm_up(folder / FILE)

    def signature(self, name: str) -> Signature:
        """The signature of that name.

        Raises:
            StatusError: There is none.
        """
        if name not in self.signatures:
            raise invalid(f'Serving signature name: "{name}" not found in signature def')
        return self.signatures[name]

    def _warm_up(self, path: Path) -> None:
        if not path.is_file():
            return
        count = 0
        for name, inputs in _warmup_requests(path):
            self.signature(name).run(inputs)
            count += 1
        _log.info("%s: %d warm-up requests", path.parent.parent, count)


def _signature_definitions(folder: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return graph.signature_def
    raise ValueError(f"{folder}: holds no graph with the tag 'serve'")


def _as_json(definitions: Any) -> dict[str, Any]:
    from google.protobuf import json_format

    def convert(message, **options):
        return json_format.MessageToDict(message, preserving_proto_field_name=True, **options)

    try:
        return {name: convert(item, always_print_fields_with_no_presence=True) for name, item in definitions.items()}
    except TypeError:  # protobuf before 5, with TensorFlow before 2.18
        return {name: convert(item, including_default_value_fields=True) for name, item in definitions.items()}


def _inputs(definition: Any) -> dict[str, TensorInfo]:
    import tensorflow as tf

    def info(tensor) -> TensorInfo:
        dtype = tf.dtypes.as_dtype(tensor.dtype)
        sizes = None if tensor.tensor_shape.unknown_rank else tuple(dim.size for dim in tensor.tensor_shape.dim)
        return TensorInfo(np.dtype(object if dtype == tf.string else dtype.as_numpy_dtype), sizes)

    return {name: info(tensor) for name, tensor in definition.inputs.items()}


def _warmup_requests(path: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The signature's name and inputs of each record, a `PredictionLog`."""
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log().FromString(record).predict_log.request
        inputs = {each.key: tf.make_ndarray(tensor_pb2.TensorProto.FromString(each.value)) for each in request.inputs}
        yield request.model_spec.signature_name or "serving_default", inputs
