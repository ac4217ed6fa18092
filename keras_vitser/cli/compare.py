"""`keras-vitser compare`."""

from pathlib import Path
from typing import Any

import typer

from keras_vitser.cli.backend import choose_backend
from keras_vitser.cli.console import out
from keras_vitser.files import strict_json

_NAMES = {"unweighted_accuracy": "UA", "weighted_accuracy": "WA", "macro_f1": "macro F1"}


def compare(
    first: Path = typer.Argument(help="A run folder."),
    second: Path = typer.Argument(help="Another one."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Print what differs between two runs: config, scores, split, versions.

    Example: keras-vitser compare runs/RUN runs/OTHER
    """
    choose_backend(None)
    from keras_vitser.experiments.comparison import compare as compare_runs

    found = compare_runs(first, second)
    if as_json:
        print(strict_json(found.to_dict(), ensure_ascii=False))
        return
    for number, name in zip(("first", "second"), found.runs, strict=True):
        out.print(f"{number}: {name}", markup=False)
    _pairs("config", found.config)
    _scores(found)
    for part, counts in found.split.items():
        line = f"{part}: {counts['first']} and {counts['second']} examples, {counts['both']} in both"
        out.print(f"split, {line}", markup=False)
    _pairs("versions", found.versions)


def _pairs(title: str, pairs: dict[str, tuple[Any, Any]]) -> None:
    if not pairs:
        out.print(f"\n{title}: no difference", markup=False)
        return
    _table((title, "first", "second"), [(key, *(_said(value) for value in pair)) for key, pair in pairs.items()])


def _scores(found) -> None:
    rows = []
    for role, pair in found.scores.items():
        for number, scores in zip(("first", "second"), pair, strict=True):
            rows.append((role, number, *(_scores_said(scores) if scores else ("-",) * 6)))
    for place, name in enumerate(("first", "second")):
        lacking = [role for role, pair in found.scores.items() if pair[place] is None]
        if 0 < len(lacking) < len(found.scores):
            out.print(f"\nthe {name} run has no {' and no '.join(_network(role) for role in lacking)}", markup=False)
    if rows:
        _table(("scores", "run", *_NAMES.values(), "chance UA / WA", "clips", "protocol"), rows)
    else:
        out.print("\nscores: neither run has ended", markup=False)
    if found.not_comparable:
        out.print(f"not comparable: {found.not_comparable}", markup=False)


def _scores_said(scores: dict[str, Any]) -> tuple[str, ...]:
    chance = " / ".join(_percent(scores["chance"][key]) for key in ("uniform", "largest_class"))
    protocol = scores["protocol"] + (" LEAKY" if scores["leaky"] else "")
    return (*(_percent(scores[key]) for key in _NAMES), chance, str(scores["clips"]), protocol)


def _network(role: str) -> str:
    return role.replace("_", " ")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _said(value: Any) -> str:
    return "-" if value is None else str(value)


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    out.print()
    out.print(table)
