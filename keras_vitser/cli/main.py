"""`keras-vitser`: the commands, and the one place where an error becomes a line and an exit code."""

import sys

import typer

from keras_vitser.cli import app as page
from keras_vitser.cli import (
    benchmark,
    compare,
    corpora,
    evaluate,
    export,
    import_checkpoint,
    predict,
    serve,
    track,
    train,
    tune,
)
from keras_vitser.cli.config import config
from keras_vitser.cli.console import fail
from keras_vitser.errors import DivergedError, KerasViTSERError

app = typer.Typer(
    name="keras-vitser",
    help="Hear emotions in speech: train, evaluate and use ViT-SER networks.\n\nExample: keras-vitser train demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    *(train, tune, evaluate, predict, import_checkpoint, export, serve, page),
    *(compare, track, corpora),
)
for command in _COMMANDS:
    app.command(no_args_is_help=command is not corpora)(getattr(command, command.__name__.rpartition(".")[2]))
app.command(context_settings={"ignore_unknown_options": True})(benchmark.benchmark)
app.add_typer(config, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        import keras_vitser

        print(keras_vitser.__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    """The program's own options: `--version` acts by its callback, `main` looks for `--debug` itself."""


def main() -> None:
    """Entry point of the console script.

    Exit codes: 0 done, 1 a fault of ours or of the machine, or a training that diverged, 2 a fault of the input.
    """
    debug = "--debug" in sys.argv[1:]
    try:
        code = app(standalone_mode=False)
    except KerasViTSERError as error:
        code = _ended(error, str(error), 1 if isinstance(error, DivergedError) else 2, debug)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except (OSError, MemoryError) as error:
        code = _ended(error, str(error) or type(error).__name__, 1, debug)
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's: an unknown option, a missing argument
            message = error.format_message()
            code = _ended(error, message, 2, debug) if message else 2  # no arguments: the help was printed
        else:
            code = _ended(error, f"{type(error).__name__}: {error} (our fault; --debug shows where)", 1, debug)
    sys.exit(code)


def _ended(error: BaseException, message: str, code: int, debug: bool) -> int:
    if debug:
        raise error
    return fail(message, code).exit_code


if __name__ == "__main__":
    main()
