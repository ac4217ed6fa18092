"""Batches in an order that is a function of seed and epoch alone, the same on each backend."""

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Shuffled batches of images.

    Every batch is full, so that one graph is compiled: what is left over in an epoch
    (fewer than a batch) is left out, and another epoch leaves out others.

    Args:
        images: float32 array `(examples, bands, frames, 1)`.
        labels: Int array `(examples,)`, or `None` for batches of images alone.
        batch_size: Positive int; at most the number of examples is used.
        seed: Int.
        masks: Pair of ints, the widest mask in frames and in bands (SpecAugment: Park et al. 2019, without its time
            warp). In each image so many columns and rows at most become 0, drawn anew each epoch. Defaults to none.
        shifts: Pair of ints, the farthest an image is moved in frames and in bands, either way, drawn anew each epoch;
            the edge is repeated where it leaves a gap. Other bands are another voice, which is what vocal tract
            length perturbation aims at (Jaitly and Hinton 2013); moving whole bands is ours. Defaults to none.

    Example:
        >>> batches = Batches(np.zeros((10, 8, 8, 1), "float32"), np.zeros(10, int), 4, seed=0)
        >>> len(batches), batches[0][0].shape
        (2, (4, 8, 8, 1))
    """

    def __init__(self, images, labels, batch_size, seed, masks=(0, 0), shifts=(0, 0)):
        super().__init__()
        self._masks = masks
        self._shifts = shifts
        self._images = images
        self._labels = labels
        self._batch_size = min(batch_size, len(images))
        self._seed = seed
        self._epoch = 0
        self._order = self._shuffled()

    def __len__(self):
        return len(self._images) // self._batch_size

    def __getitem__(self, index):
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        x = self._images[rows]  # a copy
        if any(self._masks) or any(self._shifts):
            for image, row in zip(x, rows, strict=True):
                generator = np.random.default_rng((self._seed, self._epoch, row))
                if any(self._shifts):
                    _shift(image, self._shifts, generator)
                _mask(image, self._masks, generator)
        return (x,) if self._labels is None else (x, self._labels[rows])

    def on_epoch_end(self):
        self._epoch += 1
        self._order = self._shuffled()

    def _shuffled(self):
        return np.random.default_rng((self._seed, self._epoch)).permutation(len(self._images))


def _shift(image, farthest, generator):
    for axis, limit in zip((1, 0), farthest, strict=True):
        places = np.arange(image.shape[axis]) - generator.integers(-limit, limit + 1)
        image[:] = image.take(places, axis, mode="clip")


def _mask(image, widest, generator):
    bands, frames, _ = image.shape
    for limit, size, lines in zip(widest, (frames, bands), (image.swapaxes(0, 1), image), strict=True):
        width = generator.integers(0, min(limit, size) + 1)
        start = generator.integers(0, size - width + 1)
        lines[start : start + width] = 0
