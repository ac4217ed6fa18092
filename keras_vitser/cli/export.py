"""`keras-vitser export`."""

from pathlib import Path

import typer

from keras_vitser.cli.console import out, working


def export(
    model: Path = typer.Argument(help="A run folder or a model folder, trained on any backend."),
    to: Path = typer.Option(..., help="Folder of a TensorFlow Serving model, or a file: NAME.onnx, NAME.tflite."),
    version: int = typer.Option(None, help="Of a TensorFlow Serving model: 1 or more, not there yet."),
    int8: bool = typer.Option(False, "--int8", help="For .tflite: weights in 8 bits; prints what that costs."),
    data: Path = typer.Option(None, help="For --int8: where the run's recordings are now."),
) -> None:
    """Export a model for TensorFlow Serving, ONNX Runtime or LiteRT. Needs TensorFlow.

    Example: keras-vitser export runs/RUN --to serving/models/vit_ser --version 1
    """
    from keras_vitser.serving import export as export_model

    with working("exporting"):
        exported = export_model(model, to, version=version, int8=int8, data=data)
    out.print(f"wrote {exported.path}", markup=False)
    if exported.signatures:
        out.print(f"signatures: {', '.join(exported.signatures)}", markup=False)
    if exported.sentence:
        out.print(exported.sentence, markup=False)
