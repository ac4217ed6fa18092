"""The order of the examples is a function of seed and epoch alone."""

import numpy as np
import pytest

from keras_vitser.training.batches import Batches, Mask, Shift

pytestmark = pytest.mark.backends("torch")

COUNT, SIZE = 10, 4


def numbered(count=COUNT):
    """Images and labels that each say which example they are."""
    numbers = np.arange(count)
    images = np.broadcast_to(numbers[:, None, None, None], (count, 2, 2, 1)).astype("float32")
    return images, numbers


def epoch(batches):
    return [batches[index] for index in range(len(batches))]


def order(batches):
    return [label for _, labels in epoch(batches) for label in labels]


def test_batches_are_full_and_show_an_example_at_most_once():
    images, labels = numbered()
    batches = Batches(images, labels, SIZE, seed=0)
    assert len(batches) == 2
    seen = set()
    for _ in range(30):
        assert [len(x) for x, _ in epoch(batches)] == [SIZE, SIZE]
        shown = order(batches)
        assert len(set(shown)) == len(shown)
        seen.update(shown)
        batches.on_epoch_end()
    assert seen == set(range(COUNT))  # what one epoch leaves out, others show


def test_the_order_is_a_function_of_seed_and_epoch():
    images, labels = numbered()
    one, same, other = (Batches(images, labels, SIZE, seed) for seed in (3, 3, 4))
    np.random.default_rng(0).random(5)
    np.random.seed(1)
    epochs = []
    for _ in range(4):
        assert order(one) == order(one) == order(same)
        assert order(one) != order(other)
        epochs.append(order(one))
        for batches in (one, same, other):
            batches.on_epoch_end()
    assert len({tuple(shown) for shown in epochs}) == 4


def test_labels_stay_with_their_images():
    images, labels = numbered()
    batches = Batches(images, labels, SIZE, seed=0)
    for _ in range(3):
        for x, y in epoch(batches):
            np.testing.assert_array_equal(x[:, 0, 0, 0], y)
        batches.on_epoch_end()


def test_without_labels_a_batch_is_images_alone():
    images, _ = numbered()
    (x,) = Batches(images, None, SIZE, seed=0)[0]
    assert x.shape == (SIZE, 2, 2, 1)


@pytest.mark.parametrize(
    ("count", "size", "batches", "rows"), [(1, 4, 1, 1), (3, 32, 1, 3), (4, 4, 1, 4), (5, 1, 5, 1)]
)
def test_small_sets_make_one_batch_of_all(count, size, batches, rows):
    images, labels = numbered(count)
    made = Batches(images, labels, size, seed=0)
    assert [len(labels) for _, labels in epoch(made)] == [rows] * batches
    assert sorted(order(made)) == list(range(count))


def test_masks_blank_columns_and_bands_drawn_anew_each_epoch():
    images = np.ones((40, 12, 20, 1), "float32")
    batches = Batches(images, None, 40, seed=2, augment=[Mask(6, 3)])
    drawn = []
    for _ in range(2):
        (x,) = batches[0]
        x = x[np.argsort(batches._order)]
        blank = x[..., 0] == 0
        columns, bands = blank.all(axis=1).sum(axis=1), blank.all(axis=2).sum(axis=1)
        assert (columns.min(), columns.max()) == (0, 6)
        assert (bands.min(), bands.max()) == (0, 3)
        # Nothing else is blank: the area is that of a block of whole columns and one of whole rows.
        np.testing.assert_array_equal(blank.sum(axis=(1, 2)), 12 * columns + 20 * bands - columns * bands)
        runs = np.diff(blank.all(axis=1).astype(int), axis=1, prepend=0, append=0)
        assert (np.count_nonzero(runs == 1, axis=1) <= 1).all()
        drawn.append(x)
        batches.on_epoch_end()
    assert not np.array_equal(*drawn)
    assert np.array_equal(
        drawn[0],
        Batches(images, None, 40, seed=2, augment=[Mask(6, 3)])[0][0][
            np.argsort(Batches(images, None, 40, seed=2)._order)
        ],
    )
    assert images.all()


def test_a_mask_may_be_wider_than_the_image():
    (x,) = Batches(np.ones((50, 4, 5, 1), "float32"), None, 50, seed=0, augment=[Mask(99, 0)])[0]
    assert (x[..., 0] == 0).all(axis=(1, 2)).any()


def test_shifts_move_whole_images_drawn_anew_each_epoch():
    """Where an image leaves a gap its edge is repeated, so a gradient stays one, and says how far it was moved."""
    rows, columns = np.mgrid[:12, :20]
    images = np.repeat((rows * 100 + columns)[None, :, :, None].astype("float32"), 200, axis=0)
    batches = Batches(images, None, 200, seed=2, augment=[Shift(6, 3)])
    drawn = []
    for _ in range(2):
        (x,) = batches[0]
        down, right = 6 - x[:, 6, 10, 0] // 100, 10 - x[:, 6, 10, 0] % 100
        assert set(down) == set(range(-3, 4))
        assert set(right) == set(range(-6, 7))
        for image, bands, frames in zip(x, down, right, strict=True):
            expected = np.clip(rows - bands, 0, 11) * 100 + np.clip(columns - frames, 0, 19)
            np.testing.assert_array_equal(image[..., 0], expected)
        drawn.append((down, right))
        batches.on_epoch_end()
    assert not np.array_equal(*drawn)
    again = Batches(images, None, 200, seed=2, augment=[Shift(6, 3)])
    np.testing.assert_array_equal(again[0][0][:, 6, 10, 0], (6 - drawn[0][0]) * 100 + 10 - drawn[0][1])


def test_a_shift_may_be_wider_than_the_image():
    (x,) = Batches(np.ones((50, 4, 5, 1), "float32"), None, 50, seed=0, augment=[Shift(99, 99)])[0]
    assert (x == 1).all()
