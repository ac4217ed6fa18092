"""Config files: found by path or shipped name, layered, overridden, checked; and their JSON schema."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from keras_vitser.errors import ConfigError
from keras_vitser.experiments.config.common import SPACE, Common, explain
from keras_vitser.experiments.config.layered_yaml import (
    Line,
    leaf_of,
    leaves,
    read_layers,
    same_keys,
    set_value,
    with_comments,
)
from keras_vitser.experiments.config.registry import CONFIGS, config_class
from keras_vitser.wording import nearest

DEFAULT, OVERRIDE, GIVEN = "default", "override", "given"
_NEAR = 0.6  # likeness of a path to a name that is meant


@dataclass(frozen=True)
class Resolved:
    """A config, and where each of its values comes from.

    Attributes:
        config: The checked `Config`.
        origins: From dotted key (`stages.student.epochs`) to `default`, `override`, file and line
            (`configs/savee.yaml:21`), or `given` for what came as a `Config`.
    """

    config: Common
    origins: dict[str, str]

    def to_yaml(self) -> str:
        """The config as YAML, every value spelled out and its origin beside it; `load_config` reads it back."""
        return with_comments(self.config.plain_values(), self.origins)


def load_config(source: "str | os.PathLike | Common | None" = None, overrides: dict[str, Any] | None = None) -> Common:
    """Reads and checks a config.

    Args:
        source: Path of a YAML file, the name of a shipped one (`savee`, `paper/alpha_0`, ...),
            a `Config`, or `None` for the defaults. `extends: other.yaml` in a file names
            the one that it is a variant of, relative to itself.
        overrides: Values by dotted key, `{"stages.student.epochs": 5}`.

    Returns:
        The checked `Config`.

    Raises:
        ConfigError: No such file, not YAML, an unknown key or a wrong value; the message
            names file and key, and the nearest known key.

    Example:
        >>> load_config(None, {"stages.student.epochs": 5}).stages.student.epochs
        5
    """
    return resolve_config(source, overrides).config


def resolve_config(
    source: "str | os.PathLike | Common | None" = None, overrides: dict[str, Any] | None = None
) -> Resolved:
    """Reads and checks a config as `load_config` does, and keeps where each value comes from.

    Args:
        source: As for `load_config`.
        overrides: As for `load_config`.

    Returns:
        A `Resolved`: the config, and the origin of each value.

    Raises:
        ConfigError: As for `load_config`.

    Example:
        >>> origins = resolve_config("demo", {"seed": 3}).origins
        >>> origins["seed"], origins["front_end.n_fft"]
        ('override', 'default')
    """
    name = "the config"
    if isinstance(source, Common):
        values = source.model_dump(by_alias=True)
        lines = same_keys(values, GIVEN)
    elif source is None:
        values, lines = {}, {}
    else:
        path = config_path(source)
        name, (values, lines) = str(path), read_layers(path)
    for key, value in (overrides or {}).items():
        origin = same_keys(value, OVERRIDE)
        if key.startswith(f"{SPACE}."):  # whose own keys have dots
            key, searched = SPACE, key.removeprefix(f"{SPACE}.")
            value, origin = {**_space(values), searched: value}, {**_space(lines), searched: origin}
        set_value(values, key, value)
        set_value(lines, key, origin)
    cls = config_class(values)
    try:
        config = cls.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{name}: " + explain(error, cls)) from None
    places = [place for place, _ in leaves(config.model_dump(by_alias=True))]
    return Resolved(config, {".".join(place): _origin(leaf_of(lines, place)) for place in places})


def stage_names(source: "str | os.PathLike | Common | None" = None, system: str | None = None) -> tuple[str, ...]:
    """The stages of a config that have settings, in their order.

    Args:
        source: As for `load_config`.
        system: Another system than that of `source`.

    Raises:
        ConfigError: No such file or system, or not YAML.

    Example:
        >>> stage_names()
        ('teacher', 'matching', 'student')
    """
    if isinstance(source, Common):
        return source.stage_names()
    values = {} if source is None else read_layers(config_path(source))[0]
    return config_class(values if system is None else {"system": system}).stage_names()


def config_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a config file, for editors.

    Example:
        >>> config_schema()["properties"]["seed"]["default"]
        0
    """
    any_config: Any = Union[tuple(CONFIGS.values())]  # noqa: UP007 of what is known at run time
    schema = TypeAdapter(any_config).json_schema(by_alias=True, schema_generator=_WithoutFieldTitles)
    base = {"type": "string", "description": "The file that this one is a variant of, relative to this one."}
    names = [config["$ref"].rpartition("/")[2] for config in schema.get("anyOf", ())]
    for config in [schema["$defs"][name] for name in names] or [schema]:
        config["properties"] = {"extends": base, **config["properties"]}
    return {"$schema": _WithoutFieldTitles.schema_dialect, **schema, "title": "A config of keras-vitser"}


def config_path(source: str | os.PathLike) -> Path:
    """The file that a path or a shipped name (`savee`, `paper/alpha_0`) means.

    Raises:
        ConfigError: There is neither.
    """
    path = Path(source)
    if path.is_file():
        return path
    shipped = _shipped()
    if path.as_posix() in shipped:
        return shipped[path.as_posix()]
    near = _nearest_name(path, shipped)
    hint = f" Did you mean {near!r}?" if near else ""
    raise ConfigError(
        f"{source}: there is no such config file, and no shipped config of that name.{hint} "
        f"Shipped are {', '.join(shipped)}"
    )


def _shipped() -> dict[str, Path]:
    """Files by name, which is the path below the folder of configs; those of sub-folders last."""
    files = {
        file.relative_to(folder).with_suffix("").as_posix(): file
        for folder in _shipped_folders()
        for file in folder.rglob("*.yaml")
    }
    return {name: files[name] for name in sorted(files, key=lambda name: (name.count("/"), name))}


def _nearest_name(path: Path, shipped: dict[str, Path]) -> str | None:
    """The name most like a path, as a whole or by its last part."""
    if whole := nearest(path.with_suffix("").as_posix() if path.name else "", shipped, cutoff=_NEAR):
        return whole
    by_last_part = {name.rpartition("/")[2]: name for name in reversed(shipped)}
    last = nearest(path.stem, by_last_part, cutoff=_NEAR)
    return by_last_part[last] if last else None


def _shipped_folders() -> list[Path]:
    package = Path(__file__).resolve().parents[2]
    return [folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir()]


def _origin(line: Line | str | None) -> str:
    if not isinstance(line, Line):
        return line or DEFAULT
    path = line.path
    for folder in (Path.cwd(), *(folder.parent for folder in _shipped_folders())):
        if path.is_relative_to(folder):
            path = path.relative_to(folder)
            break
    return f"{path.as_posix()}:{line.number}"


class _WithoutFieldTitles(GenerateJsonSchema):
    """Pydantic's schema without the titles that only repeat the names of the fields."""

    def field_title_should_be_set(self, schema):
        return False


def _space(tree: dict[str, Any]) -> dict[str, Any]:
    space = leaf_of(tree, tuple(SPACE.split(".")))
    return space if isinstance(space, dict) else {}
