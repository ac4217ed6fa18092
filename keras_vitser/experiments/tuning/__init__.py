"""Search for the best settings of a network with KerasTuner (the extra `tune`)."""

from keras_vitser.experiments.tuning.hypermodel import SystemHyperModel
from keras_vitser.experiments.tuning.search import Search, tune
from keras_vitser.experiments.tuning.trials import OBJECTIVE, Trial

ViTSERHyperModel = SystemHyperModel  # its name while there was one system

__all__ = ["OBJECTIVE", "Search", "SystemHyperModel", "Trial", "ViTSERHyperModel", "tune"]
