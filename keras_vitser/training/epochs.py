"""The batches of a whole transfer, an epoch after an epoch, from any epoch and step on.

Three kinds of data have an order that is a function of seed and epoch alone, so that it can be taken up again where
it was left: arrays, a `keras.utils.PyDataset`, and a callable that gives the dataset of an epoch.
"""

import hashlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_vitser.errors import DistillationError

if TYPE_CHECKING:
    from keras_vitser.labels import LabelCheck

_READ_TWICE = 2  # Keras looks at the first batches before it starts, to learn their shapes
_DIGESTED_ROWS = 256
_END = object()


def epochs_of(ds: Any, batch_size: int, seed: int) -> "Epochs | None":
    """The `Epochs` of a transfer's data, if its order can be restored.

    Args:
        ds: As `transfer` takes it.
        batch_size: Positive int, for arrays.
        seed: Int of at least 0, for arrays.

    Returns:
        `Epochs`, or `None` for data of any other kind.

    Raises:
        DistillationError: The arrays do not fit together or have no labels, or the data has no end.

    Example:
        >>> batches = epochs_of((np.arange(5.0), np.arange(5)), batch_size=2, seed=0)
        >>> [len(labels) for inputs, labels in batches]
        [2, 2, 1]
        >>> epochs_of(iter([]), batch_size=2, seed=0) is None
        True
    """
    if isinstance(ds, keras.utils.PyDataset):
        return _DatasetEpochs(ds)
    if isinstance(ds, tuple) or is_arrays(ds):
        return _ArrayEpochs(ds if isinstance(ds, tuple) else (ds,), batch_size, seed)
    if callable(ds) and not hasattr(ds, "__iter__"):
        return _CalledEpochs(ds)
    return None


def is_arrays(x: Any) -> bool:
    """Whether data is an array or a structure of arrays, and not a dataset.

    Example:
        >>> is_arrays({"a": np.zeros(3)}), is_arrays(iter([np.zeros(3)]))
        (True, False)
    """
    return all(hasattr(array, "shape") for array in keras.tree.flatten(x)) and not hasattr(x, "cardinality")


def is_endless(dataset: Any) -> bool:
    """Whether a dataset says that it has no end.

    Example:
        >>> is_endless([1, 2])
        False
    """
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches is None
    return hasattr(dataset, "cardinality") and int(dataset.cardinality()) == -1


def known_length(dataset: Any) -> int | None:
    """How many batches a dataset says it has, or `None` where it does not say.

    Args:
        dataset: Anything.

    Returns:
        Int of at least 0, or `None`.

    Raises:
        DistillationError: It says that it has no end.

    Example:
        >>> known_length([1, 2, 3]), known_length(iter([1, 2, 3]))
        (3, None)
    """
    if is_endless(dataset):
        raise DistillationError(
            f"an epoch of `ds` must end, and this {type(dataset).__name__} has no end; leave out `repeat`, or give a "
            "length"
        )
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches
    try:
        return len(dataset)
    except TypeError:
        return None


class Epochs(keras.utils.PyDataset):
    """The batches of one epoch from one step on, as Keras' `fit` reads them.

    Attributes:
        description: Str, what data this is.
        batches: Int, batches of a whole epoch, or 0 where they were not counted yet.
        epoch: Int, counted from 0 through both stages.
        step: Int, batches of this epoch that are left out because they were trained on already.
        error: The `DistillationError` that ended the reading, if one did; a backend may wrap it in its own.
        check: `LabelCheck` of each batch, or `None`.
    """

    batches = 0

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.epoch = 0
        self.step = 0
        self.error: DistillationError | None = None
        self.check: LabelCheck | None = None

    @property
    def description(self) -> str:
        raise NotImplementedError

    def replay(self, epochs: int) -> None:
        """Brings a source that counts its epochs that many further; others need nothing."""

    def begin(self, epoch: int) -> None:
        """Is called before the first batch of an epoch is trained on."""
        self.epoch = epoch

    def end(self) -> None:
        """Is called after an epoch."""

    def __len__(self):
        return self.batches - self.step

    def __getitem__(self, index):
        try:
            batch = self.batch(self.step + index)
            return batch if self.check is None else self.check.batch(batch)
        except DistillationError as error:
            self.error = error
            raise

    def batch(self, index: int) -> Any:
        """Batch `index` of the whole epoch."""
        raise NotImplementedError


class _ArrayEpochs(Epochs):
    def __init__(self, arrays, batch_size, seed):
        super().__init__()
        _check_whole("batch_size", batch_size, 1)
        _check_whole("seed", seed, 0)
        self._arrays = _checked(arrays)
        self._examples = len(keras.tree.flatten(self._arrays)[0])
        self._batch_size = batch_size
        self._seed = seed
        self._order: tuple[int | None, np.ndarray] = None, np.arange(0)
        self.batches = -(-self._examples // batch_size)

    @property
    def description(self) -> str:
        """With a digest of all that they hold, so that a job is not taken up with other data."""
        digest = hashlib.blake2b(digest_size=16)
        for array in keras.tree.flatten(self._arrays):
            digest.update(f"{array.dtype} {array.shape}".encode())
            for start in range(0, self._examples, _DIGESTED_ROWS):
                digest.update(np.ascontiguousarray(array[start : start + _DIGESTED_ROWS]).tobytes())
        return f"arrays of {self._examples} examples, digest {digest.hexdigest()}"

    def batch(self, index):
        epoch, order = self._order
        if epoch != self.epoch:
            epoch = self.epoch
            order = np.random.default_rng((self._seed, epoch)).permutation(self._examples)
            self._order = epoch, order
        chosen = order[index * self._batch_size : (index + 1) * self._batch_size]
        return keras.tree.map_structure(lambda array: _rows(array, chosen), self._arrays)


class _DatasetEpochs(Epochs):
    """Reads ahead in threads of its own where the dataset asks for workers: Keras' would skip batches on PyTorch."""

    def __init__(self, source):
        super().__init__()
        self._source = source
        self._pool = ThreadPoolExecutor(source.workers) if source.workers > 1 else None
        self._ahead: dict[int, Future] = {}
        self._lock = threading.Lock()
        self.batches = known_length(source) or 0

    @property
    def description(self) -> str:
        return f"PyDataset of {self.batches} batches"

    def replay(self, epochs):
        for _ in range(epochs):
            self._source.on_epoch_begin()
            self._source.on_epoch_end()

    def begin(self, epoch):
        super().begin(epoch)
        self._forget()
        self._source.on_epoch_begin()
        _check_length(known_length(self._source), self.batches, epoch)

    def end(self):
        self._forget()
        self._source.on_epoch_end()

    def batch(self, index):
        if self._pool is None:
            return self._source[index]
        with self._lock:
            for place in range(index, min(index + self._source.max_queue_size, self.batches)):
                if place not in self._ahead:
                    self._ahead[place] = self._pool.submit(self._source.__getitem__, place)
            future = self._ahead.pop(index)
        return future.result()

    def _forget(self):
        """What was read of the order before."""
        with self._lock:
            started = [future for future in self._ahead.values() if not future.cancel()]
            self._ahead = {}
        wait(started)


class _CalledEpochs(Epochs):
    """Reads each epoch's dataset in order; what is asked for again and no longer there starts it anew."""

    def __init__(self, make):
        super().__init__()
        self._make = make
        self._lock = threading.Lock()  # Keras may read in a thread of its own
        self._opened: int | None = None
        self._iterator: Iterator[Any] = iter(())
        self._position = 0
        self._kept: dict[int, Any] = {}

    @property
    def description(self) -> str:
        return "callable"

    def __len__(self):
        if not self.batches:
            dataset = self._dataset(self.epoch)
            length = known_length(dataset)
            self.batches = sum(1 for _ in dataset) if length is None else length
            if not self.batches:
                raise DistillationError(f"`ds({self.epoch})` gave no batches; give a dataset that holds some")
        return super().__len__()

    def batch(self, index):
        with self._lock:
            return self._read(index)

    def _read(self, index):
        if self._opened != self.epoch or (index < self._position and index not in self._kept):
            self._open(index)
        if index in self._kept:
            return self._kept[index]
        while self._position <= index:
            batch = next(self._iterator, _END)
            if batch is _END:
                _check_length(self._position, self.batches, self.epoch)
            if len(self._kept) < _READ_TWICE:
                self._kept[self._position] = batch
            self._position += 1
        if self._position == self.batches and next(self._iterator, _END) is not _END:
            _check_length(f"more than {self.batches}", self.batches, self.epoch)
        return batch

    def _open(self, index):
        dataset = self._dataset(self.epoch)
        length = known_length(dataset)
        if length is not None:
            _check_length(length, self.batches, self.epoch)
        if isinstance(dataset, Sequence | keras.utils.PyDataset):
            self._iterator = (dataset[place] for place in range(index, self.batches))
        else:
            self._iterator = itertools.islice(dataset, index, None)
        self._opened, self._position, self._kept = self.epoch, index, {}

    def _dataset(self, epoch):
        dataset = self._make(epoch)
        if not hasattr(dataset, "__iter__"):
            raise DistillationError(
                f"`ds` as a callable must return the batches of an epoch, as a dataset, list or generator. Received: "
                f"{type(dataset).__name__} for epoch {epoch}"
            )
        return dataset


def _checked(arrays):
    """`(x, y)` or `(x, y, sample_weight)` as NumPy arrays of one length."""
    arrays = tuple(arrays[:2]) + tuple(part for part in arrays[2:] if part is not None)
    if len(arrays) not in (2, 3) or arrays[1] is None:
        raise DistillationError(
            f"`ds` as a tuple must be (x, y) or (x, y, sample_weight). Received: {len(arrays)} parts; labels are needed"
        )
    arrays = keras.tree.map_structure(_array, arrays)
    shapes = [array.shape for array in keras.tree.flatten(arrays)]
    if any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1 or not shapes[0][0]:
        raise DistillationError(
            f"`ds` as a tuple must hold arrays of one length, at least 1. Received arrays of the shapes: {shapes}; "
            "turn lists of numbers into arrays with np.asarray"
        )
    return arrays


def _array(array):
    return array if isinstance(array, np.ndarray) else keras.ops.convert_to_numpy(array)


def _rows(array, chosen):
    """In Keras' float type, as `fit` itself would cast them."""
    rows = array[chosen]
    return rows.astype(keras.config.floatx()) if rows.dtype.kind == "f" else rows


def _check_whole(name, value, least):
    if not isinstance(value, int | np.integer) or value < least:
        raise DistillationError(f"`{name}` must be an int of at least {least}. Received: {name}={value!r}")


def _check_length(found, batches, epoch):
    if found != batches:
        raise DistillationError(
            f"every epoch of `ds` must have the same number of batches. Received: {found} in epoch {epoch}, and "
            f"{batches} before; give a new dataset for each epoch, of one length"
        )
