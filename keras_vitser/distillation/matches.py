"""A pair of features that are made alike, and what brings the student's into the teacher's shape."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
from keras import ops

from keras_vitser.distillation.losses import FeatureMatching
from keras_vitser.errors import DistillationError

if TYPE_CHECKING:
    from keras_vitser.distillation.taps import Feature


@keras.saving.register_keras_serializable(package="keras_vitser")
class Match:
    """A feature of the student that shall become like a feature of the teacher.

    Features are named by layer, or by a path of layers into nested models:
    `"encoder_block_3"`, `"backbone/encoder_block_3"`, `"encoder_block_3/attention"` (the
    attention weights of a layer that can return them, heads last), `"logits"`, `"feature_map"`
    (the input of the last layer, or a subclassed model's method of that name), and of
    a `ViTSER` also `"all_tokens"`, `"class_token"` and `"patch_tokens"`.

    Args:
        teacher: Name of the teacher's feature, `(batch, ..., width)`.
        student: Name of the student's feature, of the same rank.
        loss: A loss that takes the teacher's and the student's feature: a
            `keras.losses.Loss`, a function or its name. It is averaged over all
            but the batch axis. Defaults to `FeatureMatching()`, L1.
        weight: Float of at least 0, weight of this loss. Defaults to 1.
        project: Bool. Whether a trainable linear map (in the Distiller, not in the
            student) is put in where widths differ. Defaults to `True`.
        resize: Bool. Whether the student's tokens or pixels are interpolated
            to the teacher's where counts differ. Defaults to `True`.
        name: Name in the logs, `NAME_loss`. Defaults to the student's feature.

    Raises:
        DistillationError: An argument is out of its range.

    Example:
        >>> Match("backbone/block_3", "block_1", loss="mean_squared_error").name
        'block_1'
    """

    def __init__(
        self,
        teacher: str,
        student: str,
        loss: Any = None,
        weight: float = 1.0,
        project: bool = True,
        resize: bool = True,
        name: str | None = None,
    ):
        for role, path in (("teacher", teacher), ("student", student)):
            if not isinstance(path, str) or not all(path.split("/")):
                raise DistillationError(
                    f"`{role}` of a Match must name a layer, as in 'block_3' or 'backbone/block_3'. Received: {path!r}"
                )
        check_weight("weight", weight)
        self.teacher = teacher
        self.student = student
        self.loss = FeatureMatching() if loss is None else loss
        self.weight = float(weight)
        self.project = project
        self.resize = resize
        self.name = name or student.replace("/", "_")
        self._loss = keras.losses.get(self.loss)
        if getattr(self._loss, "reduction", "mean") not in ("mean", "sum_over_batch_size"):
            raise DistillationError(
                "`loss` of a Match is averaged over the batch; its reduction must be 'sum_over_batch_size'. "
                f"Received: {self._loss.reduction!r}"
            )

    @property
    def needs_equal_widths(self) -> bool:
        """Whether the loss compares channel with channel."""
        return getattr(self._loss, "needs_equal_widths", True)

    def value(self, teacher_feature: Any, student_feature: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, a float32 scalar; `sample_weight` is `(batch,)`."""
        call = self._loss.call if isinstance(self._loss, keras.losses.Loss) else self._loss
        values = call(ops.cast(teacher_feature, "float32"), ops.cast(student_feature, "float32"))
        if len(values.shape) > 1:
            values = ops.mean(values, axis=tuple(range(1, len(values.shape))))
        if sample_weight is not None and len(sample_weight.shape) > 1:
            sample_weight = ops.mean(sample_weight, axis=tuple(range(1, len(sample_weight.shape))))
        return _batch_mean(values, values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {
            "teacher": self.teacher,
            "student": self.student,
            "loss": keras.saving.serialize_keras_object(self.loss),
            "weight": self.weight,
            "project": self.project,
            "resize": self.resize,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


class _BatchMean(keras.losses.Loss):
    """Keras' own mean over a batch, with its weights and its scaling where a batch is spread over replicas."""

    def call(self, y_true, y_pred):
        return y_pred


_batch_mean = _BatchMean(name="match", dtype="float32")


def check_weight(name: str, value: float) -> None:
    """Refuses what is no weight of a loss."""
    if not (math.isfinite(value) and value >= 0):
        raise DistillationError(f"`{name}` must be a number of at least 0. Received: {name}={value}")


class Adapter(keras.layers.Layer):
    """Brings a student's feature into the teacher's shape: a linear map of its width, an interpolation of its places.

    Args:
        width: Positive int, the teacher's width, or `None` where the widths are equal.
        resizes: One entry for each axis between batch and width: a float array
            `(target, source)` that interpolates along it, or `None`.
        attention: Bool. Whether the feature is attention weights, whose rows are kept at sum 1.

    Input shape:
        `(batch, ..., width)`, the student's.

    Output shape:
        `(batch, ..., width)`, the teacher's.

    Example:
        >>> layer = Adapter(width=6, resizes=[interpolation(4, 8)])
        >>> tuple(layer(np.ones((2, 4, 3), "float32")).shape)
        (2, 8, 6)
    """

    def __init__(
        self,
        width: int | None = None,
        resizes: Sequence[np.ndarray | None] = (),
        attention: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._resizes = resizes
        self._attention = attention
        self.projection = None
        if width is not None:
            self.projection = keras.layers.Dense(width, dtype=self.dtype_policy, name="projection")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if self.projection is not None:
            self.projection.build(input_shape)
        self.built = True

    def call(self, features: Any) -> Any:
        if self.projection is not None:
            features = self.projection(features)
        last = len(features.shape) - 1
        for axis, matrix in enumerate(self._resizes, start=1):
            if matrix is not None:
                places = ops.moveaxis(features, axis, last)
                resized = ops.matmul(places, ops.convert_to_tensor(matrix.T, features.dtype))
                features = ops.moveaxis(resized, last, axis)
        if self._attention and any(matrix is not None for matrix in self._resizes):
            features = features / ops.sum(features, axis=2, keepdims=True)
        return features


def adapter(match: Match, teacher: "Feature", student: "Feature") -> Adapter | None:
    """The `Adapter` that a match needs, or `None` where the student's feature has the teacher's shape.

    Args:
        match: The `Match`.
        teacher: `Feature` of the teacher.
        student: `Feature` of the student.

    Raises:
        DistillationError: The shapes cannot be brought together, or the match does not allow it.
    """
    shapes = f"teacher {match.teacher!r} {teacher.shape}, student {match.student!r} {student.shape}"
    if len(teacher.shape) != len(student.shape) or teacher.attention != student.attention:
        raise DistillationError(
            f"the two features of a Match must be of one kind. Received: {shapes}; choose layers that give the same "
            "number of axes, for instance pooled ones"
        )
    width = _width(match, teacher, student, shapes)
    resizes = [_resize(match, axis, teacher, student, shapes) for axis in range(1, len(teacher.shape) - 1)]
    if width is None and all(matrix is None for matrix in resizes):
        return None
    layer = Adapter(width, resizes, student.attention, dtype="float32", name=f"{match.name}_adapter")
    layer.build(student.shape)
    return layer


def interpolation(source: int, target: int) -> np.ndarray:
    """Linear interpolation between `source` and `target` equally wide places, as a matrix; smoothed where it shrinks.

    Args:
        source: Positive int.
        target: Positive int.

    Returns:
        float32 array `(target, source)`, rows summing to 1.

    Example:
        >>> interpolation(2, 4).tolist()
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    scale = source / target
    centres = (np.arange(target) + 0.5) * scale - 0.5
    distances = np.abs(centres[:, None] - np.arange(source)[None])
    weights = np.maximum(0.0, 1.0 - distances / max(scale, 1.0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _width(match, teacher, student, shapes):
    if teacher.shape[-1] == student.shape[-1] or not match.needs_equal_widths:
        return None
    if match.teacher == match.student == "logits":
        raise DistillationError(
            f"logits can be matched only between networks with the same classes. Received: {shapes}"
        )
    if not match.project:
        raise DistillationError(
            f"the widths of a Match differ and project=False. Received: {shapes}; choose layers of one width, or allow "
            "project=True"
        )
    return teacher.shape[-1]


def _resize(match, axis, teacher, student, shapes):
    target, source = teacher.shape[axis], student.shape[axis]
    if teacher.stored:
        return _check_time(match, target, source, student.grid, shapes)
    tokens = len(teacher.shape) == 3 or teacher.attention
    grids = [feature.grid if tokens and feature.grid else (feature.shape[axis],) for feature in (teacher, student)]
    if target == source and (grids[0] == grids[1] or len(grids[0]) != len(grids[1])):
        return None
    if target is None or source is None:
        raise DistillationError(_NO_SIZE.format(shapes))
    first = [size - math.prod(grid) for size, grid in zip((target, source), grids, strict=True)]
    if len(grids[0]) != len(grids[1]) or first[0] != first[1]:
        raise DistillationError(
            f"the tokens of a Match cannot be laid over one another. Received: {shapes}, patches {grids[0]} and "
            f"{grids[1]}; match pooled features"
        )
    if not match.resize:
        raise DistillationError(_NO_RESIZE.format(shapes))
    matrix = np.ones((1, 1), np.float32)
    for of_teacher, of_student in zip(*grids, strict=True):
        matrix = np.kron(matrix, interpolation(of_student, of_teacher))
    whole = np.zeros((target, source), np.float32)
    whole[: first[0], : first[0]] = np.eye(first[0])  # tokens before the patches, as the class token, stay as they are
    whole[first[0] :, first[0] :] = matrix
    return whole


def _check_time(match, stored, tokens, grid, shapes):
    """Refuses a student's tokens that those of a stored feature cannot be resampled to."""
    if tokens is None:
        raise DistillationError(_NO_SIZE.format(shapes))
    if stored == tokens:
        return
    if grid not in (None, (1, tokens)):
        raise DistillationError(
            f"the tokens of a stored feature are moments in time, and these of the student are others too. Received: "
            f"{shapes}, patches {grid}; name 'patch_tokens' of a ViTSER with patches as high as the image, or match "
            "pooled features"
        )
    if not match.resize:
        raise DistillationError(_NO_RESIZE.format(shapes))


_NO_SIZE = "only features of known size can be matched. Received: {}; give the inputs a size"
_NO_RESIZE = (
    "the places of a Match differ in number and resize=False. Received: {}; choose layers of one size, or allow "
    "resize=True"
)
