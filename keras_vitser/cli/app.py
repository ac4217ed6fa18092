"""`keras-vitser app`."""

from pathlib import Path

import typer

from keras_vitser.cli.backend import PREDICTION, choose_backend
from keras_vitser.cli.console import BACKEND_HELP, show_log, starting


def app(
    model: Path = typer.Argument(help="A run folder or a model folder."),
    host: str = typer.Option("127.0.0.1", help="Address to listen at; 0.0.0.0 for all of this machine's."),
    port: int = typer.Option(7860, min=1, max=65535, help="Port to listen at."),
    backend: str = typer.Option(None, help=BACKEND_HELP),
) -> None:
    """Try a model in the browser: record or drop a sound, and see what is heard.

    Browsers give the microphone to a page of this machine, or to one behind HTTPS.

    Example: keras-vitser app runs/RUN
    """
    chosen = choose_backend(backend, PREDICTION)
    show_log()
    with starting(chosen):
        from keras_vitser.recognizer import Recognizer
        from keras_vitser.serving import app as page

        recognizer = Recognizer.load(model)
    page.launch(recognizer, host, port)
