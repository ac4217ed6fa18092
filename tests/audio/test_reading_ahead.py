"""keras_vitser/audio/reading_ahead.py: bounded, in order, and ended with its reader."""

import threading
import time

import pytest

from keras_vitser.audio.reading_ahead import read_ahead

pytestmark = pytest.mark.backends("torch")


def test_reading_ahead_is_bounded_and_keeps_the_order():
    begun, taken, lock, furthest = 0, 0, threading.Lock(), 0

    def read(number):
        nonlocal begun, furthest
        with lock:
            begun += 1
            furthest = max(furthest, begun - taken)
        time.sleep(0.002 * (number % 3))
        return number

    for number in read_ahead(read, range(60), readers=4, ahead=5):
        assert number == taken
        time.sleep(0.001)
        with lock:
            taken += 1
    assert taken == 60
    assert 1 < furthest <= 5 + 1


def test_a_reader_that_is_left_early_reads_no_further():
    read = []
    reads = read_ahead(lambda number: read.append(number), range(1000), readers=2, ahead=4)
    next(reads)
    reads.close()
    assert len(read) <= 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read_")]
