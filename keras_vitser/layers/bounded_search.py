"""The largest of many numbers that are costly to compute, where a cheap upper bound of each is known."""

from collections.abc import Callable

from keras import ops

from keras_vitser.layers.tensors import Tensor


def bounded_argmax(bounds: Tensor, so_far: Tensor, values_of: Callable[[Tensor], Tensor], at_a_time: int) -> Tensor:
    """Where the largest value of each row lies, computing only values whose bound passes what was found.

    Values are computed in the order of their bounds, a few at a time, until no bound that
    is left passes the largest of a row, in every row. It is one loop of `keras.ops`, and
    may run inside a compiled function. No gradient goes through it.

    Args:
        bounds: float32 tensor `(batch, values)`; no value may be above its bound.
        so_far: float32 tensor `(batch,)`, what a value must pass to count.
        values_of: Function from places, int32 `(batch, at_a_time)` in `0 .. values - 1`, to the
            values there, float32 of the same shape.
        at_a_time: Positive int, at most the number of values.

    Returns:
        int32 tensor `(batch,)`: the place of the largest value, or 0 where none passes `so_far`.

    Example:
        >>> values = ops.array([[1.0, 5.0, 3.0, 2.0]])
        >>> places = bounded_argmax(values + 1, ops.zeros(1), lambda at: ops.take_along_axis(values, at, axis=1), 2)
        >>> int(places[0])
        1
    """
    count = bounds.shape[1]
    rounds = -(-count // at_a_time)
    missing = rounds * at_a_time - count
    bounds, order = ops.top_k(bounds, count)
    order = ops.cast(order, "int32")
    # The last round is filled up with the row's first places: to look at a value twice is harmless.
    order = ops.concatenate([order, order[:, :missing]], axis=1)
    steps = ops.arange(at_a_time, dtype="int32")

    def goes_on(done: Tensor, largest: Tensor, place: Tensor) -> Tensor:
        next_bound = ops.take(bounds, ops.minimum(done, rounds - 1) * at_a_time, axis=1)
        return ops.logical_and(done < rounds, ops.any(next_bound > largest))

    def look(done: Tensor, largest: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        places = ops.take(order, done * at_a_time + steps, axis=1)
        values = values_of(places)
        best = ops.max(values, axis=1)
        place_of_best = ops.take_along_axis(places, ops.cast(ops.argmax(values, axis=1), "int32")[:, None], axis=1)
        place = ops.where(best > largest, place_of_best[:, 0], place)
        return done + 1, ops.maximum(best, largest), place

    start = (ops.zeros((), dtype="int32"), so_far, ops.zeros_like(order[:, 0]))
    return ops.while_loop(goes_on, look, start)[2]
