"""A server of TensorFlow Serving's REST API for a laptop, a test or a small site; Starlette on Uvicorn.

In production TensorFlow Serving itself serves the same folder, and clients see no difference.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from keras_vitser.errors import ServingError
from keras_vitser.serving.server.bounds import Bounds
from keras_vitser.serving.server.model_server import ModelServer
from keras_vitser.serving.server.rest_json import error_answer
from keras_vitser.serving.server.versions import Policy

if TYPE_CHECKING:
    from starlette.applications import Starlette

METRICS_PATH = "/monitoring/prometheus/metrics"
_KEEP_ALIVE = 65  # seconds; longer than clients keep connections, or one is closed just as it is used again
_log = logging.getLogger(__name__)


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
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "vit_ser"
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
        ServingError: The port is taken.

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
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ServingError(f"{host}:{port}: {error.strerror or error}; choose another --port") from None
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
    app.router.default = Anything()  # of targets that are no path, as `OPTIONS *` has, or a proxy's client
    app.state.server = server
    return app
