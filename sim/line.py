"""Waiting jobs by key: a line that costs nothing extra where jobs come in the order in which they leave."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.job import Job
    from sim.partition import Shape
    from sim.policies import Key

Entry: TypeAlias = "tuple[Key, int, Job]"
"""Place in the queue, row in the arrivals table, job."""


class Line:
    """A queue by (key, row). Those that come in order are appended; the others go through a heap.

    In a line with an owner, jobs that have since changed to another shape count no more.
    """

    __slots__ = ("_late", "_ordered", "first", "owner")

    def __init__(self) -> None:
        self.owner: Shape | None = None
        self.first: Entry | None = None
        """Who leaves next; None while nobody is in line."""
        self._ordered: deque[Entry] = deque()
        self._late: list[Entry] = []

    def __bool__(self) -> bool:
        return self.first is not None

    def __iter__(self) -> Iterator[Entry]:
        if self.first is not None:
            yield self.first
        yield from self._ordered
        yield from self._late

    def push(self, entry: Entry) -> None:
        """Join."""
        first, ordered = self.first, self._ordered
        if first is None:
            self.first = entry
        elif entry < first:
            self.first = entry
            ordered.appendleft(first)
        elif not ordered or entry > ordered[-1]:
            ordered.append(entry)
        else:
            heappush(self._late, entry)

    def pop(self) -> Entry:
        """Take the first out; there must be one."""
        first, ordered, late = self.first, self._ordered, self._late
        if late and (not ordered or late[0] < ordered[0]):
            self.first = heappop(late)
        else:
            self.first = ordered.popleft() if ordered else None
        if self.owner is not None:
            self.skip_moved()
        if first is None:
            raise AssertionError("nobody is in line")
        return first

    def skip_moved(self) -> None:
        """Drop heads that have changed to another shape; asked for when one has."""
        while self.first is not None and self.first[2].shape is not self.owner:
            owner, self.owner = self.owner, None
            self.pop()
            self.owner = owner
