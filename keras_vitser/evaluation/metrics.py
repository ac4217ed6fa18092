"""How well a network hears: accuracies beside chance, with intervals, a class and a speaker at a time.

Weighted accuracy (WA) is the share of clips that are right. Unweighted accuracy (UA) is the
mean of the recalls of the classes, whatever their sizes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from keras_vitser.evaluation.intervals import bootstrap_interval, wilson_interval

_SMALLEST_PROBABILITY = 1e-12  # keeps the log loss of a sure and wrong answer finite
_ROW_SUM_TOLERANCE = 1e-2  # probabilities may come from a float16 softmax


@dataclass(frozen=True)
class Scores:
    """The scores of one network on one set of clips.

    Attributes:
        clips: Number of clips.
        weighted_accuracy: Share of clips that are right (WA), 0..1.
        weighted_accuracy_interval: Its 95 % interval (Wilson).
        unweighted_accuracy: Mean recall of the classes that have clips (UA), 0..1.
        unweighted_accuracy_interval: Its 95 % interval (bootstrap over clips within class).
        macro_f1: Mean F1 of the classes that occur as label or answer, 0..1.
        chance: `largest_class`, the WA of always guessing the largest class of these clips, and
            `uniform`, the expected WA and UA of a uniform guess (1 / classes).
        log_loss: Mean cross-entropy, nats. A uniform guess has log(classes).
        per_class: One dict a class: `label`, `clips`, `recall`, `precision`, `f1`; `None` where
            undefined (recall without clips, precision without answers, F1 without either).
        per_speaker: One dict a speaker, by name: `speaker`, `clips`, `weighted_accuracy`,
            `unweighted_accuracy`. Empty where speakers are not known.
        confusion: Counts, rows are true classes, columns answers.

    Example:
        >>> scores = score([0, 1], [[0.9, 0.1], [0.8, 0.2]], ["calm", "upset"])
        >>> scores.confusion
        [[1, 0], [1, 0]]
    """

    clips: int
    weighted_accuracy: float
    weighted_accuracy_interval: tuple[float, float]
    unweighted_accuracy: float
    unweighted_accuracy_interval: tuple[float, float]
    macro_f1: float
    chance: dict[str, float]
    log_loss: float
    per_class: list[dict[str, Any]]
    per_speaker: list[dict[str, Any]]
    confusion: list[list[int]]

    def to_dict(self) -> dict[str, Any]:
        """The scores as plain values for JSON (pairs as lists)."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def score(
    labels: np.ndarray,
    probabilities: np.ndarray,
    label_names: Sequence[str],
    speakers: Sequence[str] | None = None,
) -> Scores:
    """Measures a network's answers.

    Args:
        labels: Int array `(clips,)`, the true classes.
        probabilities: Float array `(clips, classes)`, rows summing to 1. The largest is the answer;
            of equals, the first.
        label_names: Names of the classes.
        speakers: Who speaks in each clip, or `None` where that is not known.

    Returns:
        The `Scores`.

    Raises:
        ValueError: There is no clip, shapes do not fit, a label is out of range, or the
            probabilities are none (NaN, negative, rows that do not sum to 1).

    Example:
        >>> scores = score(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]), ["a", "b"])
        >>> round(scores.weighted_accuracy, 3), scores.unweighted_accuracy, scores.chance["uniform"]
        (0.667, 0.75, 0.5)
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    _check_shapes(labels, probabilities, label_names, speakers)
    _check_values(labels, probabilities, len(label_names))
    classes = len(label_names)
    answers = probabilities.argmax(axis=1)
    matrix = confusion_matrix(labels, answers, classes)
    clips = matrix.sum(axis=1)
    per_class = _per_class(matrix, label_names)
    of_truth = probabilities[np.arange(len(labels)), labels]
    return Scores(
        clips=len(labels),
        weighted_accuracy=float(weighted_accuracy(matrix)),
        weighted_accuracy_interval=wilson_interval(int(matrix.trace()), len(labels)),
        unweighted_accuracy=float(unweighted_accuracy(matrix)),
        unweighted_accuracy_interval=bootstrap_interval(labels, answers, unweighted_accuracy),
        macro_f1=float(np.mean([row["f1"] for row in per_class if row["f1"] is not None])),
        chance={"largest_class": float(clips.max() / len(labels)), "uniform": 1 / classes},
        log_loss=float(-np.log(np.maximum(of_truth, _SMALLEST_PROBABILITY)).mean()),
        per_class=per_class,
        per_speaker=_per_speaker(labels, answers, classes, speakers),
        confusion=matrix.tolist(),
    )


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts the answers to each class.

    Args:
        labels: Int array `(clips,)`, the true classes.
        predictions: Int array `(clips,)`, the answers.
        num_classes: Positive int.

    Returns:
        Int64 array `(num_classes, num_classes)`; rows are true classes, columns answers.

    Raises:
        ValueError: The arrays differ in shape, or hold anything but ints from 0 to
            `num_classes - 1`.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
        [[1, 0], [1, 1]]
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(
            f"`labels` and `predictions` must both be (clips,). Received: {labels.shape} and {predictions.shape}"
        )
    _check_classes("labels", labels, num_classes)
    _check_classes("predictions", predictions, num_classes)
    cells = labels.astype(np.int64) * num_classes + predictions
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def weighted_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of clips that are right.

    Args:
        matrix: Confusion matrices `(..., classes, classes)`, at least one clip each.

    Returns:
        Float array `(...)`, 0..1.

    Example:
        >>> float(weighted_accuracy(np.array([[3, 0], [1, 0]])))
        0.75
    """
    return np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1))


def unweighted_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that have clips.

    Args:
        matrix: Confusion matrices `(..., classes, classes)`, at least one clip each.

    Returns:
        Float array `(...)`, 0..1.

    Example:
        >>> float(unweighted_accuracy(np.array([[3, 0], [1, 0]])))
        0.5
    """
    clips = matrix.sum(axis=-1)
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    return (right / np.maximum(clips, 1)).sum(axis=-1) / (clips > 0).sum(axis=-1)


def sentence(scores: Scores, protocol: str, leaky: bool) -> str:
    """The scores as one line, beside chance, number of clips and protocol.

    Args:
        scores: What was measured.
        protocol: Name of the protocol that made the split.
        leaky: Whether copies of test clips were trained on; the line then says so.

    Example:
        >>> scores = score(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), ["calm", "upset"])
        >>> sentence(scores, "random", leaky=False)
        'UA 100.0 % (chance 50.0 %), WA 100.0 % (chance 50.0 %), 2 clips, random'
        >>> sentence(scores, "paper", leaky=True).split(", ")[-1]
        'LEAKY protocol `paper`: copies of test clips were trained on'
    """
    unweighted, by_uniform = 100 * scores.unweighted_accuracy, 100 * scores.chance["uniform"]
    weighted, by_largest = 100 * scores.weighted_accuracy, 100 * scores.chance["largest_class"]
    clips = "1 clip" if scores.clips == 1 else f"{scores.clips} clips"
    return (
        f"UA {unweighted:.1f} % (chance {by_uniform:.1f} %), WA {weighted:.1f} % (chance {by_largest:.1f} %), "
        f"{clips}, {protocol_said(protocol, leaky)}"
    )


def protocol_said(protocol: str, leaky: bool) -> str:
    """How a protocol stands beside a score.

    Args:
        protocol: Its name.
        leaky: Whether copies of test clips were trained on.

    Example:
        >>> protocol_said("random", leaky=False)
        'random'
    """
    return f"LEAKY protocol `{protocol}`: copies of test clips were trained on" if leaky else protocol


def _check_shapes(labels, probabilities, label_names, speakers):
    clips, classes = labels.size, len(label_names)
    if not clips or labels.ndim != 1 or probabilities.shape != (clips, classes):
        raise ValueError(
            "`labels` must be (clips,), at least one clip, and `probabilities` (clips, classes). Received: labels "
            f"{labels.shape}, probabilities {probabilities.shape}, {classes} label names"
        )
    if speakers is not None and (len(speakers) != clips or any(speaker is None for speaker in speakers)):
        raise ValueError(
            "`speakers` must name one speaker a clip, or be None where they are not known. "
            f"Received: {sum(speaker is not None for speaker in speakers)} names for {clips} clips"
        )


def _check_values(labels, probabilities, classes):
    _check_classes("labels", labels, classes)
    if not np.isfinite(probabilities).all():
        rows = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
        raise ValueError(
            f"`probabilities` must be finite. Received: NaN or infinite values in {len(rows)} rows, "
            f"the first is row {rows[0]}: {probabilities[rows[0]].tolist()}"
        )
    wrong = (probabilities < 0).any(axis=1) | (np.abs(probabilities.sum(axis=1) - 1) > _ROW_SUM_TOLERANCE)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            "`probabilities` must be at least 0 and sum to 1 in each row; of logits, take the softmax first. "
            f"Received: row {row}, {probabilities[row].tolist()}"
        )


def _check_classes(name, values, classes):
    if values.size and (not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= classes):
        raise ValueError(
            f"`{name}` must be ints from 0 to {classes - 1}. "
            f"Received: {values.dtype} from {values.min()} to {values.max()}"
        )


def _per_class(matrix: np.ndarray, label_names: Sequence[str]) -> list[dict[str, Any]]:
    right, clips, answered = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    columns = zip(
        label_names,
        clips.tolist(),
        _ratios(right, clips),
        _ratios(right, answered),
        _ratios(2 * right, clips + answered),
        strict=True,
    )
    return [dict(zip(("label", "clips", "recall", "precision", "f1"), row, strict=True)) for row in columns]


def _per_speaker(labels, answers, classes, speakers) -> list[dict[str, Any]]:
    if speakers is None:
        return []
    speakers = np.asarray(speakers)
    rows = []
    for name in np.unique(speakers):
        chosen = speakers == name
        matrix = confusion_matrix(labels[chosen], answers[chosen], classes)
        rows.append(
            {
                "speaker": str(name),
                "clips": int(chosen.sum()),
                "weighted_accuracy": float(weighted_accuracy(matrix)),
                "unweighted_accuracy": float(unweighted_accuracy(matrix)),
            }
        )
    return rows


def _ratios(numerators: np.ndarray, denominators: np.ndarray) -> list[float | None]:
    pairs = zip(numerators.tolist(), denominators.tolist(), strict=True)
    return [above / below if below else None for above, below in pairs]
