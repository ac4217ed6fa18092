"""TensorFlow's status codes, and the HTTP status that TensorFlow Serving answers for each (its `http_server.cc`)."""

from keras_vitser.errors import KerasViTSERError

HTTP_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}


class StatusError(KerasViTSERError):
    """A request cannot be answered.

    Args:
        code: Name of a status, a key of `HTTP_STATUS`.
        message: What the answer's `error` says.
        http_status: The answer's HTTP status. Defaults to that of the code; 413 has no code of its own.

    Example:
        >>> StatusError("UNAVAILABLE", "the queue is full").http_status
        503
    """

    def __init__(self, code: str, message: str, http_status: int | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status or HTTP_STATUS[code]


def invalid(message: str) -> StatusError:
    """The status of a request that is wrong in itself: 400."""
    return StatusError("INVALID_ARGUMENT", message)
