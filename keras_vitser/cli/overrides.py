"""The options that change a config, and what they make of it; `train` and `config show` share them."""

from typing import Any

import typer

from keras_vitser.errors import ConfigError

EPOCHS = typer.Option(None, help="Epochs of the stages teacher,matching,student; e.g. 5,5,5.")
BATCH_SIZE = typer.Option(None, help="Clips a batch, in all stages. The paper's is 4.")
PROTOCOL = typer.Option(None, help="paper (leaky), random, speaker_independent or leave_one_speaker_out.")
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

_STAGES = ("teacher", "matching", "student")


def of_corpus(**options: bool) -> dict[str, Any]:
    """The options that were given, as values of the config's section `corpus`, which has them under the same names.

    Example:
        >>> of_corpus(labels_as_written=True)
        {'corpus.labels_as_written': True}
    """
    return {f"corpus.{name}": True for name, given in options.items() if given}


def overrides_of(
    epochs: str | None, batch_size: int | None, protocol: str | None, seed: int | None, assignments: list[str]
) -> dict[str, Any]:
    """The options as values by dotted key, for `load_config`; `--set` goes before the short ones.

    Raises:
        ConfigError: `--epochs` is not three whole numbers, or a `--set` is not KEY=VALUE with a YAML value.

    Example:
        >>> overrides_of(None, None, None, 1, ["stages.student.alpha=0.5"])
        {'seed': 1, 'stages.student.alpha': 0.5}
    """
    import yaml

    overrides: dict[str, Any] = {}
    if epochs is not None:
        counts = epochs.split(",")
        if len(counts) != len(_STAGES) or not all(count.strip().isdigit() for count in counts):
            raise ConfigError(f"--epochs takes three whole numbers, teacher,matching,student. Received: {epochs!r}")
        overrides |= {f"stages.{stage}.epochs": int(count) for stage, count in zip(_STAGES, counts, strict=True)}
    if batch_size is not None:
        overrides |= {f"stages.{stage}.batch_size": batch_size for stage in _STAGES}
    if protocol is not None:
        # The config's own folds and speakers belong to its own protocol.
        overrides["protocol"] = {"name": protocol}
    if seed is not None:
        overrides["seed"] = seed
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator or not key:
            raise ConfigError(f"--set takes KEY=VALUE, for instance seed=1. Received: {assignment!r}")
        try:
            overrides[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {key}: the value is not YAML. Received: {value!r}") from None
    return overrides
