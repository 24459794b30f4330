"""Waiting jobs in order, from which the first that is short enough is found without a look at all others."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.job import Job
    from sim.policies import Key

Entry: TypeAlias = "tuple[Key, int, Job]"
BLOCK = 128
"""Entries of a block before it is cut in two: blocks are scanned, the list of their minima too."""


class Backlog:
    """An ordered list in blocks, each with the shortest remaining time in it."""

    def __init__(self) -> None:
        self.blocks: list[list[Entry]] = []
        self.lasts: list[tuple[Key, int]] = []
        self.shortest_s: list[float] = []

    def __bool__(self) -> bool:
        return bool(self.blocks)

    def __iter__(self) -> Iterator[Job]:
        for block in self.blocks:
            for _, _, job in block:
                yield job

    def first(self) -> Entry:
        """The first entry; there must be one."""
        return self.blocks[0][0]

    def add(self, entry: Entry) -> None:
        """Insert in order."""
        place = entry[:2]
        if not self.blocks:
            self.blocks.append([entry])
            self.lasts.append(place)
            self.shortest_s.append(entry[2].remaining_s)
            return
        at = min(bisect_left(self.lasts, place), len(self.blocks) - 1)
        block = self.blocks[at]
        insort(block, entry)
        if len(block) > BLOCK:
            half = len(block) // 2
            self.blocks[at : at + 1] = [block[:half], block[half:]]
            self.lasts.insert(at, place)
            self.shortest_s.insert(at, 0.0)
            self._measure(at)
            self._measure(at + 1)
            return
        self.lasts[at] = block[-1][:2]
        self.shortest_s[at] = min(self.shortest_s[at], entry[2].remaining_s)

    def remove(self, entry: Entry) -> None:
        """Take an entry out; it must be there."""
        at = bisect_left(self.lasts, entry[:2])
        block = self.blocks[at]
        del block[bisect_left(block, entry)]
        if not block:
            del self.blocks[at], self.lasts[at], self.shortest_s[at]
            return
        self.lasts[at] = block[-1][:2]
        if entry[2].remaining_s == self.shortest_s[at]:
            self._measure(at)

    def first_within(self, limit_s: float, but: Job | None) -> Entry | None:
        """The first entry, in order, whose remaining time is at most the limit; `but` is passed over."""
        for at, shortest_s in enumerate(self.shortest_s):
            if shortest_s <= limit_s:
                for entry in self.blocks[at]:
                    if entry[2].remaining_s <= limit_s and entry[2] is not but:
                        return entry
        return None

    def _measure(self, at: int) -> None:
        block = self.blocks[at]
        self.lasts[at] = block[-1][:2]
        self.shortest_s[at] = min(job.remaining_s for _, _, job in block)
