"""A run that diverged: what it says, and the one value with which it may go on."""

import shlex
from typing import Any

from keras_vitser.errors import ConfigError, DivergedError
from keras_vitser.experiments.config import Common, load_config
from keras_vitser.experiments.run_folder import RunFolder
from keras_vitser.experiments.systems import Stage, stages_to, system_of
from keras_vitser.experiments.tracking import run_tracking
from keras_vitser.training.divergence import Divergence, divergences

_HIGHEST_ADVISED = 1e-4


def standing(folder: RunFolder, config: Common) -> Divergence | None:
    """The stop of the stage that diverged with the learning rate that the config still has."""
    for row in divergences(folder.checkpoints):
        if row.learning_rate == config.value_at(_key(row.stage)):
            return row
    return None


def diverged_error(folder: RunFolder, config: Common, error: DivergedError) -> DivergedError:
    """The error of a stage, with what to do."""
    if error.learning_rate is None:
        return error.advising(
            "the weights that it began with, or the recordings, are to blame; begin a new run, with a lower learning "
            "rate of the stage before"
        )
    stage = _stage(config, error.stage)
    if stage.no_other_rate:
        return error.advising(stage.no_other_rate)
    lower, path = min(error.learning_rate / 10, _HIGHEST_ADVISED), shlex.quote(str(folder.path))
    return error.advising(
        "go on from its last finite state with a lower one: "
        f"keras-vitser train --resume {path} --set {_key(stage.name)}={lower:g}"
    )


def with_other_rate(folder: RunFolder, config: Common, overrides: dict[str, Any]) -> Common:
    """The config of a run that diverged with another learning rate of that stage, which is written to the folder.

    Args:
        folder: The run folder, locked.
        config: Its config.
        overrides: That one value, by dotted key.

    Raises:
        ConfigError: It is another, is not possible, or is one that the stage diverged with; or the run did not diverge.
    """
    stop, given = standing(folder, config), ", ".join(overrides)
    if stop is None:
        raise ConfigError(
            "--resume goes on with a run as it began; only where a stage diverged may its learning rate be changed, "
            f"and no stage of {folder.path} did. Leave out: {given}"
        )
    if stop.epoch_rate is None or _stage(config, stop.stage).no_other_rate:
        raise ConfigError(f"--resume goes on with a run as it began: {diverged_error(folder, config, stop.error)}")
    key = _key(stop.stage)
    if list(overrides) != [key]:
        raise ConfigError(
            "--resume goes on with a run as it began, but for the learning rate of the stage that diverged: "
            f"--set {key}=VALUE. Received: {given}"
        )
    changed = load_config(folder.path / "config.yaml", overrides)
    if standing(folder, changed):
        raise ConfigError(f"{key}: the stage diverged with {overrides[key]}; give a lower value")
    folder.write_text("config.yaml", changed.to_yaml())
    run_tracking.forget(folder)  # MLflow lets no parameter change: its run of before stays failed, with the old value
    return changed


def told(folder: RunFolder, config: Common, role: str) -> list[str]:
    """A sentence for each stop on the way to the network of a role."""
    stages = [stage.name for stage in stages_to(system_of(config), role)]
    return [
        f"{_sentence(row.message)} It went on from epoch {row.epoch}, step {row.step}, "
        f"and ended with the learning rate {config.value_at(_key(row.stage)):g}."
        for row in divergences(folder.checkpoints)
        if row.stage in stages
    ]


def _stage(config: Common, name: str | None) -> Stage:
    return next(stage for stage in system_of(config).stages if stage.name == name)


def _key(stage: str) -> str:
    return f"stages.{stage}.learning_rate"


def _sentence(message: str) -> str:
    return message[:1].upper() + message[1:] + "."
