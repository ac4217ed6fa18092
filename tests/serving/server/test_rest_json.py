"""Documents of the REST API, with the examples of TensorFlow Serving's `api_rest.md` and `json_tensor_test.cc`."""

import json
import time

import numpy as np
import pytest

from keras_vitser.serving.server.rest_json import (
    TensorInfo,
    error_answer,
    is_row_format,
    predict_answer,
    read_object,
    signature_name,
    to_inputs,
)
from keras_vitser.serving.server.status import StatusError

pytestmark = pytest.mark.backends("tensorflow")


def info(**dtypes):
    return {name: TensorInfo(np.dtype(dtype), None) for name, dtype in dtypes.items()}


THREE = info(tag=object, signal="int32", sensor="float32")
ROWS = [
    {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
    {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
]
COLUMNS = {
    "tag": ["foo", "bar"],
    "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
    "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]],
}


def test_row_and_column_format_give_the_same_tensors():
    rows = to_inputs({"instances": ROWS}, THREE, 32)
    columns = to_inputs({"inputs": COLUMNS}, THREE, 32)
    for name in THREE:
        np.testing.assert_array_equal(rows[name], columns[name])
    assert rows["tag"].tolist() == [b"foo", b"bar"]
    assert (rows["signal"].dtype, rows["sensor"].shape) == (np.dtype("int32"), (2, 2, 2))


@pytest.mark.parametrize("document", [{"instances": [[[1, 2]], [[3, 4]]]}, {"inputs": [[[1, 2]], [[3, 4]]]}])
def test_one_input_needs_no_name(document):
    np.testing.assert_array_equal(to_inputs(document, info(x="float32"), 32)["x"], [[[1, 2]], [[3, 4]]])


def test_one_input_may_have_a_name():
    assert to_inputs({"instances": [{"x": [1]}, {"x": [2]}]}, info(x="int32"), 32)["x"].tolist() == [[1], [2]]
    assert to_inputs({"inputs": {"x": [1, 2]}}, info(x="int32"), 32)["x"].tolist() == [1, 2]


def test_binary_instances():
    document = {"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}
    assert to_inputs(document, info(x=object), 32)["x"].tolist() == [b"hello", b"world"]
    assert to_inputs({"inputs": {"b64": "aGVsbG8="}}, info(x=object), 32)["x"].item() == b"hello"


def test_column_inputs_may_differ_in_their_first_axis_and_others_are_ignored():
    arrays = to_inputs({"inputs": {"a": [1, 2], "b": 3, "c": 4}}, info(a="int32", b="int32"), 32)
    assert {name: array.shape for name, array in arrays.items()} == {"a": (2,), "b": ()}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"instances = [1, 2]", "JSON Parse error: Invalid value. at offset: 0"),
        (b'{"instances": [1, 2]}}', "must not be followed by other values. at offset: 21"),
        (b'{"a": "\xff"}', "JSON Parse error: Invalid encoding in string. at offset: 7"),
        ('{"ö": x}'.encode(), "at offset: 7"),
        (b'{"a": "AA\nAA"}', "JSON Parse error: Invalid encoding in string. at offset: 9"),
        (b'{"a', "Missing a closing quotation mark in string."),
        (b"{1: 2}", "Missing a name for object member."),
        (b'{"a" 1}', "Missing a colon after a name of object member."),
        (b"[1, 2]", "Is not object"),
        (b'"text"', "Is not object"),
        (b'{"a": ' + b"1" * 5000 + b"}", "Number too big"),
        (b'{"a": ' + b"[" * 50000, "Nested too deeply."),
        (b'{"a": [' + b"[]," * 100000 + b"[]]}", "More than 100000 lists and objects."),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body, words):
    with pytest.raises(StatusError) as error:
        read_object(body)
    assert words in error.value.message
    assert error.value.http_status == 400


def test_lists_without_number_are_refused_before_they_are_made():
    body = b'{"inputs": [' + b"[]," * 8_000_000 + b"[]]}"
    started = time.process_time()
    with pytest.raises(StatusError, match="lists and objects"):
        read_object(body)
    assert time.process_time() - started < 0.5


def test_tokens_that_json_lacks_are_read():
    assert read_object(b'{"a": [1.0, -3.14, Infinity, -Infinity]}')["a"] == [1.0, -3.14, np.inf, -np.inf]


@pytest.mark.parametrize(
    ("document", "inputs", "words"),
    [
        ({}, info(x="int32"), "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, info(x="int32"), "expecting only one of 'inputs' or 'instances' keys"),
        ({"instances": 1}, info(x="int32"), "Excepting 'instances' to be an list/array"),
        ({"instances": []}, info(x="int32"), "No values in 'instances' array"),
        ({"instances": [1, 2]}, THREE, "instances is a plain list, but expecting list of objects"),
        ({"inputs": [1, 2]}, THREE, "inputs is a plain value/list, but expecting an object"),
        ({"inputs": {"tag": ["a"]}}, THREE, "Missing named input: signal in 'inputs' object."),
        ({"instances": [ROWS[0], [1, 20, 30]]}, THREE, "Expecting object but got list at item 1 of input list"),
        ({"instances": [["a"], {"x": ["b"]}]}, info(x=object), "Expecting value/list but got object at item 1"),
        ({"instances": [{"y": 1}]}, info(x="int32"), "JSON object: does not have named input: y"),
        ({"instances": [{"tag": "a"}]}, THREE, "must only have keys: sensor,signal,tag"),
        ({"instances": [[1, 2], [3, 4], [5, 6, 7]]}, info(x="int32"), "Expecting tensor size: 2 but got: 3"),
        ({"instances": [[1, 2], [3, 4], [[5, 6]]]}, info(x="int32"), "Expecting shape [2] but got: [1,2]"),
        ({"instances": [1, [1]]}, info(x="int32"), "Expecting shape [] but got: [1]"),
        ({"instances": [["a"]]}, info(x="int32"), "Failed to process element: 0 of 'instances' list. Error: INVALID_"),
        ({"instances": [0] * 33}, info(x="int32"), "Task size 33 is larger than maximum input batch size 32"),
    ],
)
def test_a_document_that_does_not_fit_is_refused(document, inputs, words):
    with pytest.raises(StatusError) as error:
        to_inputs(document, inputs, 32)
    assert words in error.value.message
    assert error.value.http_status == 400


@pytest.mark.parametrize("count", [1, 33, 16000])
@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_one_row_without_the_list_around_it_is_told_so(key, count):
    inputs = {"x": TensorInfo(np.dtype("float32"), (-1, -1))}
    with pytest.raises(StatusError) as error:
        to_inputs({key: [0.5] * count}, inputs, 32)
    assert error.value.message == f"Input x must have shape [-1,-1] but got: [{count}]; put the row into a list"


@pytest.mark.parametrize(
    ("value", "fits"), [([[1, 2]], True), ([[]], True), ([1, 2], False), ([[[1]]], False), (1, False)]
)
def test_shapes_are_held_against_the_signature(value, fits):
    inputs = {"x": TensorInfo(np.dtype("float32"), (-1, -1))}
    if fits:
        assert to_inputs({"inputs": value}, inputs, 32)["x"].ndim == 2
    else:
        with pytest.raises(StatusError, match=r"Input x must have shape \[-1,-1\] but got: "):
            to_inputs({"inputs": value}, inputs, 32)


def test_the_signature():
    assert signature_name({}) == signature_name({"signature_name": ""}) == "serving_default"
    with pytest.raises(StatusError, match="'signature_name' key must be a string value"):
        signature_name({"signature_name": 100})
    assert is_row_format({"instances": [1]})


OUTPUTS = {
    "double_scalar": np.array([8.0, 9.0]),
    "ints": np.array([[[1, 2], [3, 4]], [[7, 8], [9, 0]]], "int32"),
    "text": np.array([[b"foo"], [b"baz"]], object),
    "raw_bytes": np.array([b"hello", b"tf"], object),
}


def test_answers_with_several_outputs():
    assert json.loads(predict_answer(OUTPUTS, is_row=True)) == {
        "predictions": [
            {"double_scalar": 8.0, "ints": [[1, 2], [3, 4]], "text": ["foo"], "raw_bytes": {"b64": "aGVsbG8="}},
            {"double_scalar": 9.0, "ints": [[7, 8], [9, 0]], "text": ["baz"], "raw_bytes": {"b64": "dGY="}},
        ]
    }
    assert json.loads(predict_answer(OUTPUTS, is_row=False)) == {
        "outputs": {
            "double_scalar": [8.0, 9.0],
            "ints": [[[1, 2], [3, 4]], [[7, 8], [9, 0]]],
            "text": [["foo"], ["baz"]],
            "raw_bytes": [{"b64": "aGVsbG8="}, {"b64": "dGY="}],
        }
    }


def test_an_only_output_loses_its_name():
    only = {"y": np.array([3.5, 4.0, 5.5], "float32")}
    assert json.loads(predict_answer(only, is_row=True)) == {"predictions": [3.5, 4.0, 5.5]}
    assert json.loads(predict_answer(only, is_row=False)) == {"outputs": [3.5, 4.0, 5.5]}


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"y": np.float32(1)}, "Tensor name: y has no shape information"),
        ({"y": np.zeros((0, 2))}, "Tensor name: y has invalid batch size: 0"),
        ({"x": np.zeros(2), "y": np.zeros(1)}, "Tensor name: y has inconsistent batch size: 1 expecting: 2"),
    ],
)
def test_row_format_needs_a_common_batch(outputs, words):
    with pytest.raises(StatusError, match=words):
        predict_answer({name: np.asarray(value) for name, value in outputs.items()}, is_row=True)


def test_an_error_is_json_whatever_it_quotes():
    text = 'quotes " and \\ and \n and ö'
    assert json.loads(error_answer(text)) == {"error": text}
