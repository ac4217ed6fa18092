"""The JSON documents of TensorFlow Serving's REST API, its page `api_rest.md`: row and column format, errors."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_vitser.serving.server.json_arrays import as_text, is_base64_object, to_array, to_json
from keras_vitser.serving.server.status import StatusError, invalid

DEFAULT_SIGNATURE = "serving_default"
_MOST_LISTS = 100_000  # and objects: Python needs 0.3 s and 64 MB for a million, which gzip sends as 3 kB
# What Python's parser says, and what TensorFlow Serving's says of the same fault.
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Expecting property name": "Missing a name for object member.",
    "Expecting ':'": "Missing a colon after a name of object member.",
    "Expecting ','": "Missing a comma or } after an object member.",
    "Unterminated string": "Missing a closing quotation mark in string.",
    "Invalid control character": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX": "Incorrect hex digit after \\u escape in string.",
    "Extra data": "The document root must not be followed by other values.",
}


@dataclass(frozen=True)
class TensorInfo:
    """What a signature says of one tensor.

    Attributes:
        dtype: NumPy dtype; `object` for strings.
        shape: Sizes with -1 for any, or `None` for any rank.
    """

    dtype: np.dtype
    shape: tuple[int, ...] | None


def read_object(body: bytes) -> dict[str, Any]:
    """Parses a body that must be a JSON object; `NaN`, `Infinity` and `-Infinity` are allowed, as in JavaScript.

    Raises:
        StatusError: It is not.

    Example:
        >>> read_object(b'{"a": 1}')
        {'a': 1}
    """
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    if body.count(b"[") + body.count(b"{") > _MOST_LISTS:
        raise invalid(f"JSON Parse error: More than {_MOST_LISTS} lists and objects.")
    try:
        document = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _parse_error("Invalid encoding in string.", error.start) from None
    except json.JSONDecodeError as error:
        known = (text for start, text in _PARSE_ERRORS.items() if error.msg.startswith(start))
        offset = len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        raise _parse_error(next(known, "Invalid value."), offset) from None
    except ValueError:  # an integer of thousands of digits
        raise _parse_error("Number too big to be stored in double.", 0) from None
    except RecursionError:
        raise _parse_error("Nested too deeply.", 0) from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {as_text(document)} Is not object")
    return document


def _parse_error(text: str, offset: int) -> StatusError:
    return invalid(f"JSON Parse error: {text} at offset: {offset}")


def signature_name(document: dict[str, Any]) -> str:
    """The signature that a request asks for, or the default one.

    Raises:
        StatusError: The name is no string.

    Example:
        >>> signature_name({"instances": [1.0]}), signature_name({"signature_name": "wav"})
        ('serving_default', 'wav')
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {as_text(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name or DEFAULT_SIGNATURE


def is_row_format(document: dict[str, Any]) -> bool:
    """Whether a `:predict` request is in row format (`instances`) rather than in column format (`inputs`).

    Raises:
        StatusError: It is neither or both, or its instances are no list, or none.

    Example:
        >>> is_row_format({"instances": [1.0]}), is_row_format({"inputs": [1.0]})
        (True, False)
    """
    is_row, is_column = "instances" in document, "inputs" in document
    if is_row and is_column:
        raise invalid(
            f"JSON Value: {as_text(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if not is_row and not is_column:
        raise invalid("Missing 'inputs' or 'instances' key")
    if is_row and not isinstance(document["instances"], list):
        raise invalid(f"JSON Value: {as_text(document)} Excepting 'instances' to be an list/array")
    if is_row and not document["instances"]:
        raise invalid(f"JSON Value: {as_text(document)} No values in 'instances' array")
    return is_row


def to_inputs(document: dict[str, Any], inputs: dict[str, TensorInfo], max_rows: int) -> dict[str, np.ndarray]:
    """The arrays that a `:predict` request gives for a signature.

    Args:
        document: The request's JSON object.
        inputs: The signature's inputs.
        max_rows: Positive int. More instances are refused before any is converted.

    Returns:
        An array for each input, in row format of as many rows as there are instances.

    Raises:
        StatusError: An input is missing, or has another dtype or shape than the signature says.

    Example:
        >>> info = {"waveform": TensorInfo(np.dtype("float32"), (-1, -1))}
        >>> to_inputs({"instances": [[1, 2, 3]]}, info, 32)
        {'waveform': array([[1., 2., 3.]], dtype=float32)}
    """
    if is_row_format(document):
        _check_outer_list(document["instances"], inputs)
        check_rows(len(document["instances"]), max_rows)
        arrays = _from_instances(document["instances"], inputs)
    else:
        arrays = _from_columns(document["inputs"], inputs)
    for name, array in arrays.items():
        _check_shape(name, array.shape, inputs[name].shape)
    return arrays


def _check_outer_list(instances: list, inputs: dict[str, TensorInfo]) -> None:
    """Refuses the values of one row without the list around them, before each is taken for a row."""
    name, info = next(iter(inputs.items()))
    if type(instances[0]) in (int, float):
        _check_shape(name, (len(instances),), info.shape)


def check_rows(rows: int, max_rows: int) -> None:
    """Refuses a request of more rows than a batch may have."""
    if rows > max_rows:
        raise invalid(f"Task size {rows} is larger than maximum input batch size {max_rows}")


def _from_instances(instances: list, inputs: dict[str, TensorInfo]) -> dict[str, np.ndarray]:
    if not isinstance(instances[0], dict) and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_named(instances[0])
    only = next(iter(inputs))
    rows: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    for number, instance in enumerate(instances):
        if named and not _is_named(instance):
            raise invalid(f"Expecting object but got list at item {number} of input list")
        if not named and _is_named(instance):
            raise invalid(f"Expecting value/list but got object at item {number} of input list")
        values = instance if named else {only: instance}
        for name, value in values.items():
            try:
                _add_row(rows, name, value, inputs)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise StatusError(
                    error.code,
                    f"Failed to process element: {number}{key} of 'instances' list. Error: {error.code}: {error}",
                ) from None
        if values.keys() != inputs.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {as_text(instance)} must only "
                f"have keys: {','.join(sorted(inputs))}"
            )
    return {name: np.stack(arrays) for name, arrays in rows.items()}


def _is_named(instance: Any) -> bool:
    return isinstance(instance, dict) and not is_base64_object(instance)


def _add_row(rows: dict[str, list[np.ndarray]], name: str, value: Any, inputs: dict[str, TensorInfo]) -> None:
    if name not in inputs:
        raise invalid(f"JSON object: does not have named input: {name}")
    array = to_array(value, inputs[name].dtype)
    first = rows[name][0] if rows[name] else array
    if array.size != first.size:
        raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
    if array.shape != first.shape:
        raise invalid(f"Expecting shape {_shape_text(first.shape)} but got: {_shape_text(array.shape)}")
    rows[name].append(array)


def _from_columns(value: Any, inputs: dict[str, TensorInfo]) -> dict[str, np.ndarray]:
    if not _is_named(value):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        value = {next(iter(inputs)): value}
    for name in inputs:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: to_array(value[name], info.dtype) for name, info in inputs.items()}


def _check_shape(name: str, shape: tuple[int, ...], wanted: tuple[int, ...] | None) -> None:
    if wanted is None:
        return
    fits = len(shape) == len(wanted) and all(size in (-1, given) for given, size in zip(shape, wanted, strict=True))
    if not fits:
        hint = "; put the row into a list" if len(shape) == len(wanted) - 1 and 0 not in shape else ""
        raise invalid(f"Input {name} must have shape {_shape_text(wanted)} but got: {_shape_text(shape)}{hint}")


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def predict_answer(outputs: dict[str, np.ndarray], is_row: bool) -> bytes:
    """The body of the answer to a `:predict` request.

    Args:
        outputs: An array for each output of the signature.
        is_row: Whether the request was in row format.

    Raises:
        StatusError: The outputs have no common batch size (row format), or a dtype that JSON has no form for.

    Example:
        >>> predict_answer({"score": np.array([0.5, 1.0], "float32")}, is_row=True)
        b'{"predictions": [0.5, 1.0]}'
    """
    if is_row:
        _check_batch(outputs)
    values = {name: to_json(array, name) for name, array in outputs.items()}
    only = next(iter(values.values())) if len(values) == 1 else None
    if not is_row:
        return _dump({"outputs": values if only is None else only})
    if only is None:
        only = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return _dump({"predictions": only})


def _check_batch(outputs: dict[str, np.ndarray]) -> None:
    first = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if not len(array):
            raise invalid(f"Tensor name: {name} has invalid batch size: 0")
        first = first or len(array)
        if len(array) != first:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {first}")


def error_answer(message: str) -> bytes:
    """The body of an answer that says what is wrong.

    Example:
        >>> error_answer("Missing 'inputs' or 'instances' key")
        b'{"error": "Missing \\'inputs\\' or \\'instances\\' key"}'
    """
    return _dump({"error": message})


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
