"""What a front end makes of examples, computed once and kept on disk by content.

The key of an example is the recording's content, the front end's class and settings and, for an augmented copy, its
strengths and seed; so a changed file or setting is computed anew, and a renamed or moved file is not. The backend is
part of the key, because two backends agree to about 1e-7 only and the same seed shall give the same result.

Files are decoded, resampled and augmented in threads, a few batches ahead of the front end; what comes of them is
written in files of many examples, the last of which alone is lost where the process is killed. Sets too large for
memory are read row by row as they are asked for. So memory does not grow with the number of recordings.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vitser.audio import Augmentation, augment, read_waveform
from keras_vitser.audio.reading_ahead import read_ahead
from keras_vitser.corpora import Clip, Example
from keras_vitser.errors import AudioError, CorpusError, KerasViTSERError
from keras_vitser.experiments.shards import Shards
from keras_vitser.layers import FrontEnd

LENGTHS = "lengths"
_FORMAT = 3
_BATCH = 16
_READERS = os.cpu_count() or 1
_READ_AHEAD = 4 * _BATCH  # waveforms, 256 kB each
_HELD_IN_MEMORY = 2**28  # bytes; larger sets are read as they are asked for
_BYTES_A_FILE = 2**24
_SECONDS_A_FILE = 10.0  # of work at most are lost by a kill


class FeatureStore:
    """Computes and keeps the features of one front end.

    Each output of the front end keeps the dtype of its spec: log-Mel images are float32, exactly what the network is
    given when it answers. Where an output has an open axis (but for the batch), the front end's outputs are a dict with
    `lengths`, which says how far each example fills its open axes; what is behind is not kept.

    Args:
        folder: Folder of the store; made where missing.
        front_end: The front end.
        augmentation: Strengths of the copies.
        seed: Int. Another seed draws other copies.
        stored_as: `"uint8"` keeps outputs, which must then lie in 0..1, as one of 256 values: a quarter of the room.
            Defaults to `None`: as they are.

    Example:
        >>> import tempfile
        >>> from keras_vitser.corpora import Example, load
        >>> from keras_vitser.layers import LogMelImage
        >>> store = FeatureStore(tempfile.mkdtemp(), LogMelImage())
        >>> store.features([Example(load("demo").clips[0])]).shape
        (1, 128, 128, 1)
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        front_end: FrontEnd,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        stored_as: str | None = None,
    ):
        self.front_end = front_end
        self.augmentation = augmentation or Augmentation()
        self.seed = seed
        self._outputs = [
            _Output("/".join(map(str, path)), tuple(spec.shape[1:]), spec.dtype, stored_as)
            for path, spec in keras.tree.flatten_with_path(front_end.output_spec)
        ]
        is_open = any(None in output.shape for output in self._outputs)
        if is_open and not (isinstance(front_end.output_spec, dict) and LENGTHS in front_end.output_spec):
            raise ValueError(
                f"a front end whose outputs have an open axis must give `{LENGTHS}` beside them. Received "
                f"output_spec={front_end.output_spec}"
            )
        settings = _digest(_FORMAT, front_end.settings(), keras.backend.backend(), stored_as)
        self._shards = Shards(Path(folder) / "features" / settings[:16])

    def features(self, examples: Sequence[Example], progress: Callable[[int, int], None] | None = None) -> Any:
        """The features of examples, in their order.

        Args:
            examples: The examples.
            progress: Called with the number of examples done and the number of all.

        Returns:
            Arrays `(examples, ...)` in the structure of the front end's `output_spec`, of its dtypes; open axes are as
            long as the longest of these examples, and padded with zeros. Above 256 MB in all they are `Rows`.

        Raises:
            AudioError: A recording cannot be used; the message names it.
        """
        keys = [self._key(example) for example in examples]
        self._shards.refresh()
        missing = {key: example for key, example in zip(keys, examples, strict=True) if not self._is_kept(key)}
        done = sum(key not in missing for key in keys)
        told = _from(done, len(examples), progress)
        waveforms = self._waveforms(missing.values())
        for _ in self._computed(waveforms, list(missing), told):
            pass
        told(len(examples) - done)
        rows = [Rows(self._shards, keys, output) for output in self._outputs]
        is_small = sum(each.nbytes for each in rows) <= _HELD_IN_MEMORY
        arrays = [np.asarray(each) for each in rows] if is_small else rows
        return keras.tree.pack_sequence_as(self.front_end.output_spec, arrays)

    def unreadable(
        self, clips: Sequence[Clip], progress: Callable[[int, int], None] | None = None
    ) -> dict[Clip, KerasViTSERError]:
        """Reads every clip whose features are not kept yet, and keeps them; so nothing is read twice.

        Args:
            clips: The clips, as they were recorded.
            progress: Called with the number of clips done and the number of all.

        Returns:
            Why a clip cannot be used, by clip and in their order; nothing for those that can.
        """
        reasons: dict[Clip, KerasViTSERError] = {}
        wanted: dict[Clip, str] = {}
        for clip in clips:
            try:
                wanted[clip] = self._key(Example(clip))
            except CorpusError as error:  # it cannot even be opened, and reading it says why
                read = self._waveform_or_reason(Example(clip))
                reasons[clip] = read if isinstance(read, KerasViTSERError) else error
        self._shards.refresh()
        missing = {clip: key for clip, key in wanted.items() if not self._is_kept(key)}
        told = _from(len(clips) - len(missing), len(clips), progress)
        outcomes = self._waveforms(map(Example, missing), self._waveform_or_reason)
        for clip, outcome in zip(missing, self._computed(outcomes, list(missing.values()), told), strict=True):
            if isinstance(outcome, KerasViTSERError):
                reasons[clip] = outcome
        told(len(missing))
        return {clip: reasons[clip] for clip in clips if clip in reasons}

    def _is_kept(self, key: str) -> bool:
        """Whether all outputs are, each in the shape that it should have."""
        return all(output.is_kept(self._shards, key) for output in self._outputs)

    def _computed(self, outcomes, keys: list[str], told: Callable[[int], None]) -> Iterator[KerasViTSERError | None]:
        """Computes and keeps the features of each waveform, in order; an error in a waveform's place is passed on."""
        with closing(outcomes), closing(_Writer(self._shards)) as writer:
            for start in range(0, len(keys), _BATCH):
                told(start)
                batch = list(islice(outcomes, _BATCH))
                heard = [place for place, outcome in enumerate(batch) if isinstance(outcome, np.ndarray)]
                for place, arrays in zip(heard, self._compute([batch[place] for place in heard]), strict=True):
                    names = (output.name(keys[start + place]) for output in self._outputs)
                    writer.add(dict(zip(names, arrays, strict=True)))
                    batch[place] = None
                yield from batch

    def _waveforms(self, examples: Iterable[Example], read: Callable[[Example], Any] | None = None) -> Iterator[Any]:
        """The waveforms in order, read in threads and not further ahead than `_READ_AHEAD`."""
        return read_ahead(read or self._waveform, examples, _READERS, _READ_AHEAD)

    def _waveform_or_reason(self, example: Example) -> np.ndarray | KerasViTSERError:
        try:
            return self._waveform(example)
        except (AudioError, CorpusError) as error:
            return error

    def _key(self, example: Example) -> str:
        parts = [example.clip.content_hash, example.copy]
        if example.copy:
            parts += [asdict(self.augmentation), self.seed]
        return _digest(*parts)

    def _waveform(self, example: Example) -> np.ndarray:
        waveform = read_waveform(example.clip.path, sampling_rate=self.front_end.sampling_rate)
        drawn = _digest(example.clip.content_hash, example.copy, self.seed)
        waveform = augment(waveform, example.copy, np.random.default_rng(int(drawn[:16], 16)), self.augmentation)
        return self.front_end.used(waveform).copy()  # a view would keep a long recording in memory

    def _compute(self, waveforms: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """For each waveform its outputs, as they are kept."""
        if not waveforms:
            return
        features = self.front_end.features(*self.front_end.clips(waveforms, rows=_BATCH))
        outputs = keras.tree.flatten(features)
        for row in range(len(waveforms)):
            length = features[LENGTHS][row] if isinstance(features, dict) and LENGTHS in features else None
            yield [spec.to_keep(output[row], length) for spec, output in zip(self._outputs, outputs, strict=True)]


@dataclass(frozen=True)
class _Output:
    """One output of a front end: how it is kept."""

    path: str
    shape: tuple[int | None, ...]
    dtype: str
    stored_as: str | None

    def name(self, key: str) -> str:
        return f"{key}/{self.path}" if self.path else key

    @property
    def _as_bytes(self) -> bool:
        return self.stored_as == "uint8" and self.dtype.startswith("float")

    def is_kept(self, shards: Shards, key: str) -> bool:
        name = self.name(key)
        if name not in shards:
            return False
        shape = shards.shape(name)
        return len(shape) == len(self.shape) and all(
            size in (None, kept) for size, kept in zip(self.shape, shape, strict=True)
        )

    def to_keep(self, array: np.ndarray, length: int | None) -> np.ndarray:
        array = array[tuple(slice(length if size is None else None) for size in self.shape)]
        return np.rint(array * np.float32(255)).astype(np.uint8) if self._as_bytes else array.astype(self.dtype)

    def as_given(self, kept: np.ndarray) -> np.ndarray:
        return kept.astype(self.dtype) / np.asarray(255, self.dtype) if self._as_bytes else kept


class Rows:
    """Rows of a store, read from its files as they are asked for.

    Attributes:
        shape: `(examples, ...)`; open axes are as long as the longest example.
        dtype: NumPy dtype.
    """

    def __init__(self, shards: Shards, keys: Sequence[str], output: _Output):
        self._shards, self._output = shards, output
        self._names = [output.name(key) for key in keys]
        longest = [0] * len(output.shape)
        if None in output.shape and keys:
            shapes = [shards.shape(name) for name in self._names]
            longest = [max(each) for each in zip(*shapes, strict=True)]
        sizes = [long if size is None else size for size, long in zip(output.shape, longest, strict=True)]
        self.shape: tuple[int, ...] = (len(keys), *sizes)
        self.dtype = np.dtype(output.dtype)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """A copy of one row, or of those that a slice or an int array names."""
        if isinstance(index, int | np.integer):
            return self[np.array([index])][0]
        places = np.arange(len(self))[index]
        rows = np.zeros((len(places), *self.shape[1:]), self.dtype)
        for row, place in enumerate(places):
            kept = self._output.as_given(self._shards[self._names[place]])
            filled: tuple[int | slice, ...] = (row, *map(slice, kept.shape))
            rows[filled] = kept
        return rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class _Writer:
    """Gathers arrays and writes them file by file, each while the next are computed."""

    def __init__(self, shards: Shards):
        self._shards = shards
        self._pool = ThreadPoolExecutor(1)
        self._writing: Future | None = None
        self._begin()

    def add(self, arrays: dict[str, np.ndarray]) -> None:
        self._gathered |= arrays
        self._bytes += sum(array.nbytes for array in arrays.values())
        if self._bytes >= _BYTES_A_FILE or time.monotonic() - self._since >= _SECONDS_A_FILE:
            self._write()

    def close(self) -> None:
        """Writes what is left, also where the work ends early."""
        with self._pool:
            if self._gathered:
                self._write()
            if self._writing:
                self._writing.result()

    def _begin(self) -> None:
        self._gathered: dict[str, np.ndarray] = {}
        self._bytes, self._since = 0, time.monotonic()

    def _write(self) -> None:
        if self._writing:
            self._writing.result()
        self._writing = self._pool.submit(self._shards.add, self._gathered)
        self._begin()


def _from(done: int, total: int, progress: Callable[[int, int], None] | None) -> Callable[[int], None]:
    """Progress of what is left, where so many of all are done."""
    return lambda more: progress(done + more, total) if progress else None


def _digest(*parts) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
