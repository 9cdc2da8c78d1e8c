"""Steps that overlap: results as of a loop, in order; ends and errors come through; nothing is left running."""

import gc
import itertools
import threading
import weakref
from collections.abc import Iterator

import pytest

from trackertraincode.tracking.pipeline import overlapped, without_pauses


def test_results_are_those_of_a_loop() -> None:
    wanted = [str(2 * n + 1) for n in range(200)]
    assert list(overlapped(range(200), lambda n: 2 * n, lambda n: n + 1, str)) == wanted
    assert list(overlapped(range(3))) == [0, 1, 2]
    assert list(overlapped([], str)) == []


def test_steps_run_at_the_same_time() -> None:
    """Each step waits for the other one, which is at another item."""
    barrier = threading.Barrier(2, timeout=300)

    def meet(number: int) -> int:
        if number > 0:
            barrier.wait()
        return number

    def meet_after(number: int) -> int:
        if number < 9:
            barrier.wait()
        return number

    assert list(overlapped(range(10), meet, meet_after)) == list(range(10))


def test_no_more_than_a_few_items_wait() -> None:
    made: list[int] = []

    def count() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    results = overlapped(count(), str, str)
    for _ in range(5):
        next(results)
    assert len(made) < 5 + 3 * 4
    results.close()


@pytest.mark.parametrize("error", [ValueError("seven"), KeyboardInterrupt()])
@pytest.mark.parametrize("stage", ["source", "step"])
def test_what_is_raised_comes_after_what_was_made_before(error: BaseException, stage: str) -> None:
    def source() -> Iterator[int]:
        for number in range(10):
            if stage == "source" and number == 7:
                raise error
            yield number

    def step(number: int) -> int:
        if stage == "step" and number == 7:
            raise error
        return number

    results = overlapped(source(), step, str)
    seen = list(itertools.islice(results, 7))
    with pytest.raises(type(error)):
        next(results)
    assert seen == [str(n) for n in range(7)]


def test_closing_ends_all_threads() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    for newest in (False, True):
        before = threading.enumerate()
        results = overlapped(endless(), str, str, newest=newest)
        next(results)
        ours = [thread for thread in threading.enumerate() if thread not in before]
        assert len(ours) == 3
        results.close()
        for thread in ours:
            thread.join(300)  # closing itself waits no longer than a second
            assert not thread.is_alive()


def test_the_newest_items_are_taken_and_others_left_out() -> None:
    """The one who takes is slow: item 1 000 is made before the second one is taken."""
    late = threading.Event()

    def fast() -> Iterator[int]:
        for number in range(1001):
            if number == 1000:
                yield number
                late.set()
            else:
                yield number

    results = overlapped(fast(), newest=True)
    first = next(results)
    assert late.wait(300)
    rest = list(results)
    assert rest == [1000] or (first == 1000 and not rest)


def test_what_can_not_wait_waits_for_no_later_step_and_not_for_the_one_who_takes() -> None:
    """Item 1 000 is through the first step while the second one, and who takes, are at an early one."""
    late = threading.Event()

    def first(number: int) -> int:
        if number == 1000:
            late.set()
        return number

    def second(number: int) -> int:
        assert late.wait(300)
        return number

    results = overlapped(range(1001), first, second, newest=True)
    seen = list(results)
    assert seen[-1] == 1000
    assert len(seen) < 5
    late.clear()
    results = overlapped(range(1001), first, newest=True)
    next(results)  # and takes no more until all are made
    assert late.wait(300)
    assert len(list(results)) < 5


class _Ring:
    def __init__(self) -> None:
        self.self = self


def test_garbage_is_searched_among_new_objects_only() -> None:
    old = _Ring()
    seen = [weakref.ref(old)]
    with without_pauses():
        new = _Ring()
        seen.append(weakref.ref(new))
        del old, new
        gc.collect()
        assert [ring() is None for ring in seen] == [False, True]
    gc.collect()
    assert [ring() is None for ring in seen] == [True, True]
