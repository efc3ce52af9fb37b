"""What several benchmarks measure: wall time and peak memory."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def timed() -> Iterator[list[float]]:
    """Its one item is, in the end, the block's seconds."""
    seconds, start = [0.0], time.perf_counter()
    yield seconds
    seconds[0] = time.perf_counter() - start


@contextmanager
def peak_memory(with_self: bool = False) -> Iterator[list[int]]:
    """Its one item is the largest sum of resident bytes of our children (`with_self`: and ours)."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        me = psutil.Process()
        while not done.wait(0.5):
            used = me.memory_info().rss if with_self else 0
            for child in me.children(recursive=True):
                try:
                    used += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], used)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
