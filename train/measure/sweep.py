"""The sweep: every job in every pass, each pass in an order of its own, what is known kept in the file."""

from __future__ import annotations

import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sim.profile import (
    CheckpointRow,
    CollectiveRow,
    HostToDeviceRow,
    InferenceRow,
    LoaderRow,
    Machine,
    Profile,
    Row,
    StorageRow,
    TrainingRow,
)

if TYPE_CHECKING:
    from sim.perf.operators import Model
    from train.measure.job import Job

SECTIONS: dict[type[Row], str] = {
    TrainingRow: "training",
    InferenceRow: "inference",
    LoaderRow: "loader",
    StorageRow: "storage",
    CheckpointRow: "checkpoint",
    HostToDeviceRow: "host_to_device",
    CollectiveRow: "collectives",
}
SHORTEST_S, LONGEST_S = 0.05, 6.0
"""Bounds of the time for one job in one pass."""
OWN_SHARE = 0.5
"""Part of its share of the time that a job repeats steps for; the rest goes into building and warming up."""
DRIFT_SHARE = 0.25
"""Part of the jobs that is repeated even when the time is over, so that drift shows."""


@dataclass(slots=True)
class Sweep:
    """Jobs, measured for about so long in so many passes; `keep` is given what is known after each."""

    jobs: Sequence[Job]
    machine: Machine
    models: dict[str, Model]
    passes: int
    total_s: float
    keep: Callable[[Profile], None]
    seed: int = 0
    quick: bool = False
    command: str = ""
    rows: dict[str, Row] = field(default_factory=dict)
    began_s: float = field(default_factory=time.perf_counter)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def run(self, on_progress: Callable[[int, int], None] | None = None) -> Profile:
        """Measure everything."""
        self.keep(self.profile(complete=False))
        for index in range(self.passes):
            for position, job in enumerate(order(self.jobs, self.seed, index)):
                done = index * len(self.jobs) + position
                if on_progress is not None:
                    on_progress(done, self.passes * len(self.jobs))
                if index == 0 or position < DRIFT_SHARE * len(self.jobs) or self._left_s() > 0:
                    self._measure(job, index, done)
        profile = self.profile(complete=True)
        self.keep(profile)
        return profile

    def _measure(self, job: Job, index: int, done: int) -> None:
        """One job in one pass; the file has its rows before the next begins."""
        share_s = OWN_SHARE * self._left_s() / (self.passes * len(self.jobs) - done)
        for row in job.measure(min(max(share_s, SHORTEST_S), LONGEST_S), first=index == 0):
            name = row.configuration
            self.rows[name] = joined(self.rows.get(name), in_pass(row, index))
            self.keep(self.profile(complete=False))

    def _left_s(self) -> float:
        return self.total_s - (time.perf_counter() - self.began_s)

    def profile(self, *, complete: bool) -> Profile:
        """What is known now."""
        sections: dict[str, list[Row]] = defaultdict(list)
        for name in sorted(self.rows, key=_as_people_sort):
            sections[SECTIONS[type(self.rows[name])]].append(self.rows[name])
        rows: dict[str, Any] = {name: tuple(found) for name, found in sections.items()}
        return Profile(
            command=self.command,
            started=self.started,
            elapsed_s=round(time.perf_counter() - self.began_s, 1),
            seed=self.seed,
            quick=self.quick,
            complete=complete,
            machine=self.machine,
            models=self.models,
            **rows,
        )


def _as_people_sort(name: str) -> list[str | int]:
    """Numbers in a name by their size: batch 4 comes before batch 16."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def order(jobs: Sequence[Job], seed: int, index: int) -> list[Job]:
    """The jobs of a pass, in random order, so that no trend of the machine looks like one of the jobs."""
    shuffled = list(jobs)
    random.Random(f"{seed} {index}").shuffle(shuffled)  # noqa: S311 - an order, not a secret
    return shuffled


def in_pass(row: Row, index: int) -> Row:
    """The row with all its repetitions in this pass."""
    return row.model_copy(update={"pass_index": tuple(index for _ in row.pass_index)})


def joined(earlier: Row | None, later: Row) -> Row:
    """One row with the repetitions of both; a pass that did not run leaves what is known as it is."""
    if earlier is None:
        return later
    if "ok" not in {earlier.status} & {later.status}:
        return earlier
    longer: dict[str, Any] = {
        name: getattr(earlier, name) + getattr(later, name)
        for name in ("pass_index", "step_s", "time_s", "latency_s")
        if hasattr(earlier, name)
    }
    if isinstance(earlier, TrainingRow) and isinstance(later, TrainingRow):
        for name in ("phases_s", "operators_s"):
            after = getattr(later, name)
            longer[name] = {
                part: times_s + after.get(part, ()) for part, times_s in getattr(earlier, name).items()
            }
        longer["throttled_by"] = tuple(dict.fromkeys(earlier.throttled_by + later.throttled_by))
    return earlier.model_copy(update=longer)
