"""The options that change a config, and what they make of it; `train` and `config show` share them."""

from typing import Any

import typer

from keras_vitser.corpora.names import PROTOCOLS
from keras_vitser.errors import ConfigError

EPOCHS = typer.Option(None, help="Epochs of each stage; of ViT-SER teacher,matching,student, e.g. 5,5,5.")
BATCH_SIZE = typer.Option(None, help="Clips a batch, in all stages. The paper's is 4.")
PROTOCOL = typer.Option(None, help=f"One of {', '.join(PROTOCOLS)}; paper is leaky.")
SEED = typer.Option(None, help="Seed of the split, the copies, the order and the weights.")
SET = typer.Option([], "--set", help="Any config value, e.g. --set stages.student.learning_rate=3e-4.")
LABELS_AS_WRITTEN = typer.Option(
    False,
    "--labels-as-written",
    help="Labels that differ only in case or spaces are classes of their own, and not refused.",
)
LEAVE_OUT_UNREADABLE = typer.Option(
    False,
    "--leave-out-unreadable",
    help="Leave out recordings that cannot be read, counted beside the score. Default: refuse them, all at once.",
)

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


def of_corpus(**options: bool) -> dict[str, Any]:
    """The options that were given, as values of the config's section `corpus`, which has them under the same names.

    Example:
        >>> of_corpus(labels_as_written=True)
        {'corpus.labels_as_written': True}
    """
    return {f"corpus.{name}": True for name, given in options.items() if given}


def overrides_of(
    epochs: str | None,
    batch_size: int | None,
    protocol: str | None,
    seed: int | None,
    assignments: list[str],
    config: str | None = None,
) -> dict[str, Any]:
    """The options as values by dotted key, for `load_config`; `--set` goes before the short ones.

    `config` is the file or shipped name of what is changed, whose stages `--epochs` and `--batch-size` mean.

    Raises:
        ConfigError: `--epochs` is not a whole number for each stage, a `--set` is not KEY=VALUE with a YAML value, or
            there is no such config.

    Example:
        >>> overrides_of(None, None, None, 1, ["stages.student.alpha=0.5"])
        {'seed': 1, 'stages.student.alpha': 0.5}
    """
    stated = _stated(assignments)
    overrides: dict[str, Any] = {}
    if epochs is not None or batch_size is not None:
        from keras_vitser.experiments.config import stage_names

        stages = stage_names(config, stated.get("system"))
    if epochs is not None:
        counts = epochs.split(",")
        if len(counts) != len(stages) or not all(count.strip().isdigit() for count in counts):
            many = f"{_NUMBERS[len(stages)]} whole number{'s' if len(stages) != 1 else ''}"
            raise ConfigError(f"--epochs takes {many}, {','.join(stages)}. Received: {epochs!r}")
        overrides |= {f"stages.{stage}.epochs": int(count) for stage, count in zip(stages, counts, strict=True)}
    if batch_size is not None:
        overrides |= {f"stages.{stage}.batch_size": batch_size for stage in stages}
    if protocol is not None:
        # The config's own folds and speakers belong to its own protocol.
        overrides["protocol"] = {"name": protocol}
    if seed is not None:
        overrides["seed"] = seed
    return overrides | stated


def _stated(assignments: list[str]) -> dict[str, Any]:
    import yaml

    values = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set takes KEY=VALUE, for instance seed=1. Received: {assignment!r}")
        try:
            values[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {key}: the value is not YAML. Received: {value!r}") from None
    return values
