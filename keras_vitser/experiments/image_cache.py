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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_vitser.audio import Augmentation, augment, read_waveform
from keras_vitser.audio.reading_ahead import read_ahead
from keras_vitser.corpora import Clip, Example
from keras_vitser.errors import AudioError, CorpusError, KerasViTSERError
from keras_vitser.files import whole_file
from keras_vitser.layers import FrontEnd

_FORMAT = 2
_BATCH = 16
_READERS = os.cpu_count() or 1
_READ_AHEAD = 4 * _BATCH  # waveforms, 256 kB each
_HELD_IN_MEMORY = 2**28  # bytes of images; larger sets are mapped


class ImageCache:
    """Computes and keeps the images of one front end.

    Args:
        folder: Folder of the cache; made where missing.
        front_end: The front end, whose `output_spec` is one tensor.
        augmentation: Strengths of the copies.
        seed: Int. Another seed draws other copies.

    Example:
        >>> import tempfile
        >>> from keras_vitser.corpora import Example, load
        >>> from keras_vitser.layers import LogMelImage
        >>> cache = ImageCache(tempfile.mkdtemp(), LogMelImage())
        >>> cache.images([Example(load("demo").clips[0])]).shape
        (1, 128, 128, 1)
    """

    def __init__(self, folder, front_end: FrontEnd, augmentation: Augmentation | None = None, seed: int = 0):
        self.front_end = front_end
        self.augmentation = augmentation or Augmentation()
        self.seed = seed
        self._shape = tuple(front_end.output_spec.shape[1:])
        self._settings = _digest(_FORMAT, front_end.settings(), keras.backend.backend())
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
        paths = [self._path(example) for example in examples]
        images = _Images(len(examples), self._shape, self._folder)
        missing = []
        for index, path in enumerate(paths):
            stored = _load(path, self._shape)
            if stored is None:
                missing.append(index)
            else:
                images[index] = stored
        done = len(examples) - len(missing)
        told = _from(done, len(examples), progress)
        waveforms = self._waveforms(examples[index] for index in missing)
        computed = self._computed(waveforms, [paths[index] for index in missing], told)
        for index, image in zip(missing, computed, strict=True):
            images[index] = image
        told(len(missing))
        return images.as_array()

    def unreadable(
        self, clips: Sequence[Clip], progress: Callable[[int, int], None] | None = None
    ) -> dict[Clip, KerasViTSERError]:
        """Reads every clip whose image is not kept yet, and keeps the image; so nothing is read twice.

        Args:
            clips: The clips, as they were recorded.
            progress: Called with the number of clips done and the number of all.

        Returns:
            Why a clip cannot be used, by clip and in their order; nothing for those that can.
        """
        reasons, missing = {}, {}
        for clip in clips:
            try:
                path = self._path(Example(clip))
            except CorpusError as error:  # it cannot even be opened, and reading it says why
                outcome = self._waveform_or_reason(Example(clip))
                reasons[clip] = outcome if isinstance(outcome, KerasViTSERError) else error
                continue
            if not path.is_file():
                missing[clip] = path
        told = _from(len(clips) - len(missing), len(clips), progress)
        outcomes = self._waveforms(map(Example, missing), self._waveform_or_reason)
        for clip, outcome in zip(missing, self._computed(outcomes, list(missing.values()), told), strict=True):
            if isinstance(outcome, KerasViTSERError):
                reasons[clip] = outcome
        told(len(missing))
        return {clip: reasons[clip] for clip in clips if clip in reasons}

    def _computed(self, outcomes, paths: list[Path], told: Callable[[int], None]) -> Iterator[Any]:
        """The image of each waveform, which is also stored at its path; an error in a waveform's place stays."""
        storing = ()
        # A batch is flushed to disk, which is mostly waiting, while the next one is computed.
        with closing(outcomes), ThreadPoolExecutor(_BATCH) as writers:
            for start in range(0, len(paths), _BATCH):
                told(start)
                batch = list(islice(outcomes, _BATCH))
                heard = [place for place, outcome in enumerate(batch) if isinstance(outcome, np.ndarray)]
                images = self._compute([batch[place] for place in heard]) if heard else ()
                list(storing)
                storing = writers.map(_store, [paths[start + place] for place in heard], images)
                for place, image in zip(heard, images, strict=True):
                    batch[place] = image
                yield from batch
            list(storing)

    def _waveforms(self, examples: Iterator[Example], read: Callable[[Example], Any] | None = None) -> Iterator[Any]:
        """The waveforms in order, read in threads and not further ahead than `_READ_AHEAD`."""
        return read_ahead(read or self._waveform, examples, _READERS, _READ_AHEAD)

    def _waveform_or_reason(self, example: Example) -> np.ndarray | KerasViTSERError:
        try:
            return self._waveform(example)
        except (AudioError, CorpusError) as error:
            return error

    def _path(self, example: Example) -> Path:
        parts = [example.clip.content_hash, example.copy]
        if example.copy:
            parts += [asdict(self.augmentation), self.seed]
        return self._folder / f"{_digest(*parts)}.npy"

    def _waveform(self, example: Example) -> np.ndarray:
        waveform = read_waveform(example.clip.path, sampling_rate=self.front_end.sampling_rate)
        drawn = _digest(example.clip.content_hash, example.copy, self.seed)
        waveform = augment(waveform, example.copy, np.random.default_rng(int(drawn[:16], 16)), self.augmentation)
        return self.front_end.used(waveform).copy()  # a view would keep a long recording in memory

    def _compute(self, waveforms: list[np.ndarray]) -> np.ndarray:
        clips, lengths = self.front_end.clips(waveforms, rows=_BATCH)
        return self.front_end.features(clips, lengths)[: len(waveforms)]


def _from(done: int, total: int, progress: Callable[[int, int], None] | None) -> Callable[[int], None]:
    """Progress of what is left, where so many of all are done."""
    return lambda more: progress(done + more, total) if progress else None


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
