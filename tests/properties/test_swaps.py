"""The short way to displace one job is the long way: the log is the same, to the last bit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.log import Log
from sim.partition import Partition
from tests.support.playing import jobs, nodes, play

Rows = list[tuple[float, float, int]]
# tenths and thirds round, so that ranks of jobs that end together differ in their last bit, or do not
TIMES = st.integers(1, 40).map(lambda n: n / 10) | st.integers(1, 12).map(lambda n: n / 3)
ROWS = st.lists(st.tuples(TIMES, TIMES, st.sampled_from([1, 1, 1, 2, 2, 3])), min_size=2, max_size=40)


def log_of(rows: Rows, order: str) -> Log:
    return play(jobs(*sorted(rows, key=lambda row: row[0])), nodes(2, 3), order=order, blocking="greedy")


@pytest.mark.parametrize("order", ["srtf", "las"])
@given(rows=ROWS)
@settings(max_examples=150, deadline=None)
def test_a_swap_leaves_the_log_as_the_general_search_would(order: str, rows: Rows) -> None:
    short = log_of(rows, order)
    general, swapped = Partition.__init__, []

    def without(self: Partition, *args: object, **options: object) -> None:
        general(self, *args, **options)  # type: ignore[arg-type]
        swapped.append(self.swaps)
        self.swaps = False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Partition, "__init__", without)
        long = log_of(rows, order)
    assert swapped == [True]
    assert short.runs == long.runs
    assert short.waits == long.waits
