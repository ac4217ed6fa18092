"""Images of examples, computed once and kept on disk by content.

An image's key is the recording's content, the front end's settings and, for an
augmented copy, its strengths and seed; so a changed file or setting is a new image, and
a renamed or moved file is not. The backend is part of the key, because two backends
agree to about 1e-7 only and the same seed shall give the same result.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from keras_vitser.audio import Augmentation, augment, read_waveform
from keras_vitser.corpora import Example
from keras_vitser.files import whole_file
from keras_vitser.layers import LogMelImage

_FORMAT = 1
_BATCH = 16  # a spectrogram is 6 MB a clip on its way to an image
_READERS = os.cpu_count() or 1


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
            float32 array `(examples, bands, frames, 1)`, values in 0..1.

        Raises:
            AudioError: A recording cannot be used; the message names it.
        """
        images = np.empty((len(examples), *self.front_end.image_size, 1), np.float32)
        paths = [self._path(example) for example in examples]
        missing = []
        for index, path in enumerate(paths):
            stored = _load(path, images.shape[1:])
            if stored is None:
                missing.append(index)
            else:
                images[index] = stored
        done = len(examples) - len(missing)
        with ThreadPoolExecutor(_READERS) as pool:
            for start in range(0, len(missing), _BATCH):
                if progress:
                    progress(done + start, len(examples))
                indices = missing[start : start + _BATCH]
                waveforms = pool.map(self._waveform, [examples[index] for index in indices])
                images[indices] = self._compute(list(waveforms))
                for index in indices:
                    _store(paths[index], images[index])
        if progress:
            progress(len(examples), len(examples))
        return images

    def _path(self, example: Example) -> Path:
        parts = [example.clip.content_hash, example.copy]
        if example.copy:
            parts += [asdict(self.augmentation), self.seed]
        return self._folder / f"{_digest(*parts)}.npy"

    def _waveform(self, example: Example) -> np.ndarray:
        waveform = read_waveform(example.clip.path, sampling_rate=self.front_end.sampling_rate)
        drawn = _digest(example.clip.content_hash, example.copy, self.seed)
        return augment(waveform, example.copy, np.random.default_rng(int(drawn[:16], 16)), self.augmentation)

    def _compute(self, waveforms: list[np.ndarray]) -> np.ndarray:
        length = self.front_end.clip_samples
        batch = np.zeros((_BATCH, length), np.float32)
        for row, waveform in zip(batch, waveforms, strict=False):
            row[: min(length, len(waveform))] = waveform[:length]
        return keras.ops.convert_to_numpy(self.front_end(batch))[: len(waveforms)]


def _digest(*parts) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _load(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        image = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return image if image.shape == shape and image.dtype == np.float32 else None


def _store(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        np.save(part, image)
