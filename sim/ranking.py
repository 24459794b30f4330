"""Running jobs by rank: who is the weakest, who ends first, at a cost that hardly grows with their number."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.job import Job

Rank: TypeAlias = "tuple[float, ...]"
BLOCK: Final = 512
"""Ranks of a block before it is cut in two."""


class Ranking:
    """Jobs by rank, smallest first. Ranks are unique: they end with the row of the job.

    Blocks of ranks in order, and a map from ranks to jobs, so that searching compares plain tuples of floats.
    (A general sorted list of pairs, which this replaced, takes twice the time to add or to remove one.)
    """

    __slots__ = ("_blocks", "_lasts", "jobs")

    def __init__(self) -> None:
        self.jobs: dict[Rank, Job] = {}
        """Whose each rank is."""
        self._blocks: list[list[Rank]] = [[]]
        self._lasts: list[Rank] = []
        """The last rank of each block but the last one."""

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[tuple[Rank, Job]]:
        jobs = self.jobs
        for block in self._blocks:
            for rank in block:
                yield rank, jobs[rank]

    def worse_than(self, rank: Rank) -> Iterator[Job]:
        """Jobs of worse rank, the worst first."""
        jobs = self.jobs
        for block in reversed(self._blocks):
            for other in reversed(block):
                if other <= rank:
                    return
                yield jobs[other]

    def worst_first(self) -> Iterator[Job]:
        """All jobs, the worst first."""
        return self.worse_than(())

    @property
    def last(self) -> Rank:
        """The worst rank; there must be one."""
        return self._blocks[-1][-1]

    @property
    def worst(self) -> tuple[Rank, Job]:
        """The worst rank, and whose it is; there must be one."""
        rank = self._blocks[-1][-1]
        return rank, self.jobs[rank]

    def drop_worst(self) -> None:
        """The job of the worst rank gives up its place."""
        block = self._blocks[-1]
        del self.jobs[block.pop()]
        if not block and self._lasts:
            del self._blocks[-1], self._lasts[-1]

    def add(self, rank: Rank, job: Job) -> None:
        """Take a place."""
        self.jobs[rank] = job
        lasts = self._lasts
        at = bisect_left(lasts, rank) if lasts else 0
        block = self._blocks[at]
        insort(block, rank)
        if len(block) > BLOCK:
            half = len(block) // 2
            self._blocks[at : at + 1] = [block[:half], block[half:]]
            lasts.insert(at, block[half - 1])

    def remove(self, rank: Rank) -> None:
        """Give up a place that was taken."""
        del self.jobs[rank]
        lasts = self._lasts
        at = bisect_left(lasts, rank) if lasts else 0
        block = self._blocks[at]
        del block[bisect_left(block, rank)]
        if lasts and not block:
            del self._blocks[at]
            del lasts[min(at, len(lasts) - 1)]
