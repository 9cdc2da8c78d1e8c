"""Orders whose places are computed one by one."""

import numpy as np
import pytest

from trackertraincode.datasets import permutation
from trackertraincode.datasets.permutation import permuted


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 17, 256, 257, 1600, 65537])
def test_every_element_stands_in_one_place(count: int) -> None:
    order = permuted(np.arange(count), count, [3, 1])
    assert np.array_equal(np.sort(order), np.arange(count))
    assert np.array_equal(order, permuted(np.arange(count), count, [3, 1]))


@pytest.mark.parametrize("count", [1, 2, 5, 63, 64, 100, 257, 1025])
def test_short_orders_are_no_long_walks(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a single row took 300 steps, and an epoch as many passes over it as it has samples."""
    walked, step = [], permutation._feistel
    monkeypatch.setattr(permutation, "_feistel", lambda *given: walked.append(1) or step(*given))  # type: ignore[func-returns-value]
    permuted(np.arange(count), count, [3, 1])
    assert len(walked) < 40


def test_a_place_depends_on_nothing_but_itself_and_the_seed() -> None:
    count, places = 10**12, np.array([0, 5, 10**12 - 1, 7])
    alone = [permuted(places[k : k + 1], count, [1])[0] for k in range(4)]
    assert permuted(places, count, [1]).tolist() == alone
    assert len(set(alone)) == 4
    assert max(alone) < count
    assert permuted(places, count, [2]).tolist() != alone


@pytest.mark.parametrize("count", [20, 70])
def test_elements_are_everywhere_alike_often(count: int) -> None:
    """Chi² of place and element, and of neighbours, within five standard deviations of its mean.

    An element's count in a place has the variance draws / count (1 - 1 / count), so the mean of the first is as below.
    """
    draws = 500
    places, neighbours = np.zeros((count, count)), np.zeros((count, count))
    for seed in range(draws):
        order = permuted(np.arange(count), count, [8, seed])
        places[np.arange(count), order] += 1
        neighbours[order[:-1], order[1:]] += 1
    for table, freedom in (
        (places, count * (count - 1)),
        (neighbours[~np.eye(count, dtype=bool)], count * (count - 1) - 1),
    ):
        chi = ((table - draws / count) ** 2 / (draws / count)).sum()
        assert abs(chi - freedom) < 5 * np.sqrt(2 * freedom)
