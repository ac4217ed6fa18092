"""A server of TensorFlow Serving's REST API for a laptop, a test or a small site; Starlette on Uvicorn.

In production TensorFlow Serving itself serves the same folder: the paths, documents, error texts and status codes are
those of its `api_rest.md`, `http_rest_api_handler.cc` and `json_tensor.cc`. Not here: `:classify` and `:regress`.
"""

import asyncio
import json
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from keras_vitser.serving.batching import Batcher
from keras_vitser.serving.bounds import Bounds
from keras_vitser.serving.loaded_model import SavedModel
from keras_vitser.serving.metrics import Metrics
from keras_vitser.serving.rest_json import error_answer, predict_answer, read_object, signature_name, to_inputs
from keras_vitser.serving.status import StatusError, invalid
from keras_vitser.serving.versions import Policy, Versions

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

METRICS_PATH = "/monitoring/prometheus/metrics"
_WHICH = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
_PREDICTION = re.compile(rf"/v1/models/(?P<model>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_WHICH}(?:/(?P<metadata>metadata))?", re.IGNORECASE)
_MAX_VERSION = 2**63 - 1
_KEEP_ALIVE = 65  # seconds; longer than clients keep connections, or one is closed just as it is used again
_log = logging.getLogger(__name__)


class ModelServer:
    """Answers requests for one model.

    Args:
        folder: Folder of version folders with a SavedModel each.
        name: The model's name in paths. Defaults to the folder's name.
        policy: `"latest"`, `"all"`, or version numbers.
        labels: Label to version.
        bounds: What is taken on at most.
        batch_wait: Seconds that a batch waits at most for requests that are on their way.
        poll_seconds: Seconds between two looks for new versions.

    Raises:
        ModelFolderError: There is no version in the folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        name: str | None = None,
        policy: Policy = "latest",
        labels: Mapping[str, int] | None = None,
        bounds: Bounds | None = None,
        batch_wait: float = 0.002,
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
            headers = {"Retry-After": "1"} if error.http_status in (429, 503) else None
            return Response(error_answer(error.message), error.http_status, headers, "application/json")
        return Response(body, media_type="application/json")

    async def _answer(self, request: "Request") -> bytes:
        path = request.scope["raw_path"].decode("latin-1")
        if not path.lower().startswith("/v1/"):
            raise StatusError("NOT_FOUND", f"Not found: {path}")
        if request.method == "POST" and (found := _PREDICTION.fullmatch(path)):
            if found["method"] == "predict":
                return await self._counted_predict(request, found)
            if found["method"] in ("classify", "regress"):
                return await self._other_method(request, found)
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

    async def _counted_predict(self, request: "Request", found: re.Match) -> bytes:
        started = time.monotonic()
        self._requests += 1
        code = "CANCELLED"
        try:
            if self._requests > self.bounds.requests:
                raise StatusError("RESOURCE_EXHAUSTED", f"more than {self.bounds.requests} requests; ask again later")
            body = await self._predict(request, found, started + self.bounds.seconds)
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
            document = read_object(await self._body(request, deadline))
            name = signature_name(document)
            with self.versions.use(self._version(found)) as version:
                signature = version.model.signature(name)
                inputs = to_inputs(document, signature.inputs, self.bounds.batch_size)
                self.bounds.check(inputs)
                waiting = self._batcher.submit(signature.run, inputs, deadline)
                has_arrived()
                outputs = await waiting
        return predict_answer(outputs, is_row="instances" in document)

    async def _body(self, request: "Request", deadline: float) -> bytes:
        from starlette.requests import ClientDisconnect

        limit = self.bounds.body_bytes
        too_large = StatusError("INVALID_ARGUMENT", f"the body is larger than {limit} bytes", http_status=413)
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0.0)):
                async for part in request.stream():
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        raise too_large
        except ClientDisconnect:
            raise StatusError("CANCELLED", "the client went away") from None
        except TimeoutError:
            raise StatusError("DEADLINE_EXCEEDED", "the body did not arrive in time") from None
        return b"".join(parts)

    async def _other_method(self, request: "Request", found: re.Match) -> bytes:
        document = read_object(await self._body(request, time.monotonic() + self.bounds.seconds))
        method = found["method"]
        noun = {"classify": "classification", "regress": "regression"}[method]
        signature = self.versions.find(self._version(found)).model.signature(signature_name(document))
        wanted = f"tensorflow/serving/{method}"
        if signature.method_name != wanted:
            raise invalid(f"Expected {noun} signature method_name to be {wanted}. Was: {signature.method_name}")
        raise StatusError("UNIMPLEMENTED", f":{method} is answered by TensorFlow Serving only; use :predict")


def _number(found: re.Match) -> int | None:
    text = found["version"]
    if text and int(text[:30]) > _MAX_VERSION:
        raise invalid(f"Failed to convert version: {text} to numeric.")
    return int(text) if text else None


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1")).decode("utf-8", "replace")


def create_app(
    folder: str | os.PathLike,
    name: str | None = None,
    *,
    policy: Policy = "latest",
    labels: Mapping[str, int] | None = None,
    bounds: Bounds | None = None,
) -> "Starlette":
    """The server as an ASGI application, for an ASGI server of one's own; it loads the model when it starts.

    Args:
        folder: Folder of version folders with a SavedModel each, `1/`, `2/` and so on.
        name: The model's name in paths. Defaults to the folder's name.
        policy: `"latest"`, `"all"`, or the numbers of the versions to serve.
        labels: Label to version, `{"stable": 1}`; such versions are served too.
        bounds: What is taken on at most. Defaults to `Bounds()`.

    Raises:
        ModelFolderError: There is no version in the folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "vit_ser"
        >>> (folder / "1").mkdir(parents=True)
        >>> create_app(folder).state.server.name
        'vit_ser'
    """
    return _app(ModelServer(folder, name, policy, labels, bounds))


def serve(
    folder: str | os.PathLike,
    name: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    policy: Policy = "latest",
    labels: Mapping[str, int] | None = None,
    bounds: Bounds | None = None,
) -> None:
    """Serves a model until SIGTERM or SIGINT; requests that were taken on are answered first.

    Args:
        folder: Folder of version folders with a SavedModel each, `1/`, `2/` and so on.
        name: The model's name in paths. Defaults to the folder's name.
        host: Address to listen at; `"0.0.0.0"` for all of the machine's.
        port: Port to listen at; 0 for a free one, which the log names.
        policy: `"latest"`, `"all"`, or the numbers of the versions to serve.
        labels: Label to version, `{"stable": 1}`; such versions are served too.
        bounds: What is taken on at most. Defaults to `Bounds()`.

    Raises:
        ModelFolderError: There is no version in the folder, or none that can be loaded.
        OSError: The port is taken.

    Example:
        >>> serve("models/vit_ser")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        keras_vitser.errors.ModelFolderError: models/vit_ser: holds no version of a model; ...
    """
    server = ModelServer(folder, name, policy, labels, bounds)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY, without which an answer waits 40 ms, only where the protocol is named.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        asyncio.run(_serve(server, listener))


async def _serve(server: ModelServer, listener: socket.socket) -> None:
    import uvicorn

    class Uvicorn(uvicorn.Server):
        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            host, port = listener.getsockname()[:2]
            _log.info("serving at http://%s:%d/v1/models/%s", f"[{host}]" if ":" in host else host, port, server.name)

    config = uvicorn.Config(
        _app(server),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=int(server.bounds.seconds) + 1,
    )
    await server.start()
    try:
        with _signals_end_quietly():
            await Uvicorn(config).serve([listener])
    finally:
        await server.stop()


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Uvicorn raises SIGTERM once more after its graceful end; the process shall end by itself, with exit code 0."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _app(server: ModelServer) -> "Starlette":
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    class Anything:  # with a class in place of a function Starlette leaves the request's method to it
        async def __call__(self, scope, receive, send) -> None:
            response = await server.answer(Request(scope, receive))
            await response(scope, receive, send)

    async def metrics(request: Request) -> Response:
        return Response(server.metrics.page(), media_type="text/plain")

    async def failed(request: Request, error: Exception) -> Response:
        return Response(error_answer("the server failed; its log says why"), 500, media_type="application/json")

    @asynccontextmanager
    async def lifespan(app: Starlette):
        await server.start()
        yield
        await server.stop()

    app = Starlette(
        routes=[Route(METRICS_PATH, metrics), Route("/{path:path}", Anything())],
        exception_handlers={500: failed},
        lifespan=lifespan,
    )
    app.state.server = server
    return app
