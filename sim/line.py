"""Waiting jobs by key: a line that costs nothing extra where jobs come in the order in which they leave."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.job import Job
    from sim.policies import Key

Entry: TypeAlias = "tuple[Key, int, Job]"
"""Place in the queue, row in the arrivals table, job."""


class Line:
    """A queue by (key, row). Those that come in order are appended; the others go through a heap."""

    __slots__ = ("_late", "_ordered")

    def __init__(self) -> None:
        self._ordered: deque[Entry] = deque()
        self._late: list[Entry] = []

    def __bool__(self) -> bool:
        return bool(self._ordered or self._late)

    def __iter__(self) -> Iterator[Entry]:
        yield from self._ordered
        yield from self._late

    def push(self, entry: Entry) -> None:
        """Join."""
        ordered = self._ordered
        if not ordered or entry > ordered[-1]:
            ordered.append(entry)
        else:
            heappush(self._late, entry)

    def head(self) -> Entry:
        """The first; there must be one."""
        ordered, late = self._ordered, self._late
        if not late or (ordered and ordered[0] < late[0]):
            return ordered[0]
        return late[0]

    def pop(self) -> Entry:
        """Take the first out."""
        ordered, late = self._ordered, self._late
        if not late or (ordered and ordered[0] < late[0]):
            return ordered.popleft()
        return heappop(late)
