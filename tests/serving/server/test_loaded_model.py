"""A SavedModel's signatures, metadata and warm-up, held against TensorFlow's own loader and protobuf's own writer."""

import shutil

import numpy as np
import pytest

from tests.requirements import require

require("tensorflow")

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from keras_vitser.serving.prediction_log import FILE
from keras_vitser.serving.server.loaded_model import SavedModel
from keras_vitser.serving.server.status import StatusError
from tests.serving.small_model import LABELS, tone, wav_file

pytestmark = pytest.mark.backends("tensorflow")


@pytest.fixture(scope="module")
def loaded(two_versions):
    return SavedModel(two_versions / "1")


@pytest.fixture
def copy(two_versions, tmp_path):
    return shutil.copytree(two_versions / "1", tmp_path / "3")


def test_a_signature_answers_as_tensorflows_own_loader(two_versions, loaded):
    expected = tf.saved_model.load(str(two_versions / "1")).signatures["wav"]
    files = [wav_file(tone(0)), wav_file(tone(5, 0.3))]
    outputs = loaded.signature("wav").run({"audio_bytes": np.array(files, object)})
    for name, value in expected(audio_bytes=tf.constant(files)).items():
        np.testing.assert_array_equal(outputs[name], value.numpy())
    assert set(outputs["label"]) <= {label.encode() for label in LABELS}
    assert outputs["probabilities"].dtype == np.float32


def test_what_a_signature_takes(loaded):
    assert set(loaded.signatures) == {"serving_default", "wav", "explain", "embed"}
    (info,) = loaded.signature("serving_default").inputs.values()
    assert (info.dtype, info.shape) == (np.dtype("float32"), (-1, -1))
    (info,) = loaded.signature("wav").inputs.values()
    assert (info.dtype, info.shape) == (np.dtype(object), (-1,))
    assert loaded.signature("wav").method_name == "tensorflow/serving/predict"
    with pytest.raises(StatusError, match='Serving signature name: "nope" not found in signature def') as error:
        loaded.signature("nope")
    assert error.value.http_status == 400


def test_the_metadata_has_every_field_as_protobuf_prints_it_with_defaults(loaded):
    waveform = loaded.signature_def["serving_default"]["inputs"]["waveform"]
    assert waveform.pop("name")
    any_size = {"size": "-1", "name": ""}
    assert waveform == {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [any_size, any_size], "unknown_rank": False}}
    assert loaded.signature_def["serving_default"].keys() >= {"inputs", "outputs", "method_name"}
    assert "__saved_model_init_op" in loaded.signature_def  # TensorFlow Serving shows it too


@pytest.mark.parametrize("sample", [np.nan, np.inf])
def test_a_refusal_of_the_graph_is_400_with_its_own_words(loaded, sample):
    with pytest.raises(StatusError) as error:
        loaded.signature("serving_default").run({"waveform": np.full((1, 100), sample, "float32")})
    assert error.value.http_status == 400
    assert error.value.message.startswith("assertion failed: [a sample is NaN or infinite]")
    assert "[Op:" not in error.value.message


def test_a_refusal_that_quotes_bytes_which_are_no_text_is_400_too(loaded):
    with pytest.raises(StatusError, match="Header mismatch: Expected RIFF but found") as error:
        loaded.signature("wav").run({"audio_bytes": np.array([b"\xff\xfe\x8e\x80" * 20], object)})
    assert error.value.http_status == 400


def test_no_rows_at_all_are_no_error_of_ours(loaded):
    assert loaded.signature("wav").run({"audio_bytes": np.empty(0, object)})["score"].shape == (0,)


@pytest.mark.parametrize(
    "damage", ["no graph", "half a graph", "other bytes", "no weights", "half the weights", "flipped"]
)
def test_a_damaged_version_is_not_loaded(copy, damage):
    graph, weights = copy / "saved_model.pb", copy / "variables" / "variables.data-00000-of-00001"
    if damage == "no graph":
        graph.unlink()
    elif damage == "half a graph":
        graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    elif damage == "other bytes":
        graph.write_bytes(b"hello" * 1000)
    elif damage == "no weights":
        weights.unlink()
    elif damage == "half the weights":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    else:
        data = bytearray(weights.read_bytes())
        data[100] ^= 255
        weights.write_bytes(data)
    with pytest.raises(StatusError):
        SavedModel(copy)


def prediction_log(signature, name, array):
    """A `PredictionLog`, by protobuf's own writer from the field numbers of TensorFlow Serving's proto files."""
    file = descriptor_pb2.FileDescriptorProto(name="log.proto", package="log", syntax="proto3")
    file.dependency.append("tensorflow/core/framework/tensor.proto")

    def message(name, *fields):
        added = file.message_type.add(name=name)
        for number, field, type_name in fields:
            text = descriptor_pb2.FieldDescriptorProto
            kind = text.TYPE_MESSAGE if type_name else text.TYPE_STRING
            added.field.add(
                name=field, number=number, type=kind, type_name=type_name or None, label=text.LABEL_OPTIONAL
            )

    message("ModelSpec", (1, "name", ""), (3, "signature_name", ""))
    message("Entry", (1, "key", ""), (2, "value", ".tensorflow.TensorProto"))
    message("PredictRequest", (1, "model_spec", ".log.ModelSpec"), (2, "inputs", ".log.Entry"))
    message("PredictLog", (1, "request", ".log.PredictRequest"))
    message("PredictionLog", (6, "predict_log", ".log.PredictLog"))
    pool = descriptor_pool.DescriptorPool()
    for dependency in ("types", "tensor_shape", "resource_handle", "tensor"):
        found = descriptor_pool.Default().FindFileByName(f"tensorflow/core/framework/{dependency}.proto")
        pool.AddSerializedFile(found.serialized_pb)
    pool.Add(file)
    log = message_factory.GetMessageClass(pool.FindMessageTypeByName("log.PredictionLog"))()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "vit_ser", signature
    request.inputs.key = name
    request.inputs.value.ParseFromString(tf.make_tensor_proto(array).SerializeToString())
    return log.SerializeToString()


def write_warmup(folder, *records):
    path = folder / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def test_warm_up_requests_are_run(copy, caplog):
    waveform = prediction_log("", "waveform", np.zeros((2, 100), "float32"))
    write_warmup(copy, waveform, prediction_log("wav", "audio_bytes", [wav_file(tone())]))
    with caplog.at_level("INFO", "keras_vitser"):
        SavedModel(copy)
    assert "2 warm-up requests" in caplog.text


@pytest.mark.parametrize(
    "record",
    [
        lambda: prediction_log("wav", "audio_bytes", [b"no sound"]),
        lambda: prediction_log("nope", "waveform", np.zeros((1, 9), "float32")),
        lambda: b"\xff\xff no message",
    ],
)
def test_a_version_whose_warm_up_fails_is_not_loaded(copy, record):
    write_warmup(copy, record())
    with pytest.raises(StatusError):
        SavedModel(copy)


def test_a_damaged_warm_up_file_is_an_error(copy):
    write_warmup(copy, b"x")
    (copy / FILE).write_bytes(b"no records" * 10)
    with pytest.raises(StatusError):
        SavedModel(copy)
