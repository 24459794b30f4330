"""Strict order: nobody passes the head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sim.blocking.queue import Blocking
from sim.line import Line
from sim.preemption import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.job import Job
    from sim.partition import Partition
    from sim.policies import Key
    from sim.tenancy import Account


class Strict(Blocking):
    """When the first job of the queue does not fit, everybody waits behind it.

    A tenant at its quota does not hold up the others; inside a tenant the order stays strict. With `reclaim`
    nobody who would borrow holds up a tenant inside its quota.
    """

    kind: Literal["strict"] = "strict"

    def queue(self, partition: Partition) -> StrictQueue:
        """An empty queue for a partition."""
        return StrictQueue(partition)


class StrictQueue:
    """One line, or one line a tenant where tenants are told apart."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.lines: dict[Account | None, Line] = {}
        self._patient: set[int] = set()
        """Rows of those in line, kept where they may come again when they give up their wish for locality."""

    def add(self, job: Job) -> None:
        """A job waits. One whose shape changed while it waited keeps its place in line."""
        if self.partition.patience_s:
            if job.index in self._patient:
                return
            self._patient.add(job.index)
        entry = (self.partition.order.key(job), job.index, job)
        line = self.lines.get(job.shape.account)
        if line is None:
            line = self.lines[job.shape.account] = Line()
        line.push(entry)

    def settle(self, now_s: float, fresh: Sequence[Job], *, freed: bool) -> None:
        """Start heads until one does not fit."""
        del fresh, freed
        partition = self.partition
        displaced = partition.displaced
        while (line := self._first_line()) is not None:
            job = line.head()[2]
            gone = len(displaced)
            site = place(partition, job, now_s, known=job.marks is not None)
            if site is None:
                return
            line.pop()
            self._patient.discard(job.index)
            partition.start(job, site, now_s)
            for victim in displaced[gone:]:
                self.add(victim)

    def _first_line(self) -> Line | None:
        """The line whose head is served next: the smallest share of a tenant, else the smallest key.

        Where loans are taken back, whoever stays inside its quota comes before all who would borrow.
        """
        partition = self.partition
        if not partition.apart:
            return self.lines.get(None) or None
        open_lines = [line for line in self.lines.values() if line and partition.allows(line.head()[2].shape)]
        place = _by_share if partition.order.by_tenant else _by_key
        if partition.reclaims:
            return min(
                open_lines,
                key=lambda line: (partition.borrows(line.head()[2].shape), place(line)),
                default=None,
            )
        return min(open_lines, key=place, default=None)

    def jobs(self) -> Iterator[Job]:
        """Everybody who waits."""
        for line in self.lines.values():
            for _, _, job in line:
                yield job


def _by_key(line: Line) -> tuple[Key, int]:
    """Order of the queue, then of submission."""
    return line.head()[:2]


def _by_share(line: Line) -> tuple[float, int]:
    """Order of tenants, then of submission."""
    _, index, job = line.head()
    return (job.account.share, index)
