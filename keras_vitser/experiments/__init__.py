"""Whole experiments: a config and recordings go in, a run folder comes out."""

import importlib

from keras_vitser.experiments.config import Config, load_config
from keras_vitser.experiments.experiment import Run, resume, run
from keras_vitser.experiments.measuring import Measured, evaluate_model
from keras_vitser.experiments.run_tracking import Tracked, track

__all__ = ["Config", "Measured", "Run", "Tracked", "evaluate_model", "load_config", "resume", "run", "track"]


def __getattr__(name: str):
    if name == "tuning":  # needs the extra `tune`
        return importlib.import_module("keras_vitser.experiments.tuning")
    raise AttributeError(f"module 'keras_vitser.experiments' has no attribute {name!r}")
