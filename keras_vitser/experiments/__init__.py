"""Whole experiments: a config and recordings go in, a run folder comes out."""

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Config": "config",
    "Measured": "measuring",
    "Run": "experiment",
    "Tracked": "tracking.run_tracking",
    "evaluate_model": "measuring",
    "load_config": "config",
    "resume": "experiment",
    "run": "experiment",
    "track": "tracking.run_tracking",
}
__all__ = ["Config", "Measured", "Run", "Tracked", "evaluate_model", "load_config", "resume", "run", "track"]

if TYPE_CHECKING:
    from keras_vitser.experiments.config import Config, load_config
    from keras_vitser.experiments.experiment import Run, resume, run
    from keras_vitser.experiments.measuring import Measured, evaluate_model
    from keras_vitser.experiments.tracking.run_tracking import Tracked, track


def __getattr__(name: str) -> Any:
    if name == "tuning":  # needs the extra `tune`
        return importlib.import_module("keras_vitser.experiments.tuning")
    if name in _HOMES:
        return getattr(importlib.import_module(f"keras_vitser.experiments.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'keras_vitser.experiments' has no attribute {name!r}")
