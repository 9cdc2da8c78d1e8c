"""Work on a stream of items that overlaps: each step in a thread of its own, all in order.

items --thread--> item --thread: step--> result --thread: next step--> … --> the one who takes

Steps run at the same time as far as they leave Python, as OpenCV and ONNX Runtime do.
"""

import gc
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

WAIT = 0.1  # seconds after which a waiting thread looks whether it shall end; Ctrl-C comes through then on Windows, too


def overlapped(items: Iterable[Any], *steps: Callable[[Any], Any], newest: bool = False) -> Generator[Any, None, None]:
    """What the steps, one after the other, make of each item.

    newest: leave items out that come too fast for a step or for the one who takes, so that nothing waits for what follows
    it, such as a camera for a drawing. What making an item or a step raises, is raised here in its place. When this
    generator is closed, each thread ends after its item.
    """
    depth = 1 if newest else 2
    belts = [_Belt(depth, newest)]
    sources: list[Iterable[Any]] = [items]
    for step in steps:
        sources.append(map(step, belts[-1].items()))
        belts.append(_Belt(depth, newest))
    threads = [threading.Thread(target=b.fill, args=(s,), daemon=True) for b, s in zip(belts, sources)]
    for thread in threads:
        thread.start()
    try:
        yield from belts[-1].items()
    finally:
        for belt in belts:
            belt.stop()
        for thread in threads:
            thread.join(1.0)  # a camera may hang


@contextmanager
def without_pauses() -> Iterator[None]:
    """Leave what is loaded so far out of Python's search for garbage, which stops all threads.

    Where torch is imported, one search through all of it takes 100 ms in the middle of a frame.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Belt:
    """Items between the thread that makes them and the one that takes them."""

    def __init__(self, depth: int, newest: bool = False) -> None:
        """depth: of items that wait at most. newest: drop the oldest one instead of waiting for room."""
        self._waiting: deque[Any] = deque()
        self._depth, self._newest = depth, newest
        self._changed = threading.Condition()
        self._stopped = self._full = False  # by the one who takes; with all that there is
        self._error: BaseException | None = None

    def fill(self, items: Iterable[Any]) -> None:
        """Make all items; run by a thread."""
        try:
            for item in items:
                self._put(item)
                if self._stopped:
                    break
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._full = True
                self._changed.notify_all()

    def _put(self, item: Any) -> None:
        with self._changed:
            while len(self._waiting) >= self._depth and not self._stopped:
                if self._newest:
                    self._waiting.popleft()
                else:
                    self._changed.wait(WAIT)
            self._waiting.append(item)
            self._changed.notify_all()

    def items(self) -> Iterator[Any]:
        """Take all items; what making them raised comes at its place."""
        while True:
            with self._changed:
                while not (self._waiting or self._full or self._stopped):
                    self._changed.wait(WAIT)
                if self._stopped or not self._waiting:
                    break
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None and not self._stopped:
            raise self._error

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
