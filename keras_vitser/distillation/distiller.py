"""A teacher teaches a student by feature map matching (paper 1: Kim and Lee 2024, stages (b) and (c))."""

import inspect
import os
from collections.abc import Sequence
from typing import Any, Self, cast

import keras
from keras import ops

from keras_vitser.distillation.feature_cache import (
    FeatureCache,
    detach_teacher_features,
    fingerprint,
    with_cached_features,
)
from keras_vitser.distillation.matches import Match, adapter, check_weight
from keras_vitser.distillation.taps import Tap, all_layers, check_network, check_returns_logits
from keras_vitser.distillation.taught import Taught, TaughtCheck
from keras_vitser.distillation.train_step import train_step
from keras_vitser.errors import DistillationError
from keras_vitser.labels import LabelCheck, checked_call
from keras_vitser.models.finite_weights import check_finite
from keras_vitser.training import recipe

_PAPER_ALPHA = 10.0


@keras.saving.register_keras_serializable(package="keras_vitser")
class Distiller(keras.Model):
    """Trains a student on labels and on a teacher's features at once.

    The loss is `label_weight * cross-entropy + alpha * feature loss`, plus the student's
    own regularisers; the feature loss is the weighted sum of all matches, by default L1
    between the two feature maps. A step runs the student once and the teacher once;
    the teacher runs in inference mode and is not changed, nor marked as frozen.
    `evaluate` and `predict` run the student alone. Sample weights and class weights
    weigh all losses of an example.

    `fit` without `compile` uses the paper's Adam at 1e-4.

    Args:
        teacher: `keras.Model`, trained. Never changed. Functional, Sequential, or
            subclassed with a method `feature_map` that its `call` goes through.
            Or a `Taught`: what any other model has said of the examples, stored beside them.
        student: As a teacher that is a model, returning logits. Trained in place.
        alpha: Float of at least 0, weight of the feature loss. At 0 the teacher is
            not run. Defaults to 10, the paper's, and to 1 where `matches` are given.
        label_weight: Float of at least 0, weight of the label loss. At 0 labels are
            neither needed nor used: the paper's stage (b). Defaults to 1.
        matches: List of `Match`. Defaults to one, between the two feature maps: the
            input of each network's last layer.
        name: Optional name.

    Raises:
        DistillationError: The two cannot work together; the message says what to
            change.

    Example:
        >>> import numpy as np
        >>> from keras_vitser.models import ViTSER
        >>> teacher = ViTSER.teacher(2, image_size=(8, 8), patch_size=(8, 1), depth=1)
        >>> student = ViTSER.student(2, image_size=(8, 8), patch_size=(8, 1), depth=1)
        >>> images, labels = np.zeros((4, 8, 8, 1), "float32"), np.array([0, 1, 0, 1])
        >>> history = Distiller(teacher, student).fit(images, labels, verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'feature_loss', 'label_loss', 'loss']
    """

    def __init__(
        self,
        teacher: keras.Model | Taught,
        student: keras.Model,
        alpha: float | None = None,
        label_weight: float = 1.0,
        matches: Sequence[Match] | None = None,
        name: str | None = "distiller",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        if alpha is None:
            alpha = _PAPER_ALPHA if matches is None else 1.0
        _check_weights(alpha, label_weight)
        matches = [Match("feature_map", "feature_map")] if matches is None else list(matches)
        _check_matches(matches)
        names = [match.teacher for match in matches]
        is_taught = isinstance(teacher, Taught)
        if is_taught:
            check_network(student, "student")
        else:
            _check_apart(teacher, student)
        inputs = (not is_taught and _known_inputs(teacher)) or _known_inputs(student)
        teacher_tap = None if is_taught else Tap(teacher, names, "teacher", False, inputs)
        student_tap = Tap(student, [match.student for match in matches], "student", label_weight > 0, inputs)
        of_teacher = teacher.named(names) if teacher_tap is None else teacher_tap.features
        check_returns_logits(student, "student")
        if teacher_tap is not None:
            _check_inputs(teacher_tap, student_tap)
            if "logits" in names:
                check_returns_logits(teacher, "teacher")
        self.teacher = teacher
        self.student = student
        self.alpha = float(alpha)
        self.label_weight = float(label_weight)
        self.matches = matches
        self.adapters = [
            adapter(match, *features)
            for match, *features in zip(matches, of_teacher, student_tap.features, strict=True)
        ]
        losses = ["label_loss", "feature_loss"]
        if len(matches) > 1:
            losses += [f"{match.name}_loss" for match in matches]
        self.loss_trackers = {name: keras.metrics.Mean(name) for name in losses}
        self._teacher_tap = teacher_tap
        self._student_tap = student_tap
        self._feature_caches: dict[tuple[str, Any], FeatureCache] = {}
        self.built = True

    # What Keras trains, and what it only keeps. The teacher's own `trainable` stays as the caller set it.

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        used = self._student_tap.trainable_variables  # without the head where no label is learned
        if self.alpha:
            used = [*used, *(v for layer in self.adapters if layer is not None for v in layer.trainable_variables)]
        return used

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        trained = {id(variable) for variable in self.trainable_variables}
        return [variable for variable in self.variables if id(variable) not in trained]

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        return self.trainable_variables

    @property
    def non_trainable_weights(self) -> list[keras.Variable]:
        trained = {id(variable) for variable in self.trainable_variables}
        return [variable for variable in self.weights if id(variable) not in trained]

    def compile(
        self, optimizer: Any = None, loss: Any = None, metrics: Any = None, auto_scale_loss: bool = True, **kwargs: Any
    ) -> None:
        """As `keras.Model.compile`, with the paper's defaults.

        Args:
            optimizer: Defaults to Adam with learning rate 1e-4.
            loss: Label loss on logits. Defaults to cross-entropy on integer labels. Not
                used where `label_weight` is 0.
            metrics: Defaults to accuracy on integer labels.
            auto_scale_loss: Bool. Whether the loss is scaled where the student computes in float16.
                Defaults to `True`.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            DistillationError: The loss expects probabilities.
        """
        if _takes_probabilities(loss):
            name = getattr(loss, "__name__", None) or (loss if isinstance(loss, str) else type(loss).__name__)
            raise DistillationError(
                f"the label loss must take logits. Received: {name} with from_logits=False; give it from_logits=True"
            )
        if not self.label_weight:
            loss, metrics = None, None
        else:
            loss = loss or recipe.label_loss()
            metrics = metrics or recipe.label_metrics()
        optimizer = keras.optimizers.get(optimizer or recipe.adam())
        half = any(layer.compute_dtype == "float16" for layer in all_layers(self.student))
        if auto_scale_loss and half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer")
        # Keras itself would look at the global policy, and the student's layers may have another.
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, auto_scale_loss=False, **kwargs)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *args: Any,
        cache_teacher: bool | str | os.PathLike = False,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`; compiles with the paper's defaults where that was not done.

        Batches are `(x, y)` or `(x, y, sample_weight)`; `x` alone where `label_weight` is 0.

        Like Keras', it trains on where a loss is NaN or infinite; `keras.callbacks.TerminateOnNaN()` among the
        callbacks ends it there. `transfer` stops by itself.

        Args:
            x: As for `keras.Model.fit`; it may bring teacher features along (`attach_teacher_features`), and with a
                `Taught` in place of a teacher it is `{"inputs": ..., "teacher": ...}`.
            y: As for `keras.Model.fit`.
            batch_size: As for `keras.Model.fit`.
            *args: As for `keras.Model.fit`.
            cache_teacher: `True` runs the teacher once an example and keeps its features in memory; a path keeps
                them in that folder too, for later runs with the same teacher, and reads them memory-mapped. The
                losses are those without it, provided that the examples stay the same from epoch to epoch, and so
                does the number of batches. Of a `Taught`, whose features are there already, it changes nothing.
                Defaults to `False`.
            **kwargs: As for `keras.Model.fit`. Of the callbacks, those that have a method
                `on_teacher_batch_end(done, total)` are told of the batches that are looked up for `cache_teacher`;
                `total` is `None` where it is not known.

        Returns:
            `keras.callbacks.History`.

        Raises:
            DistillationError: There are no labels where they are needed, or one is beyond the classes or no number:
                arrays are looked at before the first step, other data a batch at a time. Or the teacher cannot be
                cached: the data is random, endless, can be read only once, or has more batches in one epoch than in
                another. Or what a `Taught` announces is missing, of another shape, or not finite.
        """
        if not self.compiled:
            self.compile()
        if not self.label_weight and kwargs.get("validation_data") is not None:
            raise DistillationError(_NO_LABELS.format("validation_data"))
        check = self.data_check()
        if not cache_teacher or not self.alpha or isinstance(self.teacher, Taught):
            return checked_call(super().fit, check, (x, y, batch_size, *args), kwargs)
        check.labels(y)
        cache = self._feature_cache(None if cache_teacher is True else cache_teacher)
        report = _teacher_report(kwargs.get("callbacks"))
        with check.own_words():
            x = with_cached_features(cache, x, batch_size, kwargs.get("steps_per_epoch"), report, check.batch)
        if not getattr(x, "indexed", True):
            kwargs["shuffle"] = False  # Keras shuffles no such data without a cache either
        cache.flush()
        try:
            return checked_call(super().fit, check, (x, y, batch_size, *args), kwargs)
        except Exception as error:
            if getattr(x, "error", None) is not None:
                raise x.error from error  # not the backend's wrapping of it
            raise
        finally:
            cache.thaw()
            cache.flush()

    def _feature_cache(self, folder):
        """The cache of this folder; that of an earlier `fit`, if the teacher is still the same."""
        key = fingerprint(self.teacher_feature_model, [match.teacher for match in self.matches])
        if (key, folder) not in self._feature_caches:
            self._feature_caches = {(key, folder): FeatureCache(self.teacher_feature_model, key, folder)}
        return self._feature_caches[key, folder]

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, of the student alone in inference mode: label loss and metrics.

        With a `Taught` in place of a teacher `x` is `{"inputs": ...}`, for `predict` too.
        """
        if not self.compiled:
            self.compile()
        if not self.label_weight:
            raise DistillationError(_NO_LABELS.format("evaluate"))
        return checked_call(super().evaluate, self.label_check(), args, kwargs)

    def label_check(self) -> LabelCheck:
        """The `LabelCheck` of the label loss; where no label is learned, one that takes all."""
        return LabelCheck(*self._label_loss())

    def data_check(self) -> LabelCheck:
        """The `LabelCheck` of what `fit` is given; with a `Taught`, it looks at the stored outputs too."""
        if isinstance(self.teacher, Taught) and self.alpha:
            return TaughtCheck(self.teacher, [match.teacher for match in self.matches], *self._label_loss())
        return self.label_check()

    def _label_loss(self):
        """The loss, and the shape of the logits that it is computed on."""
        return (self.loss, self._student_tap.model.output["logits"].shape) if self.label_weight else (None, (None,))

    def save(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save`.

        Raises:
            NonFiniteWeightsError: A weight of teacher or student is NaN or infinite; nothing is written.
        """
        check_finite(self, filepath)
        super().save(filepath, *args, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        return self.student(self._detached(inputs)[0], training=training)

    def train_step(self, *args: Any) -> Any:
        return train_step(self, args if len(args) > 1 else args[0])

    def teacher_features(self, inputs: Any) -> list[Any]:
        """The teacher's features of a batch, one `(batch, ...)` a match, in inference mode.

        Of a `Taught` those of `{"inputs": ..., "teacher": ...}`, at the student's tokens.
        """
        if isinstance(self.teacher, Taught):
            return self.teacher.features_of(inputs, self.matches, self._student_tap.features)
        return self.teacher_feature_model(inputs, training=False)["features"]

    @property
    def teacher_feature_model(self) -> keras.Model:
        """The teacher's layers up to its features, as a model; its outputs are `{"features": [one a match]}`."""
        return cast(Tap, self._teacher_tap).model  # a `Taught` has none, and is not asked

    def _detached(self, x):
        """The student's inputs of a batch, and teacher features that it brings along, or `None`."""
        if isinstance(self.teacher, Taught):
            return self.teacher.inputs_of(x), None
        return detach_teacher_features(x, self._student_tap.model.input)

    # The parts of a training step that no backend changes; `train_step/` calls them.

    def unpack(self, data: Any) -> tuple[Any, Any, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self._check_labels(y)
        return x, y, sample_weight

    def with_teacher_features(self, x: Any) -> tuple[Any, list[Any] | None]:
        """`(inputs, features)`, running the teacher only where its features are needed and not given."""
        inputs, features = self._detached(x)
        if features is None and self.alpha:
            features = self.teacher_features(x)
        return inputs, features

    def student_losses(
        self, inputs: Any, y: Any, sample_weight: Any, teacher_features: list[Any] | None
    ) -> tuple[dict[str, Any], Any]:
        """One forward pass of the student: the losses as a dict, and the logits."""
        outputs = self._student_tap.model(inputs, training=True)
        logits = outputs.get("logits")
        losses = {}
        total = sum((self._aggregate_additional_loss(loss) for loss in self.student.losses), start=0.0)
        if self.label_weight:
            losses["label_loss"] = self._compile_loss(y, logits, sample_weight)
            total = total + self.label_weight * losses["label_loss"]
        if self.alpha:
            matched = self._match_losses(teacher_features, outputs["features"], sample_weight)
            losses["feature_loss"] = sum(match.weight * matched[f"{match.name}_loss"] for match in self.matches)
            total = total + self.alpha * losses["feature_loss"]
            if len(matched) > 1:
                losses.update(matched)
        return {"loss": total, **losses}, logits

    def _match_losses(self, teacher_features, student_features, sample_weight):
        losses = {}
        for match, layer, of_teacher, of_student in zip(
            self.matches, self.adapters, teacher_features, student_features, strict=True
        ):
            adapted = of_student if layer is None else layer(of_student)
            losses[f"{match.name}_loss"] = match.value(of_teacher, adapted, sample_weight)
        return losses

    def record(self, losses: dict[str, Any], inputs: Any, y: Any, logits: Any, sample_weight: Any) -> dict[str, Any]:
        """Updates all metrics of a step and returns the logs."""
        batch = ops.shape(keras.tree.flatten(inputs)[0])[0]
        trackers = {"loss": self._loss_tracker, **self.loss_trackers}
        for name, value in losses.items():
            trackers[name].update_state(value, sample_weight=batch)
        logs = self.compute_metrics(inputs, y, logits, sample_weight)
        return {**logs, **{name: trackers[name].result() for name in losses}}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        self._check_labels(y)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        self._check_labels(y)  # before Keras fails in its own words: it calls either first
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        return {name: value for name, value in logs.items() if name not in self.loss_trackers}

    def _check_labels(self, y):
        if self.label_weight and y is None:
            raise DistillationError(
                "this Distiller learns labels too, and the data has none; give (x, y) batches, or build it with "
                "label_weight=0 to match features only"
            )

    def get_config(self) -> dict[str, Any]:
        return {
            "teacher": keras.saving.serialize_keras_object(self.teacher),
            "student": keras.saving.serialize_keras_object(self.student),
            "alpha": self.alpha,
            "label_weight": self.label_weight,
            "matches": [keras.saving.serialize_keras_object(match) for match in self.matches],
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        restored = {
            part: keras.saving.deserialize_keras_object(config[part], custom_objects=custom_objects)
            for part in ("teacher", "student", "matches")
        }
        return cls(**{**config, **restored})


def _teacher_report(callbacks):
    callbacks = getattr(callbacks, "callbacks", callbacks)  # of a CallbackList
    told = [callback for callback in keras.tree.flatten(callbacks or []) if hasattr(callback, "on_teacher_batch_end")]

    def report(done, total):
        for callback in told:
            callback.on_teacher_batch_end(done, total)

    return report


_NO_LABELS = (
    "`{}` needs the label loss, and this Distiller was built with label_weight=0; "
    "evaluate the student itself, student.compile(loss=...) and student.evaluate(...)"
)


def _takes_probabilities(loss):
    """Whether a loss object says so, or a loss function, given itself or by its name, has it as its default."""
    if hasattr(loss, "from_logits"):
        return not loss.from_logits
    function = keras.losses.get(loss) if isinstance(loss, str) else loss
    if not inspect.isfunction(function):
        return not getattr(function, "from_logits", True)
    from_logits = inspect.signature(function).parameters.get("from_logits")
    return from_logits is not None and from_logits.default is False


def _check_weights(alpha, label_weight):
    check_weight("alpha", alpha)
    check_weight("label_weight", label_weight)
    if alpha == 0 and label_weight == 0:
        raise DistillationError("`alpha` and `label_weight` are both 0, so nothing is learned; raise one of them")


def _check_matches(matches):
    if not matches or not all(isinstance(match, Match) for match in matches):
        raise DistillationError(
            f"`matches` must be a list of at least one keras_vitser.distillation.Match. Received: {matches}; to learn "
            "labels alone, set alpha=0"
        )
    names = [match.name for match in matches]
    taken = {"label", "feature"} if len(names) > 1 else set()
    for name in names:
        if names.count(name) > 1 or name in taken:
            raise DistillationError(
                f"each Match needs a name of its own in the logs. Received: {names}; give Match(..., name=...)"
            )


def _check_apart(teacher, student):
    for role, network in (("teacher", teacher), ("student", student)):
        check_network(network, role)
    shared = {id(v) for v in teacher.variables} & {id(v) for v in student.variables}
    if shared:
        raise DistillationError(
            "`teacher` and `student` share weights, so teaching the student would change the teacher; "
            "give two models, for instance with keras.models.clone_model"
        )


def _check_inputs(teacher_tap, student_tap):
    shapes = [
        [tuple(tensor.shape) for tensor in keras.tree.flatten(tap.model.input)] for tap in (teacher_tap, student_tap)
    ]
    if shapes[0] != shapes[1]:
        raise DistillationError(
            f"`teacher` and `student` must take the same inputs. Received: teacher {shapes[0]}, "
            f"student {shapes[1]}; build both with one image size"
        )


def _known_inputs(network):
    """Symbolic inputs of a network that knows its inputs, or was built with one, as a list; otherwise `None`."""
    if getattr(network, "inputs", None):
        return [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in network.inputs]
    shape = (network.get_build_config() or {}).get("input_shape")
    if not network.built or not shape or isinstance(shape, dict):
        return None
    return [keras.Input(batch_shape=(None, *shape[1:]))]
