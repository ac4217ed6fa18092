"""Batches: who shares one, how long it waits, and that no request sees its neighbours."""

import asyncio
import threading
import time

import numpy as np
import pytest

from keras_vitser.serving.server.batching import Batcher
from keras_vitser.serving.server.status import StatusError

pytestmark = pytest.mark.backends("tensorflow")


class Doubling:
    """Doubles its input `x`; slow where told, and refuses a batch with a negative number in it."""

    def __init__(self, seconds=0.0):
        self.batches, self.seconds, self.go = [], seconds, threading.Event()
        self.go.set()

    def run(self, inputs):
        self.batches.append(len(inputs["x"]))
        self.go.wait(10)
        time.sleep(self.seconds)
        if (inputs["x"] < 0).any():
            raise StatusError("INVALID_ARGUMENT", "negative")
        return {"y": 2 * inputs["x"]}


def batched(scenario, **options):
    """Runs `await scenario(batcher)` with a batcher of one batch at a time that is stopped afterwards."""

    async def main():
        batcher = Batcher(**{"batch_size": 4, "queue": 8, "wait": 0.2, "at_once": 1} | options)
        batcher.start()
        try:
            return await scenario(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(asyncio.wait_for(main(), 20))


def ask(batcher, model, *values, columns=1, seconds=10.0):
    inputs = {"x": np.repeat(np.array(values, float)[:, None], columns, axis=1)}
    return batcher.submit(model.run, inputs, time.monotonic() + seconds)


def busy(batcher, model):
    """A task that keeps the batcher busy until `model.go` is set."""
    model.go.clear()
    return asyncio.create_task(ask(batcher, model, 0))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def test_a_lone_request_is_not_kept_waiting():
    async def scenario(batcher):
        started = time.monotonic()
        answer = await ask(batcher, Doubling(), 3)
        assert time.monotonic() - started < 0.15
        return answer

    np.testing.assert_array_equal(batched(scenario)["y"], [[6.0]])


def test_what_comes_while_a_batch_is_computed_shares_the_next_one_and_each_gets_its_own():
    model = Doubling()

    async def scenario(batcher):
        first = busy(batcher, model)
        await until(lambda: model.batches)
        others = [asyncio.create_task(ask(batcher, model, *values)) for values in ([1], [2, 3], [4])]
        await until(lambda: batcher.queued == 4)
        model.go.set()
        return await asyncio.gather(first, *others)

    answers = batched(scenario)
    assert model.batches == [1, 4]
    assert [answer["y"][:, 0].tolist() for answer in answers] == [[0], [2], [4, 6], [8]]


def test_two_batches_are_under_way_and_what_comes_then_shares_the_third():
    model = Doubling()

    async def scenario(batcher):
        tasks = [busy(batcher, model)]
        for count in (1, 2):
            await until(lambda count=count: len(model.batches) == count)
            tasks.append(asyncio.create_task(ask(batcher, model, count)))
        tasks.append(asyncio.create_task(ask(batcher, model, 3)))
        await until(lambda: batcher.queued == 2)
        assert model.batches == [1, 1]
        model.go.set()
        return await asyncio.gather(*tasks)

    answers = batched(scenario, at_once=2)
    assert model.batches == [1, 1, 2]
    assert [answer["y"].item() for answer in answers] == [0, 2, 4, 6]


def test_a_batch_that_waits_for_company_leaves_without_what_another_took():
    model = Doubling()

    async def scenario(batcher):
        with batcher.expecting():
            answers = await asyncio.gather(*(ask(batcher, model, value) for value in (1, 2)))
        return [answer["y"].item() for answer in answers]

    assert batched(scenario, at_once=2, wait=0.02) == [2, 4]
    assert model.batches == [2]


def test_beside_a_larger_batch_a_small_one_waits_for_company_and_no_longer_than_told():
    model, beside = Doubling(), Doubling()

    async def scenario(batcher):
        beside.go.clear()
        large = asyncio.create_task(ask(batcher, beside, 1, 2))
        await until(lambda: beside.batches)
        started = time.monotonic()
        await ask(batcher, model, 3)
        assert 0.15 < time.monotonic() - started < 1.0
        started = time.monotonic()
        await asyncio.gather(ask(batcher, model, 4), ask(batcher, model, 5))
        assert time.monotonic() - started < 0.15
        beside.go.set()
        await large

    batched(scenario, at_once=2)
    assert model.batches == [1, 2]


def test_a_batch_is_not_overfull():
    model = Doubling()

    async def scenario(batcher):
        first = busy(batcher, model)
        await until(lambda: model.batches)
        others = [asyncio.create_task(ask(batcher, model, 1, 2, 3)) for _ in range(2)]
        await until(lambda: batcher.queued == 6)
        model.go.set()
        await asyncio.gather(first, *others)

    batched(scenario)
    assert model.batches == [1, 3, 3]


def test_requests_of_different_shapes_and_models_are_apart():
    model, other = Doubling(), Doubling()

    async def scenario(batcher):
        first = busy(batcher, model)
        await until(lambda: model.batches)
        tasks = [ask(batcher, model, 1), ask(batcher, model, 2, columns=5), ask(batcher, other, 3)]
        tasks = [asyncio.create_task(task) for task in tasks]
        await until(lambda: batcher.queued == 3)
        model.go.set()
        return await asyncio.gather(first, *tasks)

    answers = batched(scenario)
    assert (model.batches, other.batches) == ([1, 1, 1], [1])
    assert answers[2]["y"].shape == (1, 5)


def test_a_batch_waits_for_requests_on_their_way_and_no_longer_than_told():
    model = Doubling()

    async def scenario(batcher):
        with batcher.expecting() as has_arrived:
            first = asyncio.create_task(ask(batcher, model, 1))
            await asyncio.sleep(0.05)
            assert not model.batches
            second = ask(batcher, model, 2)
            has_arrived()
            await asyncio.gather(first, second)
        assert model.batches == [2]
        with batcher.expecting():  # one that never comes
            started = time.monotonic()
            await ask(batcher, model, 3)
            assert 0.15 < time.monotonic() - started < 1.0

    batched(scenario)


def test_a_bad_request_fails_alone():
    model = Doubling()

    async def scenario(batcher):
        first = busy(batcher, model)
        await until(lambda: model.batches)
        others = [asyncio.create_task(ask(batcher, model, value)) for value in (1, -1, 3)]
        await until(lambda: batcher.queued == 3)
        model.go.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    _, one, bad, three = batched(scenario)
    assert (one["y"].item(), three["y"].item()) == (2, 6)
    assert isinstance(bad, StatusError)
    assert bad.message == "negative"


def test_outputs_without_a_batch_axis_are_computed_a_request_at_a_time():
    class Sum(Doubling):
        def run(self, inputs):
            super().run(inputs)
            return {"y": inputs["x"].sum()}

    model = Sum()

    async def scenario(batcher):
        first = busy(batcher, model)
        await until(lambda: model.batches)
        others = [asyncio.create_task(ask(batcher, model, value)) for value in (1, 2)]
        await until(lambda: batcher.queued == 2)
        model.go.set()
        return await asyncio.gather(first, *others)

    assert [answer["y"] for answer in batched(scenario)] == [0, 1, 2]


def test_inputs_of_different_lengths_run_as_they_are():
    async def scenario(batcher):
        inputs = {"a": np.zeros(2), "b": np.zeros(3), "c": np.float32(1)}
        return await batcher.submit(lambda x: {name: x[name].shape for name in x}, inputs, time.monotonic() + 9)

    assert batched(scenario) == {"a": (2,), "b": (3,), "c": ()}


def test_a_full_queue_refuses_at_once_and_takes_on_again():
    model = Doubling()

    async def scenario(batcher):
        tasks = [busy(batcher, model)]
        await until(lambda: model.batches)
        tasks += [asyncio.create_task(ask(batcher, model, 1, 2)) for _ in range(4)]
        await until(lambda: batcher.queued == 8)
        started = time.monotonic()
        with pytest.raises(
            StatusError, match="The batch scheduling queue to which this task was submitted is full"
        ) as e:
            await ask(batcher, model, 1)
        assert time.monotonic() - started < 0.1
        assert e.value.http_status == 503
        model.go.set()
        await asyncio.gather(*tasks)
        await ask(batcher, model, 1)

    batched(scenario)


def test_a_late_answer_is_504_and_an_expired_request_is_not_computed():
    model = Doubling()

    async def scenario(batcher):
        first = busy(batcher, model)
        await until(lambda: model.batches)
        started = time.monotonic()
        with pytest.raises(StatusError) as error:
            await ask(batcher, model, 1, seconds=0.1)
        assert error.value.http_status == 504
        assert time.monotonic() - started < 1.0
        assert batcher.queued == 0
        model.go.set()
        await first

    batched(scenario)
    assert model.batches == [1]


def test_stopping_answers_who_still_waits():
    model = Doubling()

    async def scenario(batcher):
        first = busy(batcher, model)
        await until(lambda: model.batches)
        second = asyncio.create_task(ask(batcher, model, 1))
        await until(lambda: batcher.queued == 1)
        await batcher.stop()
        model.go.set()
        first.cancel()
        with pytest.raises(StatusError, match="stopping"):
            await second

    batched(scenario)


def test_batches_are_observed():
    seen = []
    batched(lambda batcher: ask(batcher, Doubling(), 1, 2), observe=lambda rows, seconds: seen.append((rows, seconds)))
    assert seen[0][0] == 2
    assert 0 <= seen[0][1] < 1
