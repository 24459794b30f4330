"""Waiting jobs in order, from which the first that is short enough is found without a look at all others."""

from __future__ import annotations

import math
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
    """An ordered list in blocks, each with a time that no remaining time in it is shorter than.

    The bound is the shortest one until that job leaves; it is found again when a block was searched in vain.
    """

    def __init__(self) -> None:
        self.blocks: list[list[Entry]] = []
        self.lasts: list[Entry] = []
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

    def first_but(self, but: Job) -> Entry | None:
        """The first entry that is not that of a job."""
        if not self.blocks:
            return None
        first = self.blocks[0][0]
        return first if first[2] is not but else self.first_within(math.inf, but)

    def add(self, entry: Entry) -> None:
        """Insert in order."""
        blocks, lasts = self.blocks, self.lasts
        if not blocks:
            blocks.append([entry])
            lasts.append(entry)
            self.shortest_s.append(entry[2].remaining_s)
            return
        if entry > lasts[-1]:
            at = len(blocks) - 1
            block = blocks[at]
            block.append(entry)
            lasts[at] = entry
        else:
            at = bisect_left(lasts, entry)
            block = blocks[at]
            insort(block, entry)
        self.shortest_s[at] = min(self.shortest_s[at], entry[2].remaining_s)
        if len(block) > BLOCK:
            half = len(block) // 2
            blocks[at : at + 1] = [block[:half], block[half:]]
            lasts.insert(at, entry)
            self.shortest_s.insert(at, 0.0)
            self._measure(at)
            self._measure(at + 1)

    def remove(self, entry: Entry) -> None:
        """Take an entry out; it must be there."""
        at = bisect_left(self.lasts, entry) if len(self.lasts) > 1 else 0
        block = self.blocks[at]
        del block[0 if block[0] is entry else bisect_left(block, entry)]
        if not block:
            del self.blocks[at], self.lasts[at], self.shortest_s[at]
            return
        self.lasts[at] = block[-1]

    def first_within(self, limit_s: float, but: Job | None) -> Entry | None:
        """The first entry, in order, whose remaining time is at most the limit; `but` is passed over."""
        for at, shortest_s in enumerate(self.shortest_s):
            if shortest_s <= limit_s:
                for entry in self.blocks[at]:
                    if entry[2].remaining_s <= limit_s and entry[2] is not but:
                        return entry
                self._measure(at)
        return None

    def _measure(self, at: int) -> None:
        block = self.blocks[at]
        self.lasts[at] = block[-1]
        self.shortest_s[at] = min(job.remaining_s for _, _, job in block)
