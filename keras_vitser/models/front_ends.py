"""Front ends that a model folder may name: ours, and those that a process has registered."""

from pathlib import Path
from typing import Any

import keras

from keras_vitser.errors import ModelFolderError
from keras_vitser.layers import FrontEnd, LogMelImage

_OURS: dict[str, type[FrontEnd]] = {keras.saving.get_registered_name(cls): cls for cls in (LogMelImage,)}
_registered: dict[str, type[FrontEnd]] = {}


def register_front_end(cls: type[FrontEnd]) -> type[FrontEnd]:
    """Lets model folders name a front end of yours, in this process; presets from a hub take ours alone.

    Args:
        cls: A subclass of `keras_vitser.layers.FrontEnd`, registered with Keras.

    Returns:
        The class, so that this can be its decorator.

    Raises:
        ValueError: It is no such class.

    Example:
        >>> @register_front_end
        ... @keras.saving.register_keras_serializable(package="mine")
        ... class Mine(FrontEnd):
        ...     sampling_rate, clip_samples = 8000, None
    """
    is_one = isinstance(cls, type) and issubclass(cls, FrontEnd)
    name = keras.saving.get_registered_name(cls) if is_one else ""
    if ">" not in name:
        raise ValueError(
            "a front end is a subclass of keras_vitser.layers.FrontEnd that is registered with Keras "
            f"(@keras.saving.register_keras_serializable(package='NAME')). Received: {cls}"
        )
    _registered[name] = cls
    return cls


def registered_places() -> list[str]:
    """Where the registered front ends are defined, as `module:class`, for a process that shall know them too.

    Example:
        >>> all(":" in place for place in registered_places())
        True
    """
    return [f"{cls.__module__}:{cls.__qualname__}" for cls in _registered.values()]


def saved_front_end(front_end: FrontEnd) -> dict[str, Any]:
    """A front end as `recognizer.json` holds it: its registered class and its config.

    Example:
        >>> saved_front_end(LogMelImage())["registered_name"]
        'keras_vitser>LogMelImage'
    """
    return keras.saving.serialize_keras_object(front_end)


def loaded_front_end(saved: dict[str, Any], path: Path, *, ours_alone: bool = False) -> FrontEnd:
    """The front end that `saved_front_end` has written, or, without a class, one of format 1: a `LogMelImage`.

    Args:
        saved: What is in `recognizer.json`.
        path: That file, for messages.
        ours_alone: Bool. Whether classes that this process has registered are refused too.

    Raises:
        ModelFolderError: It names a class that is neither ours nor registered.
        ValueError, KeyError, TypeError, AttributeError: It is no front end's config.

    Example:
        >>> loaded_front_end(saved_front_end(LogMelImage(top_db=60.0)), Path("recognizer.json")).top_db
        60.0
    """
    if "registered_name" not in saved:
        return LogMelImage.from_config(saved)
    allowed = _OURS if ours_alone else {**_registered, **_OURS}
    name = saved["registered_name"]
    if name not in allowed:
        raise ModelFolderError(
            f"{path}: names the front end {str(name)[:80]!r}, and known here are {', '.join(allowed)}; "
            + ("presets take no others" if ours_alone else "register it with keras_vitser.models.register_front_end")
        )
    return allowed[name].from_config(saved["config"])
