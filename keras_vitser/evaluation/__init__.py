"""Scores beside chance, pictures, and the report of a run."""

from keras_vitser.evaluation.figures import confusion_figure, learning_curves_figure, save_figure
from keras_vitser.evaluation.intervals import bootstrap_interval, wilson_interval
from keras_vitser.evaluation.metrics import (
    Scores,
    confusion_matrix,
    protocol_said,
    score,
    sentence,
    unweighted_accuracy,
    weighted_accuracy,
)
from keras_vitser.evaluation.report import write_report

__all__ = [
    "Scores",
    "bootstrap_interval",
    "confusion_figure",
    "confusion_matrix",
    "learning_curves_figure",
    "protocol_said",
    "save_figure",
    "score",
    "sentence",
    "unweighted_accuracy",
    "weighted_accuracy",
    "wilson_interval",
    "write_report",
]
