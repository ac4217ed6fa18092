"""Images of examples, computed once and kept on disk by content.

An image's key is the recording's content, the front end's settings and, for an
augmented copy, its strengths and seed; so a changed file or setting is a new image, and
a renamed or moved file is not. The backend is part of the key, because two backends
agree to about 1e-7 only and the same seed shall give the same result.

Files are decoded, resampled and augmented in threads, a few batches ahead of the front
end; sets too large for memory are gathered in a file and mapped. So memory does not
grow with the number of recordings. Images stay float32: they are exactly what the
network hears when it answers, and reading one costs a twentieth of computing it.
"""

import hashlib
import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from functools import lru_cache
from itertools import islice
from pathlib import Path

import keras
import numpy as np

from keras_vitser.audio import Augmentation, augment, read_waveform
from keras_vitser.corpora import Example
from keras_vitser.files import whole_file
from keras_vitser.layers import LogMelImage

_FORMAT = 1
_BATCH = 16
_READERS = os.cpu_count() or 1
_READ_AHEAD = 4 * _BATCH  # waveforms, 256 kB each
_HELD_IN_MEMORY = 2**28  # bytes of images; larger sets are mapped


class ImageCache:
    """Computes and keeps the images of one front end.

    Args:
        folder: Folder of the cache; made where missing.
        front_end: The `LogMelImage`.
        augmentation: Strengths of the copies.
        seed: Int. Another seed draws other copies.

    Example:
        >>> import tempfile
        >>> from keras_vitser.corpora import Example, load
        >>> cache = ImageCache(tempfile.mkdtemp(), LogMelImage())
        >>> cache.images([Example(load("demo").clips[0])]).shape
        (1, 128, 128, 1)
    """

    def __init__(self, folder, front_end: LogMelImage, augmentation: Augmentation | None = None, seed: int = 0):
        self.front_end = front_end
        self.augmentation = augmentation or Augmentation()
        self.seed = seed
        config = {key: value for key, value in front_end.get_config().items() if key not in ("name", "dtype")}
        self._settings = _digest(_FORMAT, config, keras.backend.backend())
        self._folder = Path(folder) / "images" / self._settings[:16]

    def images(self, examples: Sequence[Example], progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """The images of examples, in their order.

        Args:
            examples: The examples.
            progress: Called with the number of images done and the number of all.

        Returns:
            float32 array `(examples, bands, frames, 1)`, values in 0..1. Above 256 MB it is read-only and mapped
            from a file without a name, which goes with it.

        Raises:
            AudioError: A recording cannot be used; the message names it.
        """
        shape = (*self.front_end.image_size, 1)
        paths = [self._path(example) for example in examples]
        images = _Images(len(examples), shape, self._folder)
        missing = []
        for index, path in enumerate(paths):
            stored = _load(path, shape)
            if stored is None:
                missing.append(index)
            else:
                images[index] = stored
        done = len(examples) - len(missing)
        waveforms = self._waveforms(examples[index] for index in missing)
        storing = ()
        # A batch is flushed to disk, which is mostly waiting, while the next one is computed.
        with closing(waveforms), ThreadPoolExecutor(_BATCH) as writers:
            for start in range(0, len(missing), _BATCH):
                if progress:
                    progress(done + start, len(examples))
                batch = self._compute(list(islice(waveforms, _BATCH)))
                indices = missing[start : start + _BATCH]
                for index, image in zip(indices, batch, strict=True):
                    images[index] = image
                list(storing)
                storing = writers.map(_store, [paths[index] for index in indices], batch)
            list(storing)
        if progress:
            progress(len(examples), len(examples))
        return images.as_array()

    def _waveforms(self, examples: Iterator[Example]) -> Iterator[np.ndarray]:
        """The waveforms in order, read in threads and not further ahead than `_READ_AHEAD`."""
        with ThreadPoolExecutor(_READERS) as pool:
            ahead = deque(pool.submit(self._waveform, example) for example in islice(examples, _READ_AHEAD))
            try:
                while ahead:
                    waveform = ahead.popleft().result()
                    ahead.extend(pool.submit(self._waveform, example) for example in islice(examples, 1))
                    yield waveform
            finally:
                pool.shutdown(cancel_futures=True)

    def _path(self, example: Example) -> Path:
        parts = [example.clip.content_hash, example.copy]
        if example.copy:
            parts += [asdict(self.augmentation), self.seed]
        return self._folder / f"{_digest(*parts)}.npy"

    def _waveform(self, example: Example) -> np.ndarray:
        waveform = read_waveform(example.clip.path, sampling_rate=self.front_end.sampling_rate)
        drawn = _digest(example.clip.content_hash, example.copy, self.seed)
        waveform = augment(waveform, example.copy, np.random.default_rng(int(drawn[:16], 16)), self.augmentation)
        return waveform[: self.front_end.clip_samples].copy()  # a view would keep a long recording in memory

    def _compute(self, waveforms: list[np.ndarray]) -> np.ndarray:
        batch = np.zeros((_BATCH, self.front_end.clip_samples), np.float32)
        for row, waveform in zip(batch, waveforms, strict=False):
            row[: len(waveform)] = waveform
        return _compiled(json.dumps(self.front_end.get_config()))(batch)[: len(waveforms)]


@lru_cache(maxsize=4)
def _compiled(config: str) -> Callable[[np.ndarray], np.ndarray]:
    front_end = LogMelImage.from_config(json.loads(config))
    waveforms = keras.Input((front_end.clip_samples,))
    return keras.Model(waveforms, front_end(waveforms)).predict_on_batch


def _digest(*parts) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _load(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        image = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return image if image.shape == shape and image.dtype == np.float32 else None


class _Images:
    """Room for images, in memory or, where they are too many for it, in a file without a name."""

    def __init__(self, count: int, shape: tuple[int, ...], folder: Path):
        self._shape = (count, *shape)
        self._bytes_an_image = 4 * int(np.prod(shape))
        self._file = None
        if count * self._bytes_an_image <= _HELD_IN_MEMORY:
            self._held = np.empty(self._shape, np.float32)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 as_array closes it

    def __setitem__(self, index: int, image: np.ndarray) -> None:
        if self._file is None:
            self._held[index] = image
            return
        # Written as a file, not through a mapping: pages that nobody reads are then no memory of this process.
        self._file.seek(index * self._bytes_an_image)
        self._file.write(image.tobytes())

    def as_array(self) -> np.ndarray:
        if self._file is None:
            return self._held
        with self._file as file:
            file.flush()
            return np.memmap(file, np.float32, "r", shape=self._shape)


def _store(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        np.save(part, image)
