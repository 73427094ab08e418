"""What work costs: seconds, and memory."""

from __future__ import annotations

import threading
import time
from types import TracebackType

INTERVAL = 0.1  # seconds between two looks at the memory


class Cost:
    """Measures its block.

    Attributes:
        seconds: that the block took.
        memory_bytes: the most that this process held meanwhile, what it held before included. Files that are mapped,
            as stores are, do not count on Linux: the system takes their pages back when it needs them.

    Example:
        >>> with Cost() as cost:
        ...     train_something()
        >>> cost.seconds, cost.memory_bytes
    """

    def __enter__(self) -> Cost:
        import psutil

        self._process, self._end = psutil.Process(), threading.Event()
        self.memory_bytes, self._start = self._measure(), time.perf_counter()
        self.seconds = 0.0
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._start
        self._end.set()
        self._watcher.join()
        self.memory_bytes = max(self.memory_bytes, self._measure())

    def _watch(self) -> None:
        while not self._end.wait(INTERVAL):
            self.memory_bytes = max(self.memory_bytes, self._measure())

    def _measure(self) -> int:
        found = self._process.memory_info()
        return found.rss - getattr(found, "shared", 0)  # only Linux tells what is shared
