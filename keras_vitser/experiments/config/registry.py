"""The configs by the name of their system."""

from typing import Any

from keras_vitser.errors import ConfigError
from keras_vitser.experiments.config.common import Common
from keras_vitser.experiments.config.vit_ser import Config
from keras_vitser.wording import did_you_mean

CONFIGS: dict[str, type[Common]] = {"vit_ser": Config}
"""The configs by the name of their system; importing Keras is not needed to check one."""


def config_class(values: dict[str, Any]) -> type[Common]:
    """The class that a config's values belong to, by its key `system`.

    Raises:
        ConfigError: There is no such system.

    Example:
        >>> config_class({}).__name__
        'Config'
    """
    name = values.get("system", "vit_ser")
    if not isinstance(name, str) or name not in CONFIGS:
        raise ConfigError(
            f"system: must be one of {', '.join(CONFIGS)}. Received: {name!r}.{did_you_mean(name, CONFIGS)}"
        )
    return CONFIGS[name]
