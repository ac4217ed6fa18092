"""`keras-vitser import-checkpoint`."""

from pathlib import Path

import typer

from keras_vitser.cli.backend import choose_backend
from keras_vitser.cli.console import BACKEND_HELP, out, show_log, starting
from keras_vitser.errors import CheckpointError, ModelFolderError


def import_checkpoint(
    file: Path = typer.Argument(help="A PyTorch checkpoint that the paper's authors published, or their code wrote."),
    labels: str = typer.Option(..., help="Names of the classes, in the order of training: anger,fear,..."),
    output: Path = typer.Option(..., help="The model folder to write; not there yet."),
    image_size: str = typer.Option("128x128", help="Bands x frames; 128x1001 for the uninterpolated time axis."),
    patch_size: str = typer.Option("128x1", help="Bands x frames of a patch."),
    heads: int = typer.Option(None, help="Attention heads. Default: heads of width 64."),
    lowest_band_first: bool = typer.Option(
        False, "--lowest-band-first", help="Row 0 of the images is the lowest band."
    ),
    backend: str = typer.Option(None, help=BACKEND_HELP),
) -> None:
    """Make a model folder of a checkpoint of the paper's authors. PyTorch is not needed.

    Example: keras-vitser import-checkpoint teacher.pth --labels anger,calm,fear,joy --output models/teacher
    """
    names = [name.strip() for name in labels.split(",")]
    if not all(names):
        raise CheckpointError(f"--labels takes names between commas, none of them empty. Received: {labels!r}")
    sizes = {"image_size": _size("--image-size", image_size), "patch_size": _size("--patch-size", patch_size)}
    if output.exists():
        raise ModelFolderError(f"{output}: is already there, and nothing is overwritten; choose another name")
    chosen = choose_backend(backend)
    show_log()
    with starting(chosen):
        from keras_vitser.experiments.model_card import imported_model_card
        from keras_vitser.recognizer import Recognizer

    recognizer = Recognizer.from_author_checkpoint(
        file, names, highest_band_first=not lowest_band_first, num_heads=heads, **sizes
    )
    network = recognizer.network
    recognizer.save(output, imported_model_card(network, recognizer.front_end, names, file))
    out.print(
        f"{network.name} of depth {network.depth} with {network.num_heads} heads, {network.count_params():,} "
        f"parameters; labels {', '.join(names)}",
        markup=False,
    )
    out.print(f"wrote {output}", markup=False)


def _size(option: str, text: str) -> tuple[int, int]:
    numbers = text.lower().split("x")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise CheckpointError(f"{option} takes bands x frames, for instance 128x1. Received: {text!r}")
    return int(numbers[0]), int(numbers[1])
