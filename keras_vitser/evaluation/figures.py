"""Pictures of a run. Drawn on figures of their own, so that nothing of pyplot changes."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_vitser.evaluation.metrics import Scores
from keras_vitser.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 120
_STAGES = {"teacher": "(a) teacher", "matching": "(b) matching", "student": "(c) student"}
_CURVES = {
    "label_loss": "label loss",
    "feature_loss": "feature loss (L1)",
    "validation_loss": "validation label loss",
    "validation_unweighted_accuracy": "validation UA",
}


def confusion_figure(scores: Scores, label_names: Sequence[str], title: str) -> "Figure":
    """The confusion matrix: counts in the cells, colour by share of the true class.

    Args:
        scores: What to draw.
        label_names: Names of the classes.
        title: What was measured, first line; scores and chance follow below it.

    Example:
        >>> from keras_vitser.evaluation import score
        >>> scores = score(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), ["calm", "upset"])
        >>> [text.get_text() for text in confusion_figure(scores, ["calm", "upset"], "Two clips").axes[0].texts]
        ['1', '0', '0', '1']
    """
    counts = np.array(scores.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 3.2 + 0.55 * len(label_names)
    figure = _figure((side + 0.6, side))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    places = range(len(label_names))
    axes.set_xticks(places, label_names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, label_names)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    axes.set_title(
        f"{title}\nUA {scores.unweighted_accuracy:.1%} (chance {scores.chance['uniform']:.1%}), "
        f"WA {scores.weighted_accuracy:.1%}\n(chance {scores.chance['largest_class']:.1%}), {scores.clips} clips",
        fontsize="medium",
    )
    return figure


def learning_curves_figure(progress: list[dict[str, Any]]) -> "Figure":
    """Losses and validation UA by epoch, a panel a stage.

    Args:
        progress: Rows of a run's `progress.jsonl`: `stage`, `epoch`, and losses and scores.

    Example:
        >>> rows = [{"stage": "teacher", "epoch": 1, "loss": 2.0}, {"stage": "teacher", "epoch": 2, "loss": 1.0}]
        >>> len(learning_curves_figure(rows).axes)
        1
    """
    stages = [stage for stage in _STAGES if any(row["stage"] == stage for row in progress)]
    figure = _figure((4.6 * max(len(stages), 1), 3.6))
    for axes, stage in zip(np.atleast_1d(figure.subplots(1, len(stages))), stages, strict=True):
        rows = [row for row in progress if row["stage"] == stage]
        # The teacher's one loss is its label loss; the other stages' is a weighted sum of their parts.
        curves = {"loss": "label loss", **_CURVES} if stage == "teacher" else _CURVES
        for key, name in curves.items():
            _curve(axes, rows, key, name)
        axes.set_title(_STAGES[stage])
        axes.set_xlabel("epoch")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike) -> None:
    """Writes a figure as PNG, whole or not at all; the same figure gives the same bytes."""
    with whole_file(path) as part:
        figure.savefig(part, dpi=_DPI, format="png", metadata={"Software": None})


def _curve(axes, rows, key, name):
    points = [(row["epoch"], row[key]) for row in rows if key in row]
    if points:
        axes.plot(*zip(*points, strict=True), marker=".", label=name)


def _figure(size: tuple[float, float]) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
