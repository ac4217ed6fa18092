"""The systems by name."""

from keras_vitser.experiments.config import CONFIGS, Common
from keras_vitser.experiments.systems.system import System
from keras_vitser.experiments.systems.vit_ser import VitSer

SYSTEMS: dict[str, System] = {system.name: system for system in (VitSer(),)}


def register_system(system: System, config: type[Common]) -> None:
    """Lets configs name a system of yours, in this process.

    Args:
        system: The system; its `name` is the value of the config's key `system`.
        config: The class of its configs.
    """
    SYSTEMS[system.name], CONFIGS[system.name] = system, config


def system_of(config: Common) -> System:
    """The system that a config trains.

    Example:
        >>> from keras_vitser.experiments.config import Config
        >>> system_of(Config()).title
        'ViT-SER'
    """
    return SYSTEMS[config.system]
