"""Configs: YAML files, found, layered and checked by one schema a system."""

from keras_vitser.experiments.config.common import Common
from keras_vitser.experiments.config.files import (
    OVERRIDE,
    Resolved,
    config_schema,
    load_config,
    resolve_config,
    stage_names,
)
from keras_vitser.experiments.config.registry import CONFIGS
from keras_vitser.experiments.config.sections import (
    Section,
    StageSection,
    TrackingSection,
    TuningSection,
    ValueRange,
)
from keras_vitser.experiments.config.vit_ser import Config

__all__ = [
    "CONFIGS",
    "OVERRIDE",
    "Common",
    "Config",
    "Resolved",
    "Section",
    "StageSection",
    "TrackingSection",
    "TuningSection",
    "ValueRange",
    "config_schema",
    "load_config",
    "resolve_config",
    "stage_names",
]
