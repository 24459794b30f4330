"""The facts of one simulated run: who held which GPUs when, and why others waited.

The engine appends rows and nothing else; every number of a report is computed from them afterwards, so a
metric is exact between events and can be added without touching the simulation. A row is a plain tuple
because a million jobs make millions of them; `columns` turns a list of rows into named columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias

from sim.cluster import Placement


class Outcome(IntEnum):
    """How a run on the GPUs ended."""

    DONE = 0
    """The job finished its work."""
    PREEMPTED = 1
    """The policy took the GPUs; the job went back to the queue."""
    TIMED_OUT = 2
    """The job reached the limit that its user stated and was killed."""
    CENSORED = 3
    """Still running when the simulation ended."""
    FAILED = 4
    """Something under the job failed; it went back to the queue."""


RunFact: TypeAlias = tuple[int, float, float, int, float, float, float, Placement, float, float]
RUN_COLUMNS = (
    "job",
    "start_s",
    "end_s",
    "outcome",
    "work_s",
    "lost_s",
    "restart_s",
    "placement",
    "checkpoint_s",
    "stalled_s",
)
"""One stay on the GPUs. `job` is the row of the arrivals table. The stay splits exactly into work that was
kept (`work_s`), work thrown away (`lost_s`), time spent loading the saved state (`restart_s`), time in which
the job stopped to write checkpoints (`checkpoint_s`) and time in which it waited for network or stores, or
hung, as something had failed that nobody had noticed yet (`stalled_s`)."""

OutageFact: TypeAlias = tuple[int, float, float, str, int]
OUTAGE_COLUMNS = ("node", "from_s", "to_s", "component", "jobs_hit")
"""A node that something failed on, or that was taken out: until when it was away, and how many jobs that hit.
A failure that only interrupts has no length."""

WaitFact: TypeAlias = tuple[int, float, float, float, float, float, float, float, int]
WAIT_COLUMNS = (
    "job",
    "from_s",
    "to_s",
    "capacity_s",
    "fragmentation_s",
    "quota_s",
    "order_s",
    "preemption_s",
    "still_queued",
)
"""One stay of positive length in the queue, split by cause; the five causes add up to `to_s - from_s`.

capacity: fewer GPUs free than the job needs. fragmentation: enough free, but not where they must be. quota:
the tenant has used what it may. order: the GPUs would do, but the queue's order or a reservation kept them
for another job. preemption: the job had been running and was put back in the queue. `still_queued` is 1 when
the simulation ended first.
"""

CAUSES = ("capacity", "fragmentation", "quota", "order", "preemption")

MovedReservation: TypeAlias = tuple[float, int, float, float, int]
NO_JOB = -1
"""In place of the job for which a promise moved, where nodes were why."""
MOVED_COLUMNS = ("time_s", "job", "old_start_s", "new_start_s", "overrunning_job")
"""A promised start that had to move later as a running job outlived its estimate; -1 if nodes failed."""


@dataclass(slots=True)
class Log:
    """Everything that happened in one simulation, in the order in which it was known."""

    runs: list[RunFact] = field(default_factory=list)
    waits: list[WaitFact] = field(default_factory=list)
    rejections: list[tuple[int, str]] = field(default_factory=list)
    """(job, reason) for every job that was refused at submission because it could never start."""
    moved_reservations: list[MovedReservation] = field(default_factory=list)
    outages: list[OutageFact] = field(default_factory=list)
    links: list[tuple[str, float, float, float]] = field(default_factory=list)
    """(name, bytes a second, bytes carried, GPU-seconds lost on it) of what jobs shared."""
    stalls: dict[int, list[float]] = field(default_factory=dict)
    """By job: seconds that it lost by going slower than it could, to network, stores and power."""
    metered: list[tuple[float, str, float]] = field(default_factory=list)
    """(end of a step, name, share in use) of what jobs shared, step by step."""
    end_s: float = 0.0
    """When the simulation ended."""


def columns(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[str, list[Any]]:
    """Rows as named columns; empty columns when nothing happened.

    >>> columns(("job", "end_s"), [(0, 5.0), (1, 7.0)])
    {'job': [0, 1], 'end_s': [5.0, 7.0]}
    """
    values = [list(column) for column in zip(*rows, strict=True)]
    return dict(zip(names, values or [[] for _ in names], strict=True))
