"""Whole experiments: a config and recordings go in, a run folder comes out."""

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Config": "config",
    "FoldsRun": "folds",
    "Measured": "measuring",
    "Run": "experiment",
    "Tracked": "tracking.run_tracking",
    "evaluate_model": "measuring",
    "load_config": "config",
    "resume": "experiment",
    "resume_folds": "folds",
    "run": "experiment",
    "run_folds": "folds",
    "track": "tracking.run_tracking",
}
__all__ = [
    "Config",
    "FoldsRun",
    "Measured",
    "Run",
    "Tracked",
    "evaluate_model",
    "load_config",
    "resume",
    "resume_folds",
    "run",
    "run_folds",
    "track",
]

if TYPE_CHECKING:
    from keras_vitser.experiments.config import Config, load_config
    from keras_vitser.experiments.experiment import Run, resume, run
    from keras_vitser.experiments.folds import FoldsRun, resume_folds, run_folds
    from keras_vitser.experiments.measuring import Measured, evaluate_model
    from keras_vitser.experiments.tracking.run_tracking import Tracked, track


def __getattr__(name: str) -> Any:
    if name == "tuning":  # needs the extra `tune`
        return importlib.import_module("keras_vitser.experiments.tuning")
    if name in _HOMES:
        return getattr(importlib.import_module(f"keras_vitser.experiments.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'keras_vitser.experiments' has no attribute {name!r}")
