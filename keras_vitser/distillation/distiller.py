"""A teacher teaches a student by feature map matching (paper 1: Kim and Lee 2024, stages (b) and (c))."""

import inspect
import math

import keras
from keras import ops

from keras_vitser.distillation.feature_cache import detach_teacher_features
from keras_vitser.distillation.losses import FeatureMatching
from keras_vitser.distillation.taps import Tap, check_returns_logits
from keras_vitser.distillation.train_step import train_step
from keras_vitser.errors import DistillationError

_PAPER_LEARNING_RATE = 1e-4
_PAPER_ALPHA = 10.0


@keras.saving.register_keras_serializable(package="keras_vitser")
class Distiller(keras.Model):
    """Trains a student on labels and on a teacher's feature map at once.

    The loss is `label_weight * cross-entropy + alpha * L1(teacher feature, student
    feature)`, plus the student's own regularisers. A step runs the student once and
    the teacher once; the teacher runs in inference mode and is not changed, nor
    marked as frozen. `evaluate` and `predict` run the student alone. Sample weights
    and class weights weigh both losses of an example.

    `fit` without `compile` uses the paper's Adam at 1e-4.

    Args:
        teacher: Functional `keras.Model`, trained. Never changed.
        student: Functional `keras.Model` that returns logits. Trained in place.
        alpha: Float of at least 0, weight of the feature loss. At 0 the teacher is
            not run. Defaults to 10, the paper's.
        label_weight: Float of at least 0, weight of the label loss. At 0 labels are
            neither needed nor used: the paper's stage (b). Defaults to 1.
        teacher_feature: Name of the teacher's layer whose output is matched. Defaults
            to the input of its last layer (`ViTSER`: the feature map).
        student_feature: The same for the student.
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
        teacher,
        student,
        alpha=_PAPER_ALPHA,
        label_weight=1.0,
        teacher_feature=None,
        student_feature=None,
        name="distiller",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        _check_weights(alpha, label_weight)
        teacher_tap = Tap(teacher, teacher_feature, "teacher", with_logits=False)
        student_tap = Tap(student, student_feature, "student", with_logits=label_weight > 0)
        _check_pair(teacher, student, teacher_tap, student_tap)
        check_returns_logits(student, "student")
        self.teacher = teacher
        self.student = student
        self.alpha = float(alpha)
        self.label_weight = float(label_weight)
        self.teacher_feature = teacher_feature
        self.student_feature = student_feature
        self.projection = _projection(teacher_tap, student_tap)
        self.feature_matching = FeatureMatching(dtype="float32")
        self.label_loss_tracker = keras.metrics.Mean("label_loss")
        self.feature_loss_tracker = keras.metrics.Mean("feature_loss")
        self._teacher_tap = teacher_tap
        self._student_tap = student_tap
        self.built = True

    # What Keras trains, and what it only keeps. The teacher's own `trainable` stays as the caller set it.

    @property
    def trainable_variables(self):
        used = self._student_tap.model.trainable_variables  # without the head where no label is learned
        if self.projection is not None and self.alpha:
            used = [*used, *self.projection.trainable_variables]
        return used

    @property
    def non_trainable_variables(self):
        trained = {id(variable) for variable in self.trainable_variables}
        return [variable for variable in self.variables if id(variable) not in trained]

    @property
    def trainable_weights(self):
        return self.trainable_variables

    @property
    def non_trainable_weights(self):
        trained = {id(variable) for variable in self.trainable_variables}
        return [variable for variable in self.weights if id(variable) not in trained]

    def compile(self, optimizer=None, loss=None, metrics=None, **kwargs):
        """As `keras.Model.compile`, with the paper's defaults.

        Args:
            optimizer: Defaults to Adam with learning rate 1e-4.
            loss: Label loss on logits. Defaults to cross-entropy on integer labels. Not
                used where `label_weight` is 0.
            metrics: Defaults to accuracy on integer labels.
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
            loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            metrics = metrics or [keras.metrics.SparseCategoricalAccuracy("accuracy")]
        optimizer = optimizer or keras.optimizers.Adam(_PAPER_LEARNING_RATE)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def fit(self, *args, **kwargs):
        """As `keras.Model.fit`; compiles with the paper's defaults where that was not done.

        Batches are `(x, y)` or `(x, y, sample_weight)`; `x` alone where `label_weight` is 0. `x` may
        bring teacher features along (`attach_teacher_features`).
        """
        if not self.compiled:
            self.compile()
        if not self.label_weight and kwargs.get("validation_data") is not None:
            raise DistillationError(_NO_LABELS.format("validation_data"))
        return super().fit(*args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`, of the student alone in inference mode: label loss and metrics."""
        if not self.compiled:
            self.compile()
        if not self.label_weight:
            raise DistillationError(_NO_LABELS.format("evaluate"))
        return super().evaluate(*args, **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=False):
        inputs, _ = detach_teacher_features(inputs)
        return self.student(inputs, training=training)

    def train_step(self, *args):
        return train_step(self, args if len(args) > 1 else args[0])

    def teacher_features(self, inputs):
        """The teacher's features of a batch, in inference mode, `(batch, ...)`."""
        return self.teacher_feature_model(inputs, training=False)

    @property
    def teacher_feature_model(self):
        """The teacher's layers up to its feature, as a model; its `predict` gives what is matched."""
        return self._teacher_tap.model

    # The parts of a training step that no backend changes; `train_step/` calls them.

    def unpack(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self._check_labels(y)
        return x, y, sample_weight

    def with_teacher_features(self, x):
        """`(inputs, features)`, running the teacher only where its features are needed and not given."""
        inputs, features = detach_teacher_features(x)
        if features is None and self.alpha:
            features = self.teacher_features(inputs)
        return inputs, features

    def student_losses(self, inputs, y, sample_weight, teacher_features):
        """One forward pass of the student: the losses as a dict, and the logits."""
        outputs = self._student_tap.model(inputs, training=True)
        feature, logits = (outputs["feature"], outputs["logits"]) if self.label_weight else (outputs, None)
        losses = {}
        total = sum(self.student.losses, start=ops.zeros((), "float32"))
        if self.label_weight:
            losses["label_loss"] = self._compile_loss(y, logits, sample_weight)
            total = total + self.label_weight * losses["label_loss"]
        if self.alpha:
            if self.projection is not None:
                feature = self.projection(feature)
            losses["feature_loss"] = self.feature_matching(teacher_features, feature, sample_weight)
            total = total + self.alpha * losses["feature_loss"]
        return {"loss": total, **losses}, logits

    def record(self, losses, inputs, y, logits, sample_weight):
        """Updates all metrics of a step and returns the logs."""
        batch = ops.shape(keras.tree.flatten(inputs)[0])[0]
        trackers = {
            "loss": self._loss_tracker,
            "label_loss": self.label_loss_tracker,
            "feature_loss": self.feature_loss_tracker,
        }
        for name, value in losses.items():
            trackers[name].update_state(value, sample_weight=batch)
        logs = self.compute_metrics(inputs, y, logits, sample_weight)
        return {**logs, **{name: trackers[name].result() for name in losses}}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self._check_labels(y)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self._check_labels(y)  # before Keras fails in its own words: it calls either first
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        return {name: value for name, value in logs.items() if name not in ("label_loss", "feature_loss")}

    def _check_labels(self, y):
        if self.label_weight and y is None:
            raise DistillationError(
                "this Distiller learns labels too, and the data has none; give (x, y) batches, or build it with "
                "label_weight=0 to match features only"
            )

    def get_config(self):
        return {
            "teacher": keras.saving.serialize_keras_object(self.teacher),
            "student": keras.saving.serialize_keras_object(self.student),
            "alpha": self.alpha,
            "label_weight": self.label_weight,
            "teacher_feature": self.teacher_feature,
            "student_feature": self.student_feature,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        networks = {
            role: keras.saving.deserialize_keras_object(config[role], custom_objects=custom_objects)
            for role in ("teacher", "student")
        }
        return cls(**{**config, **networks})


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
    for name, value in (("alpha", alpha), ("label_weight", label_weight)):
        if not (math.isfinite(value) and value >= 0):
            raise DistillationError(f"`{name}` must be a number of at least 0. Received: {name}={value}")
    if alpha == 0 and label_weight == 0:
        raise DistillationError("`alpha` and `label_weight` are both 0, so nothing is learned; raise one of them")


def _check_pair(teacher, student, teacher_tap, student_tap):
    shared = {id(v) for v in teacher.variables} & {id(v) for v in student.variables}
    if shared:
        raise DistillationError(
            "`teacher` and `student` share weights, so teaching the student would change the teacher; "
            "give two models, for instance with keras.models.clone_model"
        )
    shapes = [[tuple(tensor.shape) for tensor in network.inputs] for network in (teacher, student)]
    if shapes[0] != shapes[1]:
        raise DistillationError(
            f"`teacher` and `student` must take the same inputs. Received: teacher {shapes[0]}, "
            f"student {shapes[1]}; build both with one image size"
        )
    of_teacher, of_student = teacher_tap.feature_spec.shape, student_tap.feature_spec.shape
    if len(of_teacher) != len(of_student) or tuple(of_teacher[1:-1]) != tuple(of_student[1:-1]):
        raise DistillationError(
            "the two features must have the same shape but for the last axis. Received: teacher "
            f"{tuple(of_teacher)}, student {tuple(of_student)}; choose other layers with `teacher_feature` and "
            "`student_feature`, for instance pooled ones"
        )


def _projection(teacher_tap, student_tap):
    """A trainable map from the student's width to the teacher's, where they differ."""
    teacher_width, student_width = teacher_tap.feature_spec.shape[-1], student_tap.feature_spec.shape[-1]
    if teacher_width == student_width:
        return None
    projection = keras.layers.Dense(teacher_width, name="projection")
    projection.build(student_tap.feature_spec.shape)
    return projection
