"""YAML files that extend one another, and for each value the file and line that it comes from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from keras_vitser.errors import ConfigError

_COMMENT_COLUMN = 60  # a longer line moves its own comment, not everyone's


class Line(NamedTuple):
    """Where a key stands: a file, and the number of a line in it, from 1."""

    path: Path
    number: int


def read_layers(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a file and those that it extends, what it states itself on top.

    Args:
        path: Path of a YAML file; its key `extends` names another, relative to itself.

    Returns:
        Two mappings of the same keys: the values, and for each the `Line` that its key stands on.

    Raises:
        ConfigError: A file is missing, cannot be read, is not YAML, holds no keys and values,
            gives a key twice or extends itself.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "mine.yaml"
        >>> _ = file.write_text("seed: 1\\nstages:\\n  student: {epochs: 5}\\n")
        >>> values, lines = read_layers(file)
        >>> values["stages"]["student"]["epochs"], lines["stages"]["student"]["epochs"].number
        (5, 3)
    """
    return _read(path, ())


def set_value(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets `values["a"]["b"]` for the key `a.b`. The dicts on the way are copied, for others may hold them too."""
    *sections, key = dotted.split(".")
    for section in sections:
        inner = values.get(section)
        values[section] = dict(inner) if isinstance(inner, dict) else {}
        values = values[section]
    values[key] = value


def same_keys(value: Any, leaf: Any) -> Any:
    """A mapping of the keys of `value`, with `leaf` for every value that is no mapping itself."""
    return {key: same_keys(inner, leaf) for key, inner in value.items()} if isinstance(value, dict) else leaf


def leaf_of(tree: Any, place: tuple[str, ...]) -> Any:
    """What stands at a place of a mapping of mappings, or on the way to it; `None` where nothing does."""
    for key in place:
        if not isinstance(tree, dict):
            break
        tree = tree.get(key)
    return tree


def leaves(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Pairs (place, value) of what is no section, in order."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def with_comments(values: dict[str, Any], comments: dict[str, str]) -> str:
    """YAML, a value a line, each with the comment of its dotted key.

    Example:
        >>> print(with_comments({"corpus": {"name": "demo"}, "seed": 0}, {"corpus.name": "a", "seed": "b"}))
        corpus:
          name: demo  # a
        seed: 0       # b
        <BLANKLINE>
    """
    rows: list[tuple[str, str]] = []
    section: tuple[str, ...] = ()
    for place, value in leaves(values):
        *above, key = place
        common = next((i for i, (a, b) in enumerate(zip(section, above, strict=False)) if a != b), len(section))
        rows.extend(("  " * depth + f"{_flow(above[depth])}:", "") for depth in range(common, len(above)))
        rows.append(("  " * len(above) + f"{_flow(key)}: {_flow(value)}", comments.get(".".join(place), "")))
        section = tuple(above)
    column = max((len(text) for text, comment in rows if comment and len(text) <= _COMMENT_COLUMN), default=0)
    return "".join((f"{text:<{column}}  # {comment}" if comment else text) + "\n" for text, comment in rows)


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    options = {"default_flow_style": True, "allow_unicode": True, "width": float("inf")}
    text = yaml.safe_dump([value], **options).strip()
    if "\n" in text:
        text = yaml.safe_dump([value], default_style='"', **options).strip()
    return text[1:-1]


class _UniqueKeys(yaml.SafeLoader):
    """YAML as it is defined, where PyYAML takes the last of two equal keys and says nothing."""

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return node


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path}: extends itself, by way of {', '.join(str(other) for other in seen)}")
    try:
        values, lines = _load(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file, named in `extends` of {seen[-1]}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place else ""
        raise ConfigError(f"{path}: is not YAML{line} ({getattr(error, 'problem', error)})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold keys and values. Received: {type(values).__name__}")
    base = values.pop("extends", None)
    lines.pop("extends", None)
    if base is None:
        return values, lines
    base_values, base_lines = _read(path.parent / str(base), (*seen, path))
    return _merged(base_values, values), _merged(base_lines, lines)


def _load(path: Path) -> tuple[Any, Any]:
    loader = _UniqueKeys(path.read_text(encoding="utf-8"))
    try:
        node = loader.get_single_node()
        values = None if node is None else loader.construct_document(node)  # writes merge keys (<<) out in the nodes
        if values is None:
            return {}, {}
        return values, _lines(node, loader, path, {}) if isinstance(values, dict) else {}
    finally:
        loader.dispose()


def _lines(node: yaml.MappingNode, loader: _UniqueKeys, path: Path, known: dict) -> dict[str, Line | dict]:
    """The tree of nodes as a mapping from key to `Line`. `known`: an alias is one node at two places, or a circle."""
    if node in known:
        return known[node]
    lines = known[node] = {}
    for key, value in node.value:
        is_section = value.tag == yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG
        line = _lines(value, loader, path, known) if is_section else Line(path, key.start_mark.line + 1)
        lines[loader.construct_object(key, deep=True)] = line
    return lines


def _merged(base: dict, variant: dict) -> dict:
    merged = dict(base)
    for key, value in variant.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
