"""Labels that a loss can learn: what is none is refused by name, on every backend.

Left alone, a label beyond the classes ends TensorFlow's graph in words of its own, and on JAX it is trained on. Labels
are looked at while they are still on the host: arrays at once, other data a batch at a time.
"""

import copy
import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import keras
import numpy as np

from keras_vitser.errors import DistillationError

Batch = TypeVar("Batch")
Item = TypeVar("Item")
Made = TypeVar("Made")
Result = TypeVar("Result")

_INDEX, _ROW = "index", "row"
_FORMS = {  # by the name of the loss function: a label is a class's index, or a row of one number a class
    "sparse_categorical_crossentropy": _INDEX,
    "categorical_crossentropy": _ROW,
    "categorical_focal_crossentropy": _ROW,
}
_MARK = "keras_vitser: a label that the loss cannot learn"
_IN_GRAPH = re.compile(rf"\[{_MARK}\] \[(.*?)\]")
_IN_PROCESS = re.compile(r"DistillationError: (labels must be .*)")


def checked_call(
    method: Callable[..., Result], check: "LabelCheck", args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Result:
    """Calls a model's `fit` or `evaluate` with labels that are checked, those of `validation_data` too.

    Args:
        method: The method of `keras.Model`.
        check: `LabelCheck`.
        args: Its positional arguments.
        kwargs: Its others.

    Returns:
        What it returns.

    Raises:
        DistillationError: A label is none that the loss can learn.

    Example:
        >>> def fit(x=None, y=None, epochs=1):
        ...     return len(y), epochs
        >>> check = LabelCheck("sparse_categorical_crossentropy", (None, 2))
        >>> checked_call(fit, check, (np.zeros((3, 4)), np.array([0, 1, 1])), {"epochs": 2})
        (3, 2)
    """
    given = inspect.signature(method).bind(*args, **kwargs).arguments
    given |= given.pop("kwargs", {})
    if not given.get("_use_cached_eval_dataset"):  # of a `fit`, which has checked its validation data
        given["x"] = check.data(given.get("x"), given.get("y"))
    if given.get("validation_data") is not None:
        given["validation_data"] = check.validation_data(given["validation_data"])
    with check.own_words(), _weights_kept(getattr(method, "__self__", None)):
        return method(**given)


@contextmanager
def _weights_kept(model):
    """Leaves a model as its last step left it where reading data fails: on JAX it would have no values any more."""
    if not hasattr(model, "jax_state_sync") or not model.compiled:
        yield
        return
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    before = [(variable, variable.value) for variable in (*model.variables, *model.optimizer.variables)]
    try:
        yield
    except Exception:
        model.jax_state_sync()
        for variable, value in before:
            if variable._value is None:  # no step has ended, so that JAX has not taken the old value's memory
                variable.assign(value)
        raise


class LabelCheck:
    """Looks for labels that a loss cannot learn.

    Checked are the cross-entropies of Keras, on class indices or on rows of a number a class; other losses may take any
    labels.

    Args:
        loss: As given to `compile`; `None` takes any labels.
        logits_shape: `(None, classes)`, the shape of what the loss is computed on.

    Attributes:
        error: The `DistillationError` of the first such label; a backend may wrap it in its own.

    Example:
        >>> check = LabelCheck("sparse_categorical_crossentropy", (None, 7))
        >>> try:
        ...     check.data(np.zeros((2, 4)), np.array([3, 7]))
        ... except DistillationError as error:
        ...     print(str(error).partition(";")[0])
        labels must be integers from 0 to 6, one an example, for 7 classes. Received: 7 at index 1
    """

    def __init__(self, loss: Any, logits_shape: Sequence[Any]):
        losses = keras.tree.flatten(loss)
        loss = losses[0] if len(losses) == 1 else None
        loss = keras.losses.get(loss) if isinstance(loss, str) else loss
        self.error: DistillationError | None = None
        self._form = _FORMS.get(getattr(getattr(loss, "fn", loss), "__name__", "")) if len(logits_shape) == 2 else None
        self._classes = logits_shape[-1]
        self._ignored = getattr(loss, "ignore_class", None)

    def labels(self, y: Any, place: str = " at index {}") -> None:
        """Checks the labels of some examples: one array, or a structure with a single one in it.

        Args:
            y: The labels, or `None`.
            place: Str, how the error tells the example.

        Raises:
            DistillationError: There is one that the loss cannot learn.
        """
        leaves = [] if y is None or self._form is None else keras.tree.flatten(y)
        names = bool(leaves) and all(isinstance(leaf, str | bytes) for leaf in leaves)  # a `DataLoader` leaves them so
        if len(leaves) == 1 or names:
            try:
                self._check(np.array(leaves) if names else as_array(leaves[0]), place)
            except DistillationError as error:
                self.error = self.error or error
                raise

    def batch(self, batch: Batch) -> Batch:
        """Checks a batch `(x, y)` or `(x, y, sample_weight)`, and returns it.

        Raises:
            DistillationError: There is a label that the loss cannot learn.
        """
        if isinstance(batch, list | tuple) and len(batch) > 1:
            self.labels(batch[1], place="")
        return batch

    def data(self, x: Any, y: Any = None) -> Any:
        """Checks what `fit` is given: arrays now, and of anything else each batch as it is read.

        Args:
            x: As for `keras.Model.fit`.
            y: As for `keras.Model.fit`.

        Returns:
            The `x` to give to `fit`.

        Raises:
            DistillationError: There is a label that the loss cannot learn.
        """
        self.error = None
        if self._form is None or x is None or y is not None:
            self.labels(y)
            return x
        return self._each_batch(x)

    def _each_batch(self, x):
        """Data that is no arrays, with each batch checked as it is read."""
        if isinstance(x, keras.utils.PyDataset):
            return _Checked(x, self)
        if isinstance(x, types.GeneratorType):
            return map_generator(self.batch, x)
        if _is_a(x, "DataLoader", "torch."):
            return _checked_loader(x, self)
        if _is_a(x, "DatasetV2", "tensorflow."):
            return self._tf_dataset(x)
        return x

    def validation_data(self, data: Any) -> Any:
        """As `data`, for the `validation_data` of `fit`."""
        if isinstance(data, tuple):
            return (self.data(*data[:2]), *data[1:])
        return self.data(data)

    @contextmanager
    def own_words(self) -> Iterator[None]:
        """Raises the error of a label as it was found, where a backend has wrapped it."""
        try:
            yield
        except Exception as error:
            found = self.error or self._of_text(str(error))
            if found is None or found is error:
                raise
            raise found from error

    def _of_text(self, text):
        if self._form is None:
            return None
        in_graph, in_process = _IN_GRAPH.search(text), _IN_PROCESS.search(text)
        if in_graph:
            return self._of_number(in_graph[1])
        return in_process and DistillationError(in_process[1])

    def _check(self, y, place):
        if y.dtype.kind not in "biuf":
            raise self._refusal(repr(_name(y.flat[0])) if y.size else f"labels of {y.dtype}", _NAMES)
        self._check_shape(y.shape)
        if self._form == _ROW:
            wrong = ~((y >= 0) & np.isfinite(y))
        elif y.dtype.kind == "f":
            wrong = ~((y >= 0) & (y < self._classes) & (y == np.floor(y)))
        elif y.dtype.kind == "b" or not y.size or 0 <= y.min() <= y.max() < self._classes:
            return
        else:
            wrong = (y < 0) | (y >= self._classes)
        wrong &= True if self._ignored is None else y != self._ignored
        if wrong.any():
            index = int(np.argmax(wrong.reshape(len(y), -1).any(axis=1)))
            raise self._of_number(f"{y[index][wrong[index]].flat[0]}{place.format(index)}")

    def _check_shape(self, shape):
        one_an_example = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
        if self._form == _INDEX and len(shape) and not one_an_example:
            raise self._refusal(_shape(shape), _ONE_HOT)
        if self._form == _ROW and (len(shape) != 2 or shape[1] != self._classes):
            raise self._refusal(_shape(shape), _INDICES)

    def _of_number(self, found):
        return self._refusal(found, _NUMBERS if self._form == _INDEX else _PROBABILITIES)

    def _refusal(self, found, advice):
        last = self._classes - 1
        wanted = f"integers from 0 to {last}, one an example"
        if self._form == _ROW:
            wanted = f"rows of {self._classes} numbers of at least 0"
        elif self._ignored is not None:
            wanted += f" (or {self._ignored}, which the loss ignores)"
        return DistillationError(f"labels must be {wanted}, for {self._classes} classes. Received: {found}; {advice}")

    def _tf_dataset(self, dataset):
        """A `tf.data.Dataset` that fails at the first batch with such a label: a few operations on the labels alone."""
        import tensorflow as tf

        spec = dataset.element_spec
        leaves = tf.nest.flatten(spec[1]) if isinstance(spec, tuple) and len(spec) > 1 else []
        if len(leaves) != 1 or not isinstance(leaves[0], tf.TensorSpec) or leaves[0].dtype == tf.bool:
            return dataset
        if leaves[0].dtype == tf.string:
            self.labels(next((batch[1] for batch in dataset.take(1)), None), place="")
            return dataset
        if leaves[0].shape.rank is not None:
            self._check_shape(leaves[0].shape)

        def check(x, y, *weights):
            (labels,) = tf.nest.flatten(y)
            flat = tf.reshape(labels, [-1])  # a mask needs a rank, and a dataset of a generator may state none
            wrong = self._wrong_in_graph(flat)
            found = tf.as_string(tf.boolean_mask(flat, wrong)[:1], shortest=labels.dtype.is_floating)
            with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(wrong), [_MARK, found])]):
                return x, tf.nest.map_structure(tf.identity, y), *weights

        return dataset.map(check)

    def _wrong_in_graph(self, labels):
        import tensorflow as tf

        if self._form == _ROW:
            return ~((labels >= 0) & (labels < labels.dtype.max))
        right = (labels >= 0) & (labels < tf.cast(self._classes, labels.dtype))
        if labels.dtype.is_floating:
            right &= labels == tf.floor(labels)
        return ~right if self._ignored is None else ~right & (labels != tf.cast(self._ignored, labels.dtype))


_NUMBERS = "number the classes from 0, or build the network with more classes"
_PROBABILITIES = "give each example's class as a row of zeros with a 1, or probabilities"
_NAMES = "give each name's index in the list of classes"
_ONE_HOT = (
    "of rows with a number a class give the argmax, or compile with CategoricalCrossentropy(from_logits=True), which "
    "takes them"
)
_INDICES = (
    "of class indices give keras.utils.to_categorical, or compile with "
    "SparseCategoricalCrossentropy(from_logits=True), which takes them"
)


class _Checked(keras.utils.PyDataset):
    """Another dataset, each of whose batches is checked."""

    def __init__(self, source, check):
        super().__init__(source.workers, source.use_multiprocessing, source.max_queue_size)
        self._source = source
        self._check = check

    @property
    def num_batches(self):
        return self._source.num_batches

    def __getitem__(self, index):
        return self._check.batch(self._source[index])

    def on_epoch_begin(self):
        self._source.on_epoch_begin()

    def on_epoch_end(self):
        self._source.on_epoch_end()


def map_generator(function: Callable[[Item], Made], source: Iterable[Item]) -> Iterator[Made]:
    """`map` as a generator, which is what Keras knows.

    Example:
        >>> list(map_generator(abs, [-1, 2]))
        [1, 2]
    """
    for item in source:
        yield function(item)


def _checked_loader(loader, check):
    """The same `DataLoader`, of a class of its own: Keras knows one by its class."""
    kind = type(loader)
    checked = copy.copy(loader)
    reading = {"__iter__": lambda self: map_generator(check.batch, kind.__iter__(self))}
    checked.__class__ = type(kind.__name__, (kind,), reading)
    return checked


def _is_a(x, name, module):
    """Whether an object is of a class of a framework that may not be installed."""
    return any(parent.__name__ == name and parent.__module__.startswith(module) for parent in type(x).__mro__)


def as_array(labels: Any) -> np.ndarray:
    """Labels, or other numbers of a batch, as a NumPy array, whatever framework they are of.

    Example:
        >>> as_array([0, 1]).tolist()
        [0, 1]
    """
    if isinstance(labels, np.ndarray):
        return labels
    if _is_a(labels, "Tensor", "torch"):
        labels = labels.detach().cpu()
        labels = labels.float() if labels.is_floating_point() else labels
    array = np.asarray(labels)
    return array.astype(np.float32) if array.dtype.kind == "V" else array  # bfloat16 is no kind of NumPy's


def _shape(shape):
    return f"labels of the shape ({', '.join(map(str, ('batch', *shape[1:])))})"


def _name(label):
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
