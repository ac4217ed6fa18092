"""Teacher features that are computed once an example and travel beside the inputs.

Features are kept by the content of the example, so the order and the grouping of examples
may change from epoch to epoch. Inputs that are drawn anew each time are refused: there is
nothing to keep then.
"""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vitser.distillation.taps import all_layers
from keras_vitser.errors import DistillationError
from keras_vitser.files import whole_file
from keras_vitser.training.checkpoints import weights_digest
from keras_vitser.training.epochs import is_arrays, is_endless

_INPUTS = "inputs"
_FEATURES = "teacher_features"
_SHARD_BYTES = 64 * 2**20
_DIGEST_BYTES = 16
_CHECKED_BATCHES = 4
_END = object()
_WINDOW = 16  # batches; Keras reads the first few of an epoch twice, or ahead of its beginning

_Report = Callable[[int, int | None], None]  # of batches done, and of all

log = logging.getLogger(__name__)


def attach_teacher_features(inputs: Any, features: Any) -> dict[str, Any]:
    """Makes the `x` of a batch that brings its teacher features along.

    Args:
        inputs: The student's inputs, `(batch, ...)`.
        features: The teacher's features of the same examples, one `(batch, ...)` or a list of one a match, as
            `Distiller.teacher_features` gives them.

    Returns:
        Dict to give to `Distiller.fit` as `x`, or from a dataset.

    Example:
        >>> sorted(attach_teacher_features(np.zeros((4, 8)), np.zeros((4, 3))))
        ['inputs', 'teacher_features']
    """
    return {_INPUTS: inputs, _FEATURES: features}


def detach_teacher_features(x: Any, inputs: Any = None) -> tuple[Any, list[Any] | None]:
    """Returns `(inputs, features)`; features are a list, or `None` where `x` is plain inputs.

    Args:
        x: Of a batch.
        inputs: A network's own inputs, in their structure: a dict with the same two keys is told from ours by them.
    """
    is_ours = isinstance(x, dict) and set(x) == {_INPUTS, _FEATURES}
    if is_ours and isinstance(inputs, dict) and set(inputs) == set(x):
        is_ours = isinstance(x[_INPUTS], dict)
    if is_ours:
        features = x[_FEATURES]
        return x[_INPUTS], list(features) if isinstance(features, list | tuple) else [features]
    return x, None


def fingerprint(model: keras.Model, paths: Sequence[str]) -> str:
    """What a teacher's features depend on: its weights, its layers, and which features; 32 hexadecimal digits."""
    layers = [_config(layer) for layer in all_layers(model) if not isinstance(layer, keras.Model)]
    parts = [paths, layers, weights_digest(model)]
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:32]


class FeatureCache:
    """What a teacher says of each example, kept in memory, or in shards on disk that are read memory-mapped.

    Args:
        model: The teacher's `Distiller.teacher_feature_model`.
        key: What `fingerprint` says of the teacher.
        folder: Where features are kept for later runs, in a folder named by the key; `None` for memory alone.

    Attributes:
        computed: Number of examples that the teacher was run for.
    """

    def __init__(self, model: keras.Model, key: str, folder: str | os.PathLike | None = None):
        self.key = key
        self.computed = 0
        self._model = model
        self._shapes = [tuple(tensor.shape[1:]) for tensor in model.output["features"]]
        if any(size is None for shape in self._shapes for size in shape):
            raise DistillationError(
                f"only features of one size can be cached. Received: {self._shapes}; give the inputs a size"
            )
        self._folder = None if folder is None else Path(folder) / self.key
        self._places: dict[bytes, tuple[int, int]] = {}  # by digest: shard, row
        self._shards: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []  # of the shard that is being filled, the last one
        self._digests: list[bytes] = []  # of the same
        self._batch = 0
        self._frozen: list[list[np.ndarray]] | None = None
        self._lock = threading.Lock()
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._folder.glob("*.digests.npy")):
                try:
                    digests = np.load(path)
                    features = np.load(path.with_name(path.name.replace("digests", "features")), mmap_mode="r")
                except (OSError, EOFError, ValueError) as error:
                    log.warning("%s is damaged (%s); its features are computed again", path, error)
                    continue
                self._keep(features, digests)

    def __call__(self, inputs: Any) -> tuple[list[np.ndarray], int]:
        """Features of a batch of NumPy inputs, float32, one `(batch, ...)` a match, and how many examples were new."""
        digests = _digests(inputs)
        with self._lock:
            new = {digest: row for row, digest in enumerate(digests) if digest not in self._places}
            if new:
                self._add(inputs, new)
            found = [self._row(*self._places[digest]) for digest in digests]
        splits = np.cumsum([int(np.prod(shape)) for shape in self._shapes])[:-1]
        parts = np.split(np.stack(found), splits, axis=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, self._shapes, strict=True)], len(new)

    def flush(self) -> None:
        """Writes what is not on disk yet."""
        with self._lock:
            if self._folder is not None and self._rows:
                self._close_shard()

    def freeze(self) -> None:
        """Takes a copy of the teacher's weights: within a `fit` its variables may be out of reach, as on JAX."""
        self._frozen = [
            [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]
            for variables in (self._model.trainable_variables, self._model.non_trainable_variables)
        ]

    def thaw(self) -> None:
        """Ends `freeze`."""
        self._frozen = None

    def _add(self, inputs, new):
        rows = list(new.values())
        outputs = self._run(keras.tree.map_structure(lambda array: array[rows], inputs))
        flat = [output.astype(np.float32).reshape(len(rows), -1) for output in outputs]
        self.computed += len(rows)
        for digest, row in zip(new, np.concatenate(flat, axis=1), strict=True):
            self._places[digest] = (len(self._shards), len(self._rows))
            self._rows.append(row)
            self._digests.append(digest)
        if len(self._rows) * self._rows[0].nbytes >= _SHARD_BYTES:
            self._close_shard()

    def _run(self, inputs):
        if self._frozen is not None:
            outputs, _ = self._model.stateless_call(*self._frozen, inputs, training=False)
            return [keras.ops.convert_to_numpy(output) for output in outputs["features"]]
        # Batches of one size, so that one graph serves all.
        count = len(keras.tree.flatten(inputs)[0])
        self._batch = max(self._batch, count)
        padded = keras.tree.map_structure(
            lambda array: np.concatenate([array, np.repeat(array[:1], self._batch - count, axis=0)]), inputs
        )
        return [np.asarray(output)[:count] for output in self._model.predict_on_batch(padded)["features"]]

    def _row(self, shard, row):
        return self._rows[row] if shard == len(self._shards) else self._shards[shard][row]

    def _close_shard(self):
        features = np.stack(self._rows)
        digests = np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, _DIGEST_BYTES)
        self._rows, self._digests = [], []
        if self._folder is not None:
            name = digests[0].tobytes().hex()
            for kind, array in (("features", features), ("digests", digests)):  # digests last: they make it count
                with whole_file(self._folder / f"{name}.{kind}.npy") as part, part.open("wb") as file:
                    np.save(file, array)
            features = np.load(self._folder / f"{name}.features.npy", mmap_mode="r")
        self._keep(features, digests)

    def _keep(self, features, digests):
        for row, digest in enumerate(digests):
            self._places[digest.tobytes()] = (len(self._shards), row)
        self._shards.append(features)


def with_cached_features(
    cache: FeatureCache,
    x: Any,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    report: _Report = lambda done, total: None,
    check: Callable[[Any], Any] = lambda batch: batch,
) -> Any:
    """The data of a `fit`, with the teacher's features beside each example.

    Args:
        cache: `FeatureCache`.
        x: Arrays, a `keras.utils.PyDataset`, or anything that can be read again and again in batches of `(x, y)`.
        batch_size: As given to `fit`, for arrays.
        steps_per_epoch: As given to `fit`; refused for data that is not arrays.
        report: Called with the batches looked at and the batches of all, `None` where that is not known.
        check: Called with each batch before it is looked at, except where `x` is arrays.

    Returns:
        For arrays the `x` to give to `fit`, otherwise a `CachedBatches`.

    Raises:
        DistillationError: The data is drawn anew each time it is read, or can be read only once, or has no end.
    """
    if isinstance(x, keras.utils.PyDataset) or not is_arrays(x):
        if steps_per_epoch is not None:
            raise DistillationError(
                "cache_teacher reads the data once from start to end, so steps_per_epoch cannot be given; "
                "give data that ends, and let the epoch be all of it"
            )
        batches = CachedBatches(cache, x)
        batches.fill(report, check)
        cache.freeze()
        return batches
    inputs = keras.tree.map_structure(np.asarray, x)
    size = batch_size or 32
    count = len(keras.tree.flatten(inputs)[0])
    found = []
    for number, start in enumerate(range(0, count, size), start=1):
        found.append(cache(_rows(inputs, start, start + size))[0])
        report(number, -(-count // size))
    return attach_teacher_features(inputs, [np.concatenate(parts) for parts in zip(*found, strict=True)])


class CachedBatches(keras.utils.PyDataset):
    """Another dataset's batches, each with its teacher features.

    Attributes:
        indexed: Whether the source gives any batch by its index; otherwise batches must be asked for in order.
        error: The `DistillationError` that ended the reading, if one did; a backend may wrap it in its own.
    """

    def __init__(self, cache: FeatureCache, source: Any):
        settings = {}
        self.indexed = isinstance(source, keras.utils.PyDataset)
        if self.indexed:
            settings = {"workers": source.workers, "max_queue_size": source.max_queue_size}
        else:
            if iter(source) is source:
                raise DistillationError(
                    f"cache_teacher reads the data more than once, and a {type(source).__name__} can be read only "
                    "once; give a dataset, or arrays"
                )
        super().__init__(**settings)
        if is_endless(source):
            raise DistillationError("cache_teacher needs data that ends, and this has no end; leave out `repeat`")
        self.error: DistillationError | None = None
        self._cache = cache
        self._source = source
        self._length = source.num_batches if self.indexed else 0
        self._largest = 0
        self._new = 0
        self._lock = threading.Lock()
        self._start()

    def fill(self, report: _Report, check: Callable[[Any], Any]) -> None:
        """Runs the teacher for all examples of one pass, then reads some again to see whether they stay the same."""
        if self.indexed:
            batches = (self._source[index] for index in range(self._length))
            spread = np.unique(np.linspace(0, self._length - 1, _CHECKED_BATCHES).astype(int))
            again = (self._source[int(index)] for index in spread)
        else:
            batches = again = self._source
        length = 0
        for batch in batches:
            examples, _ = self._count(check(batch))
            self._largest = max(self._largest, examples)
            length += 1
            report(length, self._length or None)
        self._length = length
        seen = new = 0
        for _, batch in zip(range(_CHECKED_BATCHES), again, strict=False):
            examples, unknown = self._count(batch)
            seen, new = seen + examples, new + unknown
        self._start()
        if 2 * new > seen or new > self._largest:
            raise DistillationError(_RANDOM.format(new=new, seen=seen))
        self._cache.flush()
        log.info("teacher features: %d examples computed, kept under %s", self._cache.computed, self._cache.key)

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        try:
            batch = self._source[index] if self.indexed else self._next(index)
            return self._batch(batch)
        except DistillationError as error:
            self.error = error
            raise

    def on_epoch_begin(self) -> None:
        if self.indexed:
            self._source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._start()
        if self.indexed:
            self._source.on_epoch_end()

    def _start(self):
        self._new = 0
        with self._lock:
            self._iterator, self._position, self._window = None, 0, {}

    def _next(self, index):
        """Batch `index` of a source that is read in order, however often Keras asks for the latest ones."""
        with self._lock:
            if self._iterator is None:
                self._iterator = iter(self._source)
            while self._position <= index:
                batch = next(self._iterator, _END)
                if batch is _END:
                    raise DistillationError(_UNEVEN.format(found=self._position, length=self._length))
                self._window[self._position] = batch
                self._window.pop(self._position - _WINDOW, None)
                self._position += 1
                if self._position == self._length and next(self._iterator, _END) is not _END:
                    raise DistillationError(_UNEVEN.format(found=f"more than {self._length}", length=self._length))
            # What has left the window is asked for only by a reader that Keras has started too early and throws away.
            return self._window.get(index) or next(iter(self._window.values()))

    def _batch(self, batch):
        x, y, sample_weight, new = self._features(batch)
        self._new += new
        if self._new > self._largest:
            raise DistillationError(_RANDOM.format(new=self._new, seen="one epoch's"))
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight) if y is not None else (x,)

    def _count(self, batch):
        x, _, _, new = self._features(batch)
        return len(keras.tree.flatten(x)[0]), new

    def _features(self, batch):
        batch = keras.tree.map_structure(np.asarray, tuple(batch) if isinstance(batch, list) else batch)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        features, new = self._cache(x)
        return attach_teacher_features(x, tuple(features)), y, sample_weight, new


_RANDOM = (
    "cache_teacher needs inputs that stay the same, and these change each time they are read ({new} of {seen} examples "
    "were new): the pipeline is random. Draw its random part once, before the dataset, or leave cache_teacher out"
)


_UNEVEN = (
    "cache_teacher needs as many batches in each epoch as in the first. Received: {found}, and {length} before; where "
    "batches are lost (`ignore_errors`), drop the examples that cannot be read before they are put into batches, or "
    "leave cache_teacher out"
)


def _rows(inputs, start, stop):
    return keras.tree.map_structure(lambda array: array[start:stop], inputs)


def _digests(inputs):
    arrays = [np.ascontiguousarray(array) for array in keras.tree.flatten(inputs)]
    kinds = str([(array.dtype.str, array.shape[1:]) for array in arrays]).encode()
    digests = []
    for row in range(len(arrays[0])):
        digest = hashlib.blake2b(kinds, digest_size=_DIGEST_BYTES)
        for array in arrays:
            digest.update(array[row].tobytes())
        digests.append(digest.digest())
    return digests


def _config(layer):
    try:
        config = layer.get_config()
    except NotImplementedError:
        config = {}
    return type(layer).__name__, without_keys(config, ("name",))  # which Keras counts up within a process


def without_keys(config: Any, keys: Collection[str]) -> Any:
    """A serialized config without some keys, at any depth.

    Example:
        >>> without_keys({"name": "dense_1", "inner": [{"name": "dense_2", "units": 3}]}, ("name",))
        {'inner': [{'units': 3}]}
    """
    if isinstance(config, dict):
        return {key: without_keys(value, keys) for key, value in config.items() if key not in keys}
    return [without_keys(value, keys) for value in config] if isinstance(config, list | tuple) else config
