"""A teacher that has spoken already: features and logits of any model of any framework, stored beside the inputs."""

import numbers
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
from keras import ops

from keras_vitser.distillation.taps import Feature
from keras_vitser.errors import DistillationError
from keras_vitser.labels import Batch, LabelCheck, as_array
from keras_vitser.training.epochs import is_arrays
from keras_vitser.wording import nearest

if TYPE_CHECKING:
    from keras_vitser.distillation.matches import Match

_Shape = Sequence[int | None]
_ROWS = 256  # looked at together, of arrays that may be larger than the memory
_FORM = "give x as {'inputs': the student's inputs, 'teacher': the stored outputs}"
_MARK = "keras_vitser: an output of the teacher that is not finite"
_IN_GRAPH = re.compile(rf"{_MARK}: ([^\]'\"]+)")


@keras.saving.register_keras_serializable(package="keras_vitser")
class Taught:
    """What a teacher has said of each example, in place of the teacher: its features and logits, of known shape.

    Given as `teacher` to a `Distiller` or to `transfer`, whose data then is
    `x = {"inputs": ..., "teacher": {"features": ..., "logits": ..., "mask": ...}}`, in arrays, a `tf.data.Dataset` or
    anything else that `fit` takes. `inputs` are the student's own inputs, of whatever structure. Of `teacher` there
    must be what the matches name; `evaluate` and `predict` need `{"inputs": ...}` alone. Teacher and student need not
    have the same inputs, nor the same framework.

    A feature of one vector a token is resampled to the student's tokens where their number is another, or where a mask
    is given: by linear interpolation between the centres of equally wide tokens (half-pixel: token `i` of `n` stands
    at `(i + 0.5) / n` of the clip, and beyond the outermost centres the outermost token holds), without smoothing.
    So both must cover the same time. `mask`, bool or 0 and 1, `(batch, tokens)`, is 1 for a clip's own tokens, which
    come first, and 0 for the padding after them, which is not read. Of a `ViTSER` with patches as high as the image the
    student's feature is `"patch_tokens"`. Where widths differ, the `Match` decides, as for any other teacher.

    Args:
        features: Shape of an example's feature, `(width,)` for one vector a clip or `(tokens, width)` for one a token,
            with `tokens` `None` where their number differs from batch to batch: the feature `"feature_map"` of a
            `Match`. Or a dict of such shapes by name; `features` and `mask` of the data then are dicts with the same
            names. Defaults to `None`: no features.
        logits: Positive int, number of classes of the feature `"logits"`. Defaults to `None`: no logits.

    Raises:
        DistillationError: There is neither, or a shape is none of these.

    Example:
        >>> from keras_vitser.distillation import Distiller
        >>> student = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dense(2)])
        >>> said = {"features": np.ones((8, 256), "float32"), "logits": np.zeros((8, 2), "float32")}
        >>> x, y = {"inputs": np.ones((8, 6), "float32"), "teacher": said}, np.array([0, 1] * 4)
        >>> history = Distiller(Taught(features=(256,), logits=2), student).fit(x, y, verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'feature_loss', 'label_loss', 'loss']
    """

    def __init__(self, features: _Shape | dict[str, _Shape] | None = None, logits: int | None = None):
        self._is_named = isinstance(features, dict)
        unnamed = {} if features is None else {"feature_map": features}
        shapes = features if isinstance(features, dict) else unnamed
        self.features = {name: _feature_shape(name, shape) for name, shape in shapes.items()}
        self.logits = logits
        if logits is not None and not (_is_count(logits) and "logits" not in self.features):
            raise DistillationError(
                f"`logits` of Taught must be the number of classes, a positive int, and the only feature of that name. "
                f"Received: logits={logits!r}"
            )
        if not self.features and logits is None:
            raise DistillationError(
                "Taught needs the shape of what the teacher has said: features=(256,), logits=7, or both"
            )

    def named(self, names: Sequence[str]) -> list[Feature]:
        """The `Feature` of each name, as a `Tap` would give it.

        Raises:
            DistillationError: There is no such feature.
        """
        shapes = self.features | ({"logits": (self.logits,)} if self.logits else {})
        for name in names:
            if name not in shapes:
                near = nearest(name, shapes)
                hint = f"; did you mean {near!r}?" if near else ";"
                raise DistillationError(f"`teacher`: {name!r} is not stored{hint} there are {', '.join(shapes)}")
        return [Feature((None, *shapes[name]), grid=None, attention=False, stored=True) for name in names]

    def inputs_of(self, x: Any) -> Any:
        """The student's inputs of a batch.

        Raises:
            DistillationError: The batch has none.
        """
        if not isinstance(x, dict) or not {"inputs"} <= set(x) <= {"inputs", "teacher"}:
            found = f"a dict of {', '.join(map(repr, x))}" if isinstance(x, dict) else f"a {type(x).__name__}"
            raise DistillationError(f"with a Taught in place of a teacher, {_FORM}. Received: {found}")
        return x["inputs"]

    def outputs_of(self, x: Any, names: Sequence[str]) -> list[tuple[Any, Any]]:
        """What the teacher has said, of each name a pair: `(batch, ...)`, and the mask `(batch, tokens)` or `None`.

        Raises:
            DistillationError: It is not there, or of another shape.
        """
        self.inputs_of(x)
        said = x.get("teacher")
        if not isinstance(said, dict):
            found = "no 'teacher'" if said is None else f"a {type(said).__name__} as 'teacher'"
            raise DistillationError(f"{_FORM}, a dict with {self._keys()}. Received: {found}")
        unknown = [key for key in said if key not in ("features", "logits", "mask")]
        if unknown:
            raise DistillationError(f"'teacher' of x holds {self._keys()}. Received: {unknown[0]!r}")
        masks = self._by_name(said.get("mask"), "mask") if said.get("mask") is not None else {}
        outputs = []
        for name in names:
            key = "logits" if name == "logits" and self.logits else "features"
            if said.get(key) is None:
                found = ", ".join(map(repr, said)) or "nothing"
                raise DistillationError(f"'teacher' of x must hold {key!r}, as a Match names them. Received: {found}")
            tensor = said[key] if key == "logits" else self._by_name(said[key], key).get(name)
            shape = (self.logits,) if key == "logits" else self.features[name]
            if tensor is None:
                raise DistillationError(f"'features' of x must hold {name!r}. Received: {', '.join(said[key])}")
            _check_shape(f"{key} {name!r}" if key == "features" else "logits", tensor, shape)
            mask = masks.get(name)
            if mask is not None and len(shape) == 1:
                raise DistillationError(f"mask of {name!r}: a feature of one vector a clip has none; leave it out")
            if mask is not None and _has_rank(tensor):
                _check_shape(f"mask of {name!r}", mask, (tensor.shape[1],))
            outputs.append((tensor, mask))
        return outputs

    def features_of(self, x: Any, matches: "Sequence[Match]", student_features: Sequence[Feature]) -> list[Any]:
        """The teacher's features of a batch, one a match, time axes resampled to those of the student's features."""
        outputs = self.outputs_of(x, [match.teacher for match in matches])
        features = []
        for (tensor, mask), of_student in zip(outputs, student_features, strict=True):
            tensor = ops.convert_to_tensor(tensor)
            if len(tensor.shape) == 3 and (mask is not None or tensor.shape[1] != of_student.shape[1]):
                tensor = resampled(tensor, of_student.shape[1], mask)
            features.append(tensor)
        return features

    def _by_name(self, given, key):
        """The tensors of one key by the names of the features."""
        if isinstance(given, dict) != self._is_named:
            wanted = f"a dict of {', '.join(self.features)}" if self._is_named else "one tensor"
            raise DistillationError(f"{key!r} of x must be {wanted}, as in Taught. Received: a {type(given).__name__}")
        given = given if self._is_named else {"feature_map": given}
        unknown = [name for name in given if name not in self.features]
        if unknown:
            raise DistillationError(f"{key!r} of x holds {', '.join(self.features)}. Received: {unknown[0]!r}")
        return given

    def _keys(self):
        keys = [*(["'features'"] if self.features else []), *(["'logits'"] if self.logits else [])]
        return " and ".join(keys) + (", and for tokens that are padded 'mask'" if self.features else "")

    def get_config(self) -> dict[str, Any]:
        features = self.features if self._is_named else self.features.get("feature_map")
        return {"features": features, "logits": self.logits}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


class TaughtCheck(LabelCheck):
    """Looks at labels as any `LabelCheck` does, and for stored outputs that are missing, misshapen or not finite.

    Args:
        taught: The `Taught`.
        names: The names that are read.
        loss: As for `LabelCheck`.
        logits_shape: As for `LabelCheck`.

    Example:
        >>> check = TaughtCheck(Taught(features=(2,)), ["feature_map"], None, (None,))
        >>> said = np.array([[0.0, 1.0], [np.nan, 1.0]])
        >>> try:
        ...     check.batch(({"inputs": np.zeros((2, 4)), "teacher": {"features": said}}, np.zeros(2)))
        ... except DistillationError as error:
        ...     print(str(error).partition(";")[0])
        'feature_map' of the teacher must be finite. Received: nan at index 1
    """

    def __init__(self, taught: Taught, names: Sequence[str], loss: Any, logits_shape: Sequence[Any]):
        super().__init__(loss, logits_shape)
        self._taught = taught
        self._names = list(dict.fromkeys(names))
        self._of_labels = LabelCheck(loss, logits_shape)

    def batch(self, batch: Batch) -> Batch:
        self._outputs(batch[0] if isinstance(batch, list | tuple) else batch)
        return super().batch(batch)

    def data(self, x: Any, y: Any = None) -> Any:
        if x is None or y is not None or is_arrays(x):
            self._outputs(x)
            return super().data(x, y)
        self.error = None
        return self._each_batch(x)

    def validation_data(self, data: Any) -> Any:
        return self._of_labels.validation_data(data)  # the teacher is not asked there

    @contextmanager
    def own_words(self) -> Iterator[None]:
        with self._of_labels.own_words(), super().own_words():
            yield

    def _outputs(self, x):
        try:
            outputs = self._taught.outputs_of(x, self._names)
            for name, (tensor, mask) in zip(self._names, outputs, strict=True):
                _check_numbers(name, tensor, mask)
        except DistillationError as error:
            self.error = self.error or error
            raise

    def _of_text(self, text):
        found = _IN_GRAPH.search(text)
        return _refusal(found[1], "a number that is not") if found else super()._of_text(text)

    def _tf_dataset(self, dataset):
        """A `tf.data.Dataset` that fails at the first batch with such a number."""
        import tensorflow as tf

        spec = dataset.element_spec
        self._taught.outputs_of(spec[0] if isinstance(spec, tuple) else spec, self._names)
        if self._form is not None:
            dataset = super()._tf_dataset(dataset)

        def check(x, *others):
            asserted = []
            for name, (tensor, mask) in zip(self._names, self._taught.outputs_of(x, self._names), strict=True):
                if tensor.dtype.is_floating:
                    right = tf.math.is_finite(tensor)
                    if mask is not None:
                        right |= ~tf.cast(mask, tf.bool)[..., None]
                    asserted.append(tf.debugging.Assert(tf.reduce_all(right), [f"{_MARK}: {name}"]))
            with tf.control_dependencies(asserted):
                x = {**x, "inputs": tf.nest.map_structure(tf.identity, x["inputs"])}
            return (x, *others) if isinstance(spec, tuple) else x

        return dataset.map(check)


def resampled(tokens: Any, target: int, mask: Any = None) -> Any:
    """Tokens at other places, by linear interpolation between the centres of equally wide tokens; see `Taught`.

    Args:
        tokens: Tensor `(batch, tokens, width)`.
        target: Positive int, their number afterwards.
        mask: Tensor `(batch, tokens)`, not 0 for a clip's own tokens, which come first; or `None`, all are.

    Returns:
        float32 tensor `(batch, target, width)`.

    Example:
        >>> tokens, mask = np.array([[[0.0], [1.0], [9.0]]]), np.array([[1, 1, 0]])
        >>> ops.convert_to_numpy(resampled(tokens, 4, mask))[0, :, 0].tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    tokens = ops.cast(tokens, "float32")
    count = ops.shape(tokens)[1]
    if mask is None:
        lengths = ops.zeros_like(tokens[:, :1, 0], dtype="int32") + count  # (batch, 1)
    else:
        mask = ops.cast(mask, "bool")
        tokens = ops.where(mask[:, :, None], tokens, 0.0)  # what is not read may be anything, NaN too
        lengths = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
    # In whole numbers, as a float32 cannot tell the hundredths of a late token: (i + 1/2) * length / target - 1/2.
    place = (2 * ops.arange(target, dtype="int32") + 1) * lengths - target  # (batch, target), in 1 / (2 * target)
    place = ops.maximum(ops.minimum(place, 2 * target * (lengths - 1)), 0)
    left, rest = place // (2 * target), ops.cast(place % (2 * target), "float32") / (2 * target)
    source = ops.arange(count, dtype="int32")
    at_left = ops.cast(source == left[:, :, None], "float32") * (1.0 - rest[:, :, None])
    at_right = ops.cast(source == left[:, :, None] + 1, "float32") * rest[:, :, None]
    return ops.matmul(at_left + at_right, tokens)  # (batch, target, source) by (batch, source, width)


def _is_count(number):
    return isinstance(number, numbers.Integral) and not isinstance(number, bool) and int(number) > 0


def _feature_shape(name, shape):
    """`(width,)` or `(tokens, width)` as a tuple."""
    sizes = tuple(shape) if isinstance(shape, list | tuple) else ()
    known = len(sizes) in (1, 2) and _is_count(sizes[-1])
    if not known or not (sizes[0] is None or _is_count(sizes[0])) or not isinstance(name, str):
        raise DistillationError(
            "`features` of Taught must be a shape, (width,) or (tokens, width) of positive ints, tokens may be None; "
            f"or a dict of such shapes by name. Received: {name!r} of {shape!r}"
        )
    return sizes


def _check_shape(what, tensor, shape):
    """Refuses a batch whose shape is known and another."""
    found = getattr(tensor, "shape", None)
    if found is None:
        raise DistillationError(f"{what} of the teacher must be an array. Received: a {type(tensor).__name__}")
    if not _has_rank(tensor):
        return
    found = tuple(found)
    sizes = zip(found[1:], shape, strict=False)
    if len(found) != len(shape) + 1 or any(None not in pair and pair[0] != pair[1] for pair in sizes):
        words = ", ".join(["batch", *("tokens" if size is None else str(size) for size in shape)])
        raise DistillationError(
            f"{what} of the teacher must be ({words}{',' if not shape else ''}). Received: {found}; store them so, or "
            "give Taught their shape"
        )


def _has_rank(tensor):
    """Whether the number of axes is known; not every dataset says it."""
    return getattr(tensor.shape, "rank", 0) is not None


def _check_numbers(name, tensor, mask):
    """Refuses arrays with a number that is not finite where it is read, and masks that are none."""
    for start in range(0, len(tensor), _ROWS):
        rows = as_array(tensor[start : start + _ROWS])
        wrong = ~np.isfinite(rows) if rows.dtype.kind == "f" else np.zeros(rows.shape, bool)
        if mask is not None:
            own = as_array(mask[start : start + _ROWS]).astype(bool)
            odd = ~own[:, 0] | (own[:, 1:] & ~own[:, :-1]).any(axis=1)
            if odd.any():
                raise DistillationError(
                    f"mask of {name!r} must be 1 for the tokens of a clip, at least one, then 0 for its padding. "
                    f"Received: {own[odd.argmax()].astype(int).tolist()} at index {start + int(odd.argmax())}"
                )
            wrong &= own[:, :, None]
        if wrong.any():
            place = np.unravel_index(wrong.argmax(), wrong.shape)
            raise _refusal(name, f"{rows[place]} at index {start + int(place[0])}")


def _refusal(name, found):
    return DistillationError(
        f"{name!r} of the teacher must be finite. Received: {found}; leave these examples out, or store them anew"
    )
