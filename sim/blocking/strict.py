"""Strict order: nobody passes the head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sim.blocking.queue import Blocking
from sim.line import Line
from sim.preemption import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.job import Job
    from sim.line import Entry
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
        self._stuck: Job | None = None
        """The head that did not fit, and will not before something is freed."""

    def add(self, job: Job) -> None:
        """A job waits. One whose shape changed while it waited keeps its place in line."""
        if self.partition.patience_s:
            if job.index in self._patient:
                self._stuck = None
                return
            self._patient.add(job.index)
        entry = (self.partition.order.key(job), job.index, job)
        line = self.lines.get(job.shape.account)
        if line is None:
            line = self.lines[job.shape.account] = Line()
        line.push(entry)

    def offer(self, job: Job, now_s: float) -> None:
        """One job is added while nothing is freed."""
        self.add(job)
        self.settle(now_s, (job,), freed=False)

    def settle(self, now_s: float, fresh: Sequence[Job], *, freed: bool) -> None:
        """Start heads until one does not fit."""
        del fresh
        partition = self.partition
        displaces, apart = partition.displaces, partition.apart
        line = None if apart else self.lines.get(None)
        while True:
            if apart:
                line = self._first_line()
            if line is None or line.first is None:
                return
            job = line.first[2]
            if job is self._stuck and not freed:
                return
            gone = len(partition.displaced) if displaces else 0
            if displaces:
                site = place(partition, job, now_s, known=job is self._stuck)
            else:
                site = partition.find(job)
            if site is None:
                self._stuck = job
                return
            self._stuck = None
            line.pop()
            partition.start(job, site, now_s)
            if self._patient:
                self._patient.discard(job.index)
            if displaces:
                for victim in partition.displaced[gone:]:
                    self.add(victim)

    def _first_line(self) -> Line | None:
        """The line of a tenant that is served next: the smallest share, else the head of smallest key.

        Where loans are taken back, whoever stays inside its quota comes before all who would borrow.
        """
        partition = self.partition
        heads = [
            (line.first, line)
            for line in self.lines.values()
            if line.first is not None and partition.allows(line.first[2].shape)
        ]
        standing = _by_share if partition.order.by_tenant else _by_key
        if partition.reclaims:
            return min(
                heads,
                key=lambda head: (partition.borrows(head[0][2].shape), standing(head[0])),
                default=_NOBODY,
            )[1]
        return min(heads, key=lambda head: standing(head[0]), default=_NOBODY)[1]

    def jobs(self) -> Iterator[Job]:
        """Everybody who waits."""
        for line in self.lines.values():
            for _, _, job in line:
                yield job


_NOBODY = (None, None)


def _by_key(entry: Entry) -> tuple[Key, int]:
    """Order of the queue, then of submission."""
    return entry[:2]


def _by_share(entry: Entry) -> tuple[float, int]:
    """Order of tenants, then of submission."""
    return (entry[2].account.share, entry[1])
