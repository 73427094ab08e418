"""What a block of work costs."""

import sys
import threading
import time

import numpy as np
import psutil
import pytest

from bertvision_tf.training.cost import INTERVAL, Cost

MIB = 2**20
SIZE = 200 * MIB


def measure():
    """What the process holds by itself."""
    found = psutil.Process().memory_info()
    return found.rss - getattr(found, "shared", 0)


def test_memory_that_is_given_back_before_the_end_is_seen():
    before = measure()
    with Cost() as cost:
        block = np.ones(SIZE, np.uint8)  # ones: its pages are touched
        time.sleep(4 * INTERVAL)
        del block
        time.sleep(INTERVAL)
        after = measure()
    assert after - before < SIZE / 4  # it was given back
    assert SIZE * 0.9 < cost.memory_bytes - before < SIZE * 1.5


def test_memory_that_is_held_to_the_end_of_a_short_block_is_seen():
    before = measure()
    with Cost() as cost:
        block = np.ones(SIZE, np.uint8)
    assert SIZE * 0.9 < cost.memory_bytes - before < SIZE * 1.5
    assert block[-1] == 1


def test_what_was_held_before_is_in_it():
    block = np.ones(SIZE, np.uint8)
    held = measure()
    with Cost() as cost:
        del block
        time.sleep(2 * INTERVAL)
    assert cost.memory_bytes > held - SIZE / 4
    with Cost() as after:
        pass
    assert after.memory_bytes < cost.memory_bytes - SIZE / 2


def test_seconds():
    start = time.perf_counter()
    with Cost() as cost:
        assert cost.seconds == 0
        time.sleep(0.15)
    assert 0.15 <= cost.seconds <= time.perf_counter() - start
    first = cost.seconds
    time.sleep(0.05)
    assert cost.seconds == first


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is shared")
def test_a_mapped_file_does_not_count(tmp_path):
    (tmp_path / "store").write_bytes(bytes(SIZE))
    process = psutil.Process()
    whole, before = process.memory_info().rss, measure()
    with Cost() as cost:
        mapped = np.memmap(tmp_path / "store", np.uint8, "r")
        assert mapped.sum() == 0  # every page is read
        grown = process.memory_info().rss - whole
        time.sleep(2 * INTERVAL)
    assert grown > SIZE * 0.9
    assert cost.memory_bytes - before < SIZE / 4


def test_an_error_ends_the_watch_and_is_not_swallowed():
    threads = threading.active_count()
    with pytest.raises(ValueError, match="broken"), Cost() as cost:  # noqa: PT012
        time.sleep(0.05)
        raise ValueError("broken")
    assert threading.active_count() == threads
    assert cost.seconds >= 0.05
    assert cost.memory_bytes > 0


def test_blocks_in_blocks():
    with Cost() as outer:
        with Cost() as inner:
            block = np.ones(SIZE, np.uint8)
            time.sleep(2 * INTERVAL)
        del block
        time.sleep(0.05)
    assert outer.seconds >= inner.seconds + 0.05
    assert outer.memory_bytes == pytest.approx(inner.memory_bytes, abs=SIZE / 4)
