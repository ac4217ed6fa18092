"""Whole experiments: a config and recordings go in, a run folder comes out."""

from keras_vitser.experiments.config import Config, load_config
from keras_vitser.experiments.experiment import Run, run

__all__ = ["Config", "Run", "load_config", "run"]
