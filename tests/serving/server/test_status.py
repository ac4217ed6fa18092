"""Status codes, held against the table of TensorFlow Serving and the numbers of TensorFlow."""

import pytest

from keras_vitser.errors import KerasViTSERError
from keras_vitser.serving.server.status import HTTP_STATUS, StatusError, invalid
from tests.requirements import require

pytestmark = pytest.mark.backends("tensorflow")


@pytest.mark.parametrize(
    ("code", "http_status"),
    [
        ("INVALID_ARGUMENT", 400),
        ("NOT_FOUND", 404),
        ("RESOURCE_EXHAUSTED", 429),
        ("UNAVAILABLE", 503),
        ("UNKNOWN", 500),
    ],
)
def test_each_code_has_its_http_status(code, http_status):
    assert StatusError(code, "so").http_status == http_status


def test_the_codes_are_in_the_order_of_tensorflows_numbers():
    tf = require("tensorflow")
    names = {number: name for name, number in vars(tf.errors).items() if name.isupper() and isinstance(number, int)}
    assert {number: name for number, name in enumerate(HTTP_STATUS) if number in names} == names


def test_another_http_status_may_be_given():
    error = StatusError("INVALID_ARGUMENT", "so", 413)
    assert (error.http_status, str(error)) == (413, "so")
    assert isinstance(invalid("so"), KerasViTSERError)
