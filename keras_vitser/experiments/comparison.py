"""What differs between two runs, read from their run folders."""

import os
from dataclasses import asdict, dataclass
from typing import Any

from keras_vitser.experiments.config import load_config
from keras_vitser.experiments.config.layered_yaml import leaves
from keras_vitser.experiments.run_folder import RunFolder, scored

_SCORES = ("unweighted_accuracy", "weighted_accuracy", "macro_f1", "clips", "chance")
_ENVIRONMENT = ("keras_vitser", "git_commit", "backend", "python", "system")


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side; each value is a pair, first and second, `None` where a run lacks it.

    Attributes:
        runs: Names of the run folders.
        config: The values of the config that differ, by dotted key.
        scores: By role (`teacher`, `student`, ...), the scores of each run: `unweighted_accuracy`,
            `weighted_accuracy`, `macro_f1` (0..1), `clips`, `chance`, `protocol`, `leaky`.
        split: By part, the number of its examples in each run, and of those that both have; only parts that differ.
        not_comparable: Why the scores cannot be compared, or `""`.
        versions: Versions, backend and system that differ.

    Example:
        >>> Comparison(("one", "two"), {}, {}, {}, "", {}).to_dict()["runs"]
        ['one', 'two']
    """

    runs: tuple[str, str]
    config: dict[str, tuple[Any, Any]]
    scores: dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]]
    split: dict[str, dict[str, int]]
    not_comparable: str
    versions: dict[str, tuple[Any, Any]]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values for JSON."""
        return _plain(asdict(self))


def compare(first: str | os.PathLike, second: str | os.PathLike) -> Comparison:
    """Compares two runs; one that has not ended has no scores.

    Args:
        first: A run folder.
        second: Another.

    Raises:
        RunFolderError: One is no run folder, or a file in it cannot be read.
    """
    folders = RunFolder.open(first), RunFolder.open(second)
    configs = [_config(folder) for folder in folders]
    environments = [_environment(folder) for folder in folders]
    splits = [folder.split_parts() for folder in folders]
    corpora = [config["corpus.name"] for config in configs]
    return Comparison(
        runs=(folders[0].path.resolve().name, folders[1].path.resolve().name),
        config=_differing(*configs),
        scores=_scores(folders),
        split=_split(*splits),
        not_comparable=_not_comparable(corpora, [_examples(parts, "test") for parts in splits]),
        versions=_differing(*environments),
    )


def _config(folder: RunFolder) -> dict[str, Any]:
    values = load_config(folder.path / "config.yaml").model_dump(mode="json", by_alias=True)
    return {".".join(place): value for place, value in leaves(values)}


def _environment(folder: RunFolder) -> dict[str, Any]:
    environment = folder.read_json("environment.json")
    return {key: environment.get(key) for key in _ENVIRONMENT} | environment["versions"]


def _differing(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    pairs = {key: (first.get(key), second.get(key)) for key in {**first, **second}}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _scores(folders: tuple[RunFolder, RunFolder]) -> dict[str, tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    first, second = (folder.read_json("metrics.json") if folder.finished else {} for folder in folders)
    return {
        role: (_scores_of(first, role), _scores_of(second, role))
        for role in dict.fromkeys([*scored(first), *scored(second)])
    }


def _scores_of(metrics: dict[str, Any], role: str) -> dict[str, Any] | None:
    if role not in metrics:
        return None
    return {key: metrics[role][key] for key in _SCORES} | {key: metrics[key] for key in ("protocol", "leaky")}


def _examples(parts: dict[str, list[list[str]]], part: str) -> set[tuple[str, ...]]:
    return {tuple(row) for row in parts.get(part, [])}


def _split(first: dict[str, list[list[str]]], second: dict[str, list[list[str]]]) -> dict[str, dict[str, int]]:
    parts = {}
    for part in ("train", "validation", "test"):
        ours, theirs = _examples(first, part), _examples(second, part)
        if ours != theirs:
            parts[part] = {"first": len(ours), "second": len(theirs), "both": len(ours & theirs)}
    return parts


def _not_comparable(corpora: list[str], tests: list[set[tuple[str, ...]]]) -> str:
    if corpora[0] != corpora[1]:
        return f"other corpora, {corpora[0]} and {corpora[1]}"
    if tests[0] != tests[1]:
        both = len(tests[0] & tests[1])
        return f"other test clips; of {len(tests[0])} and {len(tests[1])} they share {both}"
    return ""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
