"""`keras-vitser serve`."""

import os
from pathlib import Path
from typing import Literal

import typer

from keras_vitser.cli.console import show_log
from keras_vitser.errors import ConfigError


def serve(
    model_dir: Path = typer.Argument(help="The folder that holds 1/saved_model.pb, 2/saved_model.pb and so on."),
    name: str = typer.Option(None, help="The model's name in URLs. Default: the folder's name."),
    host: str = typer.Option("127.0.0.1", help="Address to listen at; 0.0.0.0 for all of this machine's."),
    port: int = typer.Option(8501, min=0, max=65535, help="Port to listen at; 0 for a free one."),
    versions: str = typer.Option("latest", help="Versions to serve: latest, all, or numbers, 1,2 for instance."),
    label: list[str] = typer.Option([], help="A version's label, stable=1 for instance; may be given again."),
    body_mb: int = typer.Option(24, min=1, help="MiB of a request's body; more is answered 413."),
    batch_size: int = typer.Option(32, min=1, help="Clips of a request and of a batch; more in a request is 400."),
    clip_seconds: float = typer.Option(60.0, min=0.1, help="Seconds of a clip; a longer one is answered 400."),
    queue: int = typer.Option(64, min=1, help="Clips that wait; more are answered 503."),
    requests: int = typer.Option(128, min=1, help="Requests at once; more are answered 429."),
    seconds: float = typer.Option(30.0, min=0.1, help="Seconds to an answer; later is 504."),
) -> None:
    """Answer TensorFlow Serving's REST API from an exported model, on a laptop or for a small site.

    New versions in the folder are loaded while it runs. SIGTERM and Ctrl-C finish what was begun.

    Example: keras-vitser serve serving/models/vit_ser --label stable=1 --label canary=2
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    show_log()
    from keras_vitser import serving

    bounds = serving.Bounds(
        body_bytes=body_mb * 2**20,
        batch_size=batch_size,
        clip_seconds=clip_seconds,
        queue=queue,
        requests=requests,
        seconds=seconds,
    )
    policy, labels = _policy(versions), _labels(label)
    serving.serve(model_dir, name, host=host, port=port, policy=policy, labels=labels, bounds=bounds)


def _policy(text: str) -> Literal["latest", "all"] | tuple[int, ...]:
    if text == "latest":
        return "latest"
    if text == "all":
        return "all"
    numbers = text.split(",")
    if not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"--versions is latest, all, or numbers like 1,2. Received: {text!r}")
    return tuple(map(int, numbers))


def _labels(texts: list[str]) -> dict[str, int]:
    labels = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not name or not number.isdecimal():
            raise ConfigError(f"--label is a name and a version, stable=1 for instance. Received: {text!r}")
        labels[name] = int(number)
    return labels
