"""What is answered to each request of TensorFlow Serving's REST API, for one model; `server.py` listens.

The paths, documents, error texts and status codes are those of its `api_rest.md`, `http_rest_api_handler.cc` and
`json_tensor.cc`. Not here: `:classify` and `:regress`, which need signatures that no model of ours has.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from keras_vitser.serving.server.batching import Batcher
from keras_vitser.serving.server.bodies import ENCODINGS, read_body
from keras_vitser.serving.server.bounds import Bounds
from keras_vitser.serving.server.loaded_model import SavedModel
from keras_vitser.serving.server.metrics import Metrics
from keras_vitser.serving.server.rest_json import error_answer, predict_answer, read_object, signature_name, to_inputs
from keras_vitser.serving.server.status import StatusError, invalid
from keras_vitser.serving.server.versions import Policy, Versions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_WHICH = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
_PREDICTION = re.compile(
    rf"/v1/models/(?P<model>[^/:]+){_WHICH}:(?P<method>(?-i:classify|regress|predict))", re.IGNORECASE
)
_STATUS = re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_WHICH}(?:/(?P<metadata>metadata))?", re.IGNORECASE)
_ORIGIN = re.compile(r"\Ahttps?://[^/]*", re.IGNORECASE)  # that a client names which takes the server for a proxy
_MAX_VERSION = 2**63 - 1
_HEADERS = {415: {"Accept-Encoding": ENCODINGS}, 429: {"Retry-After": "1"}, 503: {"Retry-After": "1"}}


class ModelServer:
    """Answers requests for one model.

    Args:
        folder: Folder of version folders with a SavedModel each.
        name: The model's name in paths. Defaults to the folder's name.
        policy: `"latest"`, `"all"`, or version numbers.
        labels: Label to version.
        bounds: What is taken on at most.
        batch_wait: Seconds that a batch waits at most for company.
        poll_seconds: Seconds between two looks for new versions.

    Raises:
        ModelFolderError: There is no version in the folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "vit_ser"
        >>> (folder / "1").mkdir(parents=True)
        >>> ModelServer(folder).name
        'vit_ser'
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        name: str | None = None,
        policy: Policy = "latest",
        labels: Mapping[str, int] | None = None,
        bounds: Bounds | None = None,
        batch_wait: float = 0.005,
        poll_seconds: float = 1.0,
    ):
        self.name = name or Path(folder).resolve().name
        self.bounds = bounds or Bounds()
        self.versions = Versions(folder, self.name, SavedModel, policy, labels)
        self.metrics = Metrics(self.name, queued=lambda: self._batcher.queued)
        self._batcher = Batcher(
            batch_size=self.bounds.batch_size, queue=self.bounds.queue, wait=batch_wait, observe=self.metrics.batch
        )
        self._poll_seconds = poll_seconds
        self._polling: asyncio.Task | None = None
        self._requests = 0

    async def start(self) -> None:
        """Loads the versions and begins to compute.

        Raises:
            ModelFolderError: No version could be loaded.
        """
        await self.versions.refresh()
        self.versions.check()
        self._batcher.start()
        self._polling = asyncio.create_task(self.versions.keep_refreshing(self._poll_seconds))

    async def stop(self) -> None:
        """Ends what `start` began."""
        if self._polling:
            self._polling.cancel()
        await self._batcher.stop()
        self.versions.close()

    async def answer(self, request: "Request") -> "Response":
        """The answer to any request below `/v1/`."""
        from starlette.responses import Response

        try:
            body = await self._answer(request)
        except StatusError as error:
            headers = _HEADERS.get(error.http_status)
            return Response(error_answer(error.message), error.http_status, headers, "application/json")
        return Response(body, media_type="application/json")

    async def _answer(self, request: "Request") -> bytes:
        path = _ORIGIN.sub("", request.scope["raw_path"].decode("latin-1"))
        if not path.lower().startswith("/v1/"):
            raise StatusError("NOT_FOUND", f"Not found: {path}")
        if request.method == "POST" and (found := _PREDICTION.fullmatch(path)):
            return await self._counted(request, found)
        if request.method == "GET" and (found := _STATUS.fullmatch(path)):
            if not found["model"]:
                raise invalid("Missing model name in request.")
            document = self._metadata(found) if found["metadata"] == "metadata" else self._status(found)
            return json.dumps(document, indent=1).encode()
        raise invalid(f"Malformed request: {request.method} {path}")

    def _status(self, found: re.Match) -> dict[str, Any]:
        model = _decoded(found["model"])
        number = _number(found)
        if model != self.name:
            which = "any versions" if number is None else f"version {number}"
            raise StatusError("NOT_FOUND", f"Could not find {which} of model {model}")
        if found["label"]:
            number = self.versions.number_of(_decoded(found["label"]))
        return self.versions.status(number)

    def _metadata(self, found: re.Match) -> dict[str, Any]:
        version = self.versions.find(self._version(found))
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(version.number)},
            "metadata": {"signature_def": {"signature_def": version.model.signature_def}},
        }

    def _version(self, found: re.Match) -> int | None:
        """The number of the version that a path names, `None` for the newest."""
        number, model = _number(found), _decoded(found["model"])
        if found["label"] and model == self.name:
            return self.versions.number_of(_decoded(found["label"]))
        if found["label"]:
            raise invalid(f"Unrecognized servable version label: {_decoded(found['label'])}")
        if model != self.name:
            wanted = f"Latest({model})" if number is None else f"Specific({model}, {number})"
            raise StatusError("NOT_FOUND", f"Servable not found for request: {wanted}")
        return number

    async def _counted(self, request: "Request", found: re.Match) -> bytes:
        started = time.monotonic()
        deadline = started + self.bounds.seconds
        self._requests += 1
        code = "INTERNAL"
        try:
            if self._requests > self.bounds.requests:
                raise StatusError("RESOURCE_EXHAUSTED", f"more than {self.bounds.requests} requests; ask again later")
            answer = self._predict if found["method"] == "predict" else self._other_method
            body = await answer(request, found, deadline)
            code = "OK"
            return body
        except StatusError as error:
            code = error.code
            raise
        finally:
            self._requests -= 1
            self.metrics.request(code, time.monotonic() - started)

    async def _predict(self, request: "Request", found: re.Match, deadline: float) -> bytes:
        with self._batcher.expecting() as has_arrived:
            document = read_object(await read_body(request, self.bounds.body_bytes, deadline))
            name = signature_name(document)
            with self.versions.use(self._version(found)) as version:
                signature = version.model.signature(name)
                inputs = to_inputs(document, signature.inputs, self.bounds.batch_size)
                self.bounds.check(inputs)
                waiting = self._batcher.submit(signature.run, inputs, deadline)
                has_arrived()
                outputs = await waiting
        return predict_answer(outputs, is_row="instances" in document)

    async def _other_method(self, request: "Request", found: re.Match, deadline: float) -> bytes:
        document = read_object(await read_body(request, self.bounds.body_bytes, deadline))
        method = found["method"]
        noun = {"classify": "classification", "regress": "regression"}[method]
        signature = self.versions.find(self._version(found)).model.signature(signature_name(document))
        wanted = f"tensorflow/serving/{method}"
        if signature.method_name != wanted:
            raise invalid(f"Expected {noun} signature method_name to be {wanted}. Was: {signature.method_name}")
        raise StatusError("UNIMPLEMENTED", f":{method} is answered by TensorFlow Serving only; use :predict")


def _number(found: re.Match) -> int | None:
    text = found["version"]
    if not text:
        return None
    number = int(text.lstrip("0")[:30] or "0")
    if number > _MAX_VERSION:
        raise invalid(f"Failed to convert version: {text} to numeric.")
    return number


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1")).decode("utf-8", "replace")
