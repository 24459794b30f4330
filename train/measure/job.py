"""What a sweep does in each of its passes: jobs, each of which yields the rows that it measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sim.profile import Row


class Job(Protocol):
    """Something to measure."""

    def measure(self, budget_s: float, *, first: bool) -> Iterable[Row]:
        """Measure for about so long.

        In the first pass a row also says what does not change: operations, bytes, memory. A configuration
        that cannot be measured is a row with the reason.
        """


def passes(times: Iterable[object]) -> tuple[int, ...]:
    """One pass for each repetition; the sweep knows which it is."""
    return tuple(0 for _ in times)
