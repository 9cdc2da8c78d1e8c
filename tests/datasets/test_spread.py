"""Some rows that stand for all."""

import numpy as np
import pytest

from trackertraincode.datasets.spread import evenly_spread


@pytest.mark.parametrize(("rows", "count"), [(39, 20), (40, 39), (2000, 120), (7, 7), (3, 99), (1, 5), (0, 5)])
def test_places_go_from_the_first_to_the_last_in_steps_that_differ_by_one_at_most(rows: int, count: int) -> None:
    places = evenly_spread(rows, count)
    assert len(places) == min(rows, count)
    if rows:
        assert (places[0], places[-1]) == (0, rows - 1)
        steps = np.diff(places)
        assert steps.min(initial=1) >= 1
        assert np.ptp(steps) <= 1 if len(steps) else rows == 1


def test_places_are_rounded() -> None:
    assert evenly_spread(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly_spread(39, 20).tolist() == list(range(0, 39, 2))
