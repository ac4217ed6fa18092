"""`keras-vitser config`: what a config comes to, and the schema that an editor checks it with."""

import dataclasses

import typer

from keras_vitser.cli.overrides import BATCH_SIZE, EPOCHS, PROTOCOL, SEED, SET, overrides_of
from keras_vitser.files import strict_json

config = typer.Typer(
    help="Show a config with the origin of each value, or print the schema of configs.\n\n"
    "Example: keras-vitser config show paper/patch_16x16",
    no_args_is_help=True,
)


@config.command()
def show(
    source: str = typer.Argument(
        None, metavar="[CONFIG]", help="A YAML file, or the name of a shipped config. None: the defaults."
    ),
    epochs: str = EPOCHS,
    batch_size: int = BATCH_SIZE,
    protocol: str = PROTOCOL,
    seed: int = SEED,
    set_: list[str] = SET,
    as_json: bool = typer.Option(False, "--json", help="Print config and origins as JSON."),
) -> None:
    """Print every value of a config, and beside it the file and line, option or default that it comes from.

    What is printed is a config itself.

    Examples: keras-vitser config show savee --- keras-vitser config show paper/alpha_0 --set stages.student.epochs=5
    """
    overrides = overrides_of(epochs, batch_size, protocol, seed, set_, source)
    from keras_vitser.experiments.config import OVERRIDE, resolve_config

    resolved = resolve_config(source, overrides)
    origins = {key: "command line" if origin == OVERRIDE else origin for key, origin in resolved.origins.items()}
    resolved = dataclasses.replace(resolved, origins=origins)
    if as_json:
        answer = {"config": resolved.config.plain_values(), "origins": origins}
        print(strict_json(answer, ensure_ascii=False))
        return
    print(resolved.to_yaml(), end="")


@config.command()
def schema() -> None:
    """Print the JSON schema of a config file, by which an editor completes keys and marks mistakes.

    Example: keras-vitser config schema > keras-vitser.schema.json
    """
    from keras_vitser.experiments.config import config_schema

    print(strict_json(config_schema(), indent=2, ensure_ascii=False))
