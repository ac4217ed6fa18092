"""The systems that an experiment can train, one file each: front end, networks by role, stages, words."""

from keras_vitser.experiments.systems.registry import SYSTEMS, register_system, system_of
from keras_vitser.experiments.systems.system import Given, Stage, System, stage_of, stages_to

__all__ = ["SYSTEMS", "Given", "Stage", "System", "register_system", "stage_of", "stages_to", "system_of"]
