"""Batches in an order that is a function of seed and epoch alone, the same on each backend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

Step = Callable[[Any, np.random.Generator], None]
"""Changes an example in place, drawn anew each epoch."""


@dataclass(frozen=True)
class Shift:
    """Moves an image, either way; the edge is repeated where it leaves a gap.

    Other bands are another voice, which is what vocal tract length perturbation aims at (Jaitly and Hinton 2013);
    moving whole bands is ours.

    Attributes:
        frames: Non-negative int, the farthest in time.
        bands: Non-negative int, the farthest in frequency.
    """

    frames: int
    bands: int

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> None:
        """Moves an array `(bands, frames, 1)`."""
        for axis, limit in ((1, self.frames), (0, self.bands)):
            places = np.arange(image.shape[axis]) - generator.integers(-limit, limit + 1)
            image[:] = image.take(places, axis, mode="clip")


@dataclass(frozen=True)
class Mask:
    """Blanks columns and rows of an image (SpecAugment: Park et al. 2019, without its time warp).

    Attributes:
        frames: Non-negative int, the most columns.
        bands: Non-negative int, the most rows.
    """

    frames: int
    bands: int

    def __call__(self, image: np.ndarray, generator: np.random.Generator) -> None:
        """Masks an array `(bands, frames, 1)`."""
        for limit, lines in ((self.frames, image.swapaxes(0, 1)), (self.bands, image)):
            width = generator.integers(0, min(limit, len(lines)) + 1)
            start = generator.integers(0, len(lines) - width + 1)
            lines[start : start + width] = 0


class Batches(keras.utils.PyDataset):
    """Shuffled batches of examples.

    Every batch is full, so that one graph is compiled: what is left over in an epoch
    (fewer than a batch) is left out, and another epoch leaves out others.

    Args:
        x: Any `keras.tree` structure of arrays `(examples, ...)`: images, or embeddings and their lengths.
        labels: Int array `(examples,)`, or `None` for batches of `x` alone.
        batch_size: Positive int; at most the number of examples is used.
        seed: Int.
        augment: What changes each example, in this order. Defaults to nothing.

    Example:
        >>> batches = Batches(np.zeros((10, 8, 8, 1), "float32"), np.zeros(10, int), 4, seed=0, augment=[Mask(2, 0)])
        >>> len(batches), batches[0][0].shape
        (2, (4, 8, 8, 1))
    """

    def __init__(self, x: Any, labels: np.ndarray | None, batch_size: int, seed: int, augment: Sequence[Step] = ()):
        super().__init__()
        self._x = x
        self._labels = labels
        self._examples = len(keras.tree.flatten(x)[0])
        self._batch_size = min(batch_size, self._examples)
        self._seed = seed
        self._augment = augment
        self._epoch = 0
        self._order = self._shuffled()

    def __len__(self):
        return self._examples // self._batch_size

    def __getitem__(self, index):
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        x = keras.tree.map_structure(lambda array: array[rows], self._x)  # a copy
        if self._augment:
            for place, row in enumerate(rows):
                example = keras.tree.map_structure(lambda array, place=place: array[place], x)
                generator = np.random.default_rng((self._seed, self._epoch, row))
                for step in self._augment:
                    step(example, generator)
        return (x,) if self._labels is None else (x, self._labels[rows])

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = self._shuffled()

    def _shuffled(self):
        return np.random.default_rng((self._seed, self._epoch)).permutation(self._examples)
