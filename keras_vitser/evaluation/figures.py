"""Pictures of a run. Drawn on figures of their own, so that nothing of pyplot changes."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vitser.evaluation.metrics import Scores
from keras_vitser.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 120
_CELL = 0.55  # inches a class
_WIDEST = 13.2  # inches; a wider picture is shrunk by the page until nobody can read it
_CHARACTER = 0.085  # inches, of the default font at 10 points
_NAME_LENGTH = 22  # characters a line of a class name
_LOSSES = {
    "loss": ("total loss", "0.55"),
    "label_loss": ("label loss", "C0"),
    "feature_loss": ("feature loss (L1)", "C1"),
    "validation_loss": ("label loss, validation", "C3"),
}
_ACCURACIES = {
    "accuracy": ("WA, training", "0.55"),
    "validation_weighted_accuracy": ("WA, validation", "C0"),
    "validation_unweighted_accuracy": ("UA, validation", "C2"),
}


def confusion_figure(scores: Scores, label_names: Sequence[str], title: str) -> "Figure":
    """The confusion matrix: counts in the cells, colour by share of the true class.

    Args:
        scores: What to draw.
        label_names: Names of the classes; long ones are broken into lines, three at most.
        title: What was measured and by which protocol. Scores and chance follow below it.

    Raises:
        ValueError: There are more or fewer names than classes.

    Example:
        >>> from keras_vitser.evaluation import score
        >>> scores = score(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), ["calm", "upset"])
        >>> [text.get_text() for text in confusion_figure(scores, ["calm", "upset"], "Two clips").axes[0].texts]
        ['1', '0', '0', '1']
    """
    counts = np.array(scores.confusion)
    if len(label_names) != len(counts):
        raise ValueError(f"`label_names` must name {len(counts)} classes. Received: {list(label_names)}")
    names = [_lines(name, _NAME_LENGTH, 3) for name in label_names]
    margin = _CHARACTER * max(len(line) for name in names for line in name.split("\n"))
    side = max(_CELL * len(names), 2.5)
    figure = new_figure((side + margin + 1.6, side + 0.75 * margin + 1.6))
    axes = figure.subplots()
    picture = _draw_cells(axes, counts)
    slant = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    upright = {"rotation": 90}  # slanted names of several lines would run into each other
    # parse_math=False: a dollar sign in a name is a dollar sign.
    axes.set_xticks(range(len(names)), names, **(upright if "\n" in "".join(names) else slant), parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    colours = figure.colorbar(picture, ax=axes, fraction=0.046, label="share of the true class")
    colours.ax.yaxis.set_major_formatter("{x:.0%}")
    title_length = int(figure.get_figwidth() / _CHARACTER)
    text = "\n".join(_lines(line, title_length, 4) for line in [title, *_score_lines(scores)])
    figure.suptitle(text, fontsize=10, parse_math=False)
    return figure


def learning_curves_figure(
    progress: list[dict[str, Any]], stages: Mapping[str, tuple[str, str]] | None = None
) -> "Figure":
    """Losses and accuracies by epoch, a column a stage: losses above, accuracies below.

    Args:
        progress: Rows of a run's `progress.jsonl`: `stage`, `epoch` from 1, and any of `loss`, `label_loss`,
            `feature_loss`, `validation_loss` (nats or L1), `accuracy`, `validation_weighted_accuracy` and
            `validation_unweighted_accuracy` (0..1). What a row lacks is not drawn.
        stages: By name, the title of each stage and what its `loss` is where it has no parts (`label_loss`,
            `feature_loss`), or `""` for a sum; they are drawn in this order. Defaults to those of the rows, by their
            names.

    Raises:
        ValueError: No row belongs to a known stage.

    Example:
        >>> rows = [{"stage": "teacher", "epoch": 1, "loss": 2.0}, {"stage": "teacher", "epoch": 2, "loss": 1.0}]
        >>> [axes.get_title() for axes in learning_curves_figure(rows, {"teacher": ("(a) teacher", "label_loss")}).axes]
        ['(a) teacher']
    """
    if stages is None:
        stages = {row["stage"]: (row["stage"], "") for row in progress}
    rows_of = {stage: [row for row in progress if row["stage"] == stage] for stage in stages}
    drawn = [stage for stage, rows in rows_of.items() if rows]
    if not drawn:
        raise ValueError(
            f"`progress` must hold rows of the stages {', '.join(stages)}. "
            f"Received: {len(progress)} rows of {sorted({str(row['stage']) for row in progress})}"
        )
    has_accuracies = any(key in row for row in progress for key in _ACCURACIES)
    height = 2 if has_accuracies else 1
    figure = new_figure((min(4.4 * len(drawn), _WIDEST), 3.2 * height))
    grid = figure.add_gridspec(height, len(drawn))
    for column, stage in enumerate(drawn):
        axes = figure.add_subplot(grid[0, column])
        title, loss = stages[stage]
        axes.set_title(title)
        _curves(axes, rows_of[stage], _losses_of(rows_of[stage], loss))
        axes.update_datalim([(1, 0)])
        axes.autoscale_view()
        axes.set_ylim(bottom=0)
        if any(key in row for row in rows_of[stage] for key in _ACCURACIES):
            axes = figure.add_subplot(grid[1, column])
            _curves(axes, rows_of[stage], _ACCURACIES)
            axes.set_ylim(0, 1.02)
            axes.yaxis.set_major_formatter("{x:.0%}")
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike) -> None:
    """Writes a figure as PNG, 120 dots an inch, whole or not at all.

    The same figure gives the same bytes: neither date nor software is written into the file.

    Args:
        figure: What to write.
        path: The PNG file; its folder must exist.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "curves.png"
        >>> rows = [{"stage": "teacher", "epoch": 1, "loss": 2.0}]
        >>> save_figure(learning_curves_figure(rows, {"teacher": ("(a) teacher", "label_loss")}), path)
        >>> path.read_bytes()[1:4]
        b'PNG'
    """
    with whole_file(path) as part:
        figure.savefig(part, dpi=_DPI, format="png", metadata={"Software": None})


def _draw_cells(axes, counts):
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.55 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=9)
    return picture


def _score_lines(scores: Scores) -> list[str]:
    chance = scores.chance
    return [
        f"UA {_percent(scores.unweighted_accuracy)} (chance {_percent(chance['uniform'])}), {scores.clips} clips",
        f"WA {_percent(scores.weighted_accuracy)} (chance {_percent(chance['largest_class'])})",
    ]


def _losses_of(rows, loss):
    """The losses to draw; of a sum with one part, the part only."""
    parts = [key for key in ("label_loss", "feature_loss") if any(key in row for row in rows)]
    if len(parts) == 1:
        return {key: curve for key, curve in _LOSSES.items() if key != "loss"}
    if not parts and loss:
        return {**_LOSSES, "loss": _LOSSES[loss]}
    return _LOSSES


def _curves(axes, rows, curves):
    from matplotlib.ticker import MaxNLocator

    for key, (name, colour) in curves.items():
        points = [(row["epoch"], row[key]) for row in rows if key in row]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", markersize=4, color=colour, label=name)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _lines(text: str, width: int, limit: int) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=limit, placeholder=" …"))


def new_figure(size: tuple[float, float]) -> "Figure":
    """An empty figure of a width and a height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
