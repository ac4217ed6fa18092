"""JSON values and arrays. Values and error texts are those of TensorFlow Serving's `json_tensor_test.cc`."""

import base64
import json
import random
import re

import numpy as np
import pytest

from keras_vitser.serving.server.json_arrays import as_text, is_base64_object, to_array, to_json
from keras_vitser.serving.server.status import StatusError

pytestmark = pytest.mark.backends("tensorflow")

FLOAT, DOUBLE, INT, STRING = (np.dtype(name) for name in ("float32", "float64", "int32", object))


def refused(value, dtype):
    with pytest.raises(StatusError) as error:
        to_array(value, dtype)
    return error.value


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([[1, 2], [3, 4], [5, 6]], INT, [[1, 2], [3, 4], [5, 6]]),
        ([1, 2.0, 3, 4, 5.003, 0.007, 0.0], FLOAT, [1, 2.0, 3, 4, 5.003, 0.007, 0.0]),
        ([1.0, float("nan"), float("-inf")], FLOAT, [1.0, np.nan, -np.inf]),
        (0.1, DOUBLE, 0.1),
        ([], FLOAT, []),
        ([[], []], FLOAT, [[], []]),
        ([-(2**31), 2**31 - 1], INT, [-(2**31), 2**31 - 1]),
        ([0, 255], np.dtype("uint8"), [0, 255]),
        ([2**64 - 1], np.dtype("uint64"), [2**64 - 1]),
        ([True, False], np.dtype(bool), [True, False]),
    ],
)
def test_numbers(value, dtype, expected):
    array = to_array(value, dtype)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.array(expected, dtype))


def test_a_number_that_a_float_cannot_hold_is_rounded_as_the_documentation_says():
    assert to_array([1435774380], FLOAT)[0] == np.float32(1435774336)


def test_strings_are_bytes_and_base64_is_decoded():
    array = to_array([["a", "ö"], [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ"}]], STRING)
    assert array.tolist() == [[b"a", "ö".encode()], [b"hello", b"world"]]
    assert to_array([{"b64": "AAAA"}], STRING)[0] == b"\0\0\0"
    assert to_array({"b64": ""}, STRING).shape == ()


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        ([1, [1]], FLOAT, "Encountered list at unexpected level: 1 expected < 1"),
        ([[1], 1], FLOAT, "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([[1, 2], [3]], FLOAT, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ([1, "a"], INT, 'JSON Value: "a" Type: String is not of expected type: int32'),
        ([1, None], FLOAT, "JSON Value: null Type: Null is not of expected type: float"),
        ([1.0, True], FLOAT, "Type: True is not of expected type: float"),
        ([{"b64": "aGVsbG8="}], FLOAT, "Type: Object is not of expected type: float"),
        ([1.5], INT, "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        ([2**31], INT, "not of expected type: int32"),
        ([256], np.dtype("uint8"), "not of expected type: uint8"),
        ([1], np.dtype(bool), "not of expected type: bool"),
        ([1], STRING, "not of expected type: string"),
        ([{"b64": 1}], STRING, "not formatted correctly for base64 data"),
        ([{"b64": "a", "c": "b"}], STRING, "not formatted correctly for base64 data"),
        ([{"b64": "a"}], STRING, "Unable to base64 decode"),
        ([{"b64": "ä???"}], STRING, "Unable to base64 decode"),
        ([{"b64": "-_-_"}], STRING, "Unable to base64 decode"),  # the url-safe alphabet
        ([{"b64": "QQ="}], STRING, "Unable to base64 decode"),
        ([1e39], FLOAT, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
        ([10**400], DOUBLE, "to double without loss of precision."),
    ],
)
def test_what_does_not_fit_is_refused(value, dtype, words):
    error = refused(value, dtype)
    assert words in error.message
    assert (error.code, error.http_status) == ("INVALID_ARGUMENT", 400)


WAV_TEXT = base64.b64encode(bytes(range(256))).decode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(base64.encodebytes(bytes(range(256))).decode(), id="lines of 76, as MIME has them"),
        pytest.param("\r\n".join(re.findall(".{1,64}", WAV_TEXT)), id="lines of 64, as PEM has them"),
        pytest.param(f"  {WAV_TEXT}\n", id="around it"),
        pytest.param(" \t\n\v\f\r".join(WAV_TEXT), id="behind each character"),
        pytest.param(WAV_TEXT.rstrip("=") + "\n", id="no padding"),
    ],
)
def test_spaces_and_line_breaks_in_base64_are_passed_over(text):
    assert to_array([{"b64": text}], STRING)[0] == bytes(range(256))


def abseil(text):
    """What `Base64Unescape` of Abseil makes of a text: its bytes, or `None`."""
    found = re.fullmatch(r"([A-Za-z0-9+/]*)([=.]*)", re.sub(r"[ \t\n\v\f\r]", "", text))
    if not found:
        return None
    digits, padding = found.groups()
    if len(digits) % 4 == 1 or len(padding) not in (0, -len(digits) % 4):
        return None
    return base64.b64decode(digits + "=" * (-len(digits) % 4))


def test_base64_is_read_and_refused_as_by_abseil():
    generator = random.Random(0)
    seen = {True: 0, False: 0}
    for _ in range(5000):
        letters = generator.choice(["AQb9+/", "AQb9+/= \n", "AQb9+/=.- \r_\0\x1c\xa0é"])
        text = "".join(generator.choices(letters, k=generator.randrange(12))) + generator.choice(["", "=", "=="])
        expected = abseil(text)
        seen[expected is None] += 1
        if expected is None:
            assert refused([{"b64": text}], STRING).message == "Unable to base64 decode", text
        else:
            assert to_array([{"b64": text}], STRING)[0] == expected, text
    assert min(seen.values()) > 1000


def test_a_dtype_without_a_json_form_is_unimplemented():
    error = refused([1.0], np.dtype("float16"))
    assert (error.http_status, "to type: half" in error.message) == (501, True)


def test_lists_in_lists_without_end_are_refused():
    value = 1
    for _ in range(200):
        value = [value]
    assert "level" in refused(value, FLOAT).message


def test_floats_are_written_with_the_digits_that_name_them():
    values = np.array([0.2, 9000000, 555557.5, 3e-5, 0.66907406, 1 / 3], "float32")
    written = json.dumps(to_json(values, "score"))
    assert "0.2," in written
    assert "0.66907406" in written
    np.testing.assert_array_equal(np.array(json.loads(written), "float32"), values)
    wide = np.random.default_rng(0).normal(size=100)
    np.testing.assert_array_equal(json.loads(json.dumps(to_json(wide, "x"))), wide)


def test_numbers_that_json_lacks_are_written_as_tokens():
    assert (
        json.dumps(to_json(np.array([np.nan, np.inf, 3, -np.inf], "float32"), "x")) == "[NaN, Infinity, 3.0, -Infinity]"
    )


def test_bytes_are_written_in_base64_by_the_name_of_the_tensor():
    array = np.array([[b"hello", b"world"], [b"tf", b"serving"]], object)
    assert to_json(array, "str_tensor_bytes") == [
        [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}],
        [{"b64": "dGY="}, {"b64": "c2VydmluZw=="}],
    ]
    assert to_json(array, "str_tensor") == [["hello", "world"], ["tf", "serving"]]


def test_complex_numbers_cannot_be_written():
    with pytest.raises(StatusError, match="Failed to write JSON value for tensor type: complex64"):
        to_json(np.zeros(2, "complex64"), "x")


def test_a_long_value_is_cut_in_an_error():
    assert len(as_text(list(range(100000)))) < 300
    assert len(as_text("a" * 100000)) < 300


def test_what_is_a_base64_object():
    assert is_base64_object({"b64": "x"})
    assert not any(map(is_base64_object, [{"b64": 1}, {"b64": "x", "a": 1}, {"a": "x"}, "x", None]))
