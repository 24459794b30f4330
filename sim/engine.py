"""The simulation: SimPy holds the clock, the desks of the partitions decide, the log keeps the facts.

At one moment completions free GPUs first, then jobs arrive, then each partition that was touched decides
once. Jobs that only take time need no process of their own: an alarm on SimPy's clock ends each run.
"""

from __future__ import annotations

import gc
import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heapify, heappush
from typing import TYPE_CHECKING, Final

import simpy

from sim.job import Job
from sim.log import Log, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.partition import Shape
    from sim.scheduler import Desk
    from sim.tenancy import Account

ENDS: Final = 0
ARRIVES: Final = 1
MANY: Final = 256
"""Order of what happens at one moment; decisions follow when nothing else is left of the moment."""


class Clock(simpy.Environment):
    """SimPy's environment with alarms at absolute times: no time is rounded by adding a delay to now."""

    def __init__(self) -> None:
        super().__init__()
        self._cancelled = 0

    def at(self, time_s: float, order: int, alarm: Alarm) -> None:
        """Ring an alarm at a time; among alarms of one moment the lower order rings first."""
        heappush(self._queue, (time_s, order, next(self._eid), alarm))  # type: ignore[misc]  # SimPy's queue says its own priorities

    def cancel(self, alarm: Alarm) -> None:
        """The alarm rings for nobody. Once half of all alarms are such, they are thrown out together."""
        alarm.job = None
        alarm.cancelled = True
        self._cancelled += 1
        if self._cancelled > MANY and 2 * self._cancelled > len(self._queue):
            self._queue[:] = [entry for entry in self._queue if not getattr(entry[3], "cancelled", False)]
            heapify(self._queue)
            self._cancelled = 0

    def ends_at(self, time_s: float) -> list[Alarm]:
        """The runs that end at a time and have not rung yet, in their order."""
        due = [entry for entry in self._queue if entry[:2] == (time_s, ENDS) and isinstance(entry[3], Alarm)]
        return [alarm for _, _, _, alarm in sorted(due, key=lambda entry: entry[2])]  # type: ignore[misc]

    def pending(self) -> Iterator[simpy.Event]:
        """What has not rung yet, in no particular order."""
        return (entry[3] for entry in self._queue)


class Alarm(simpy.Event):
    """Something that will happen to a job, or to nobody in particular. It has happened well once it rings."""

    _ok = True
    _value = None
    _defused = False
    cancelled = False

    def __init__(self, action: Callable[[Alarm], None], job: Job | None = None) -> None:
        self.callbacks = [action]
        self.job = job


@dataclass(frozen=True, slots=True)
class Venue:
    """Where jobs of one request and tenant go; `shape` is None when no pool could ever hold them."""

    desk: Desk
    account: Account
    shape: Shape | None
    refusal: str = ""


@dataclass(slots=True)
class Simulation:
    """One run of one list of arrivals against the desks of a fleet."""

    venues: Sequence[Venue]
    """The venue of each distinct request, by the code that the arrivals carry."""
    codes: Sequence[int]
    submits_s: Sequence[float]
    durations_s: Sequence[float]
    estimates_s: Sequence[float]
    priorities: Sequence[int]
    log: Log
    kill_at_estimate: bool = False
    on_progress: Callable[[int], None] | None = None
    """Told, now and then, how many jobs have arrived."""
    clock: Clock = field(default_factory=Clock)
    _next: int = 0
    _touched: dict[Desk, None] = field(default_factory=dict)
    _report_at: int = 0

    def run(self, horizon_s: float | None = None) -> Log:
        """Play until the last job has left, or until the horizon; then close what is still open."""
        if self.submits_s:
            self.clock.at(self.submits_s[0], ARRIVES, Alarm(self._arrive))
        with _collector_paused():
            self.clock.run(until=horizon_s)
        self._close(horizon_s)
        return self.log

    # ---- what happens

    def _arrive(self, alarm: Alarm) -> None:
        """Every job that is submitted at this moment joins its queue; the next alarm is set."""
        del alarm
        submits_s, venues, codes = self.submits_s, self.venues, self.codes
        index, count = self._next, len(submits_s)
        now_s = next_s = submits_s[index]
        while next_s == now_s:
            venue = venues[codes[index]]
            if venue.shape is None:
                self.log.rejections.append((index, venue.refusal))
            else:
                work_s, estimate_s = self.durations_s[index], self.estimates_s[index]
                job = Job(
                    index, now_s, work_s, estimate_s, self.priorities[index], venue.account, venue.shape
                )
                venue.desk.submit(job)
                self._touched[venue.desk] = None
            index += 1
            next_s = submits_s[index] if index < count else math.inf
        self._next = index
        if index < count:
            self.clock.at(next_s, ARRIVES, Alarm(self._arrive))
        if index >= self._report_at and self.on_progress is not None:
            self.on_progress(index)
            self._report_at = index + max(1, count // 200)
        self._decide(now_s)

    def _end(self, alarm: Alarm) -> None:
        """A run ends: the work is done, or the stated limit is reached."""
        now_s = self.clock.now
        self._finish(alarm, now_s)
        self._decide(now_s)

    def _finish(self, alarm: Alarm, now_s: float) -> None:
        job = alarm.job
        if job is not None:
            if job.alarms:
                self._silence(job, alarm)
            over = self.kill_at_estimate and job.work_left_s > job.remaining_s
            desk = self._desk(job)
            desk.finish(job, now_s, Outcome.TIMED_OUT if over else Outcome.DONE)
            if not desk.idle:
                self._touched[desk] = None

    def _change_rank(self, alarm: Alarm) -> None:
        """A running job's rank gets worse at this moment; the next such change is set."""
        job, now_s = alarm.job, self.clock.now
        if job is not None:
            desk = self._desk(job)
            desk.change_rank(job, now_s)
            self._watch_rank(desk, job)
            self._touched[desk] = None
        self._decide(now_s)

    def _lose_patience(self, alarm: Alarm) -> None:
        """A job has waited for locality as long as it would."""
        job, now_s = alarm.job, self.clock.now
        if job is not None and job.marks is not None and job.shape.relaxed is not None:
            desk = self._desk(job)
            desk.relax(job, now_s)
            self._touched[desk] = None
        self._decide(now_s)

    # ---- decisions

    def _decide(self, now_s: float) -> None:
        """When nothing is left of this moment, let every desk that was touched decide."""
        touched = self._touched
        if touched and self.clock.peek() > now_s:
            for desk in touched:
                desk.settle(now_s)
                self._carry_out(desk)
            touched.clear()

    def _carry_out(self, desk: Desk) -> None:
        """Set the clock for what a desk has decided."""
        partition, clock = desk.partition, self.clock
        if partition.displaced:
            for job in partition.displaced:
                self._silence(job)
                job.was = None
            partition.displaced.clear()
        for job in partition.begun:
            self._set_end(desk, job)
        partition.begun.clear()
        if partition.impatient:
            for job in partition.impatient:
                at_s = job.queued_s + partition.patience_s
                clock.at(at_s, ARRIVES, Alarm(self._lose_patience, job))
            partition.impatient.clear()

    def _set_end(self, desk: Desk, job: Job) -> None:
        run_s = job.work_left_s
        if self.kill_at_estimate and run_s > job.remaining_s:
            run_s = job.remaining_s
        alarm = Alarm(self._end, job)
        self.clock.at(job.started_s + job.restart_s + run_s, ENDS, alarm)
        if desk.partition.displaces:
            job.alarms = [alarm]
            if desk.partition.order.sinks:
                self._watch_rank(desk, job)

    def _silence(self, job: Job, but: Alarm | None = None) -> None:
        """What was to happen to a run does not; the alarm that rings now needs no cancelling."""
        for alarm in job.alarms:
            if alarm is not but:
                self.clock.cancel(alarm)
        job.alarms = []

    def _watch_rank(self, desk: Desk, job: Job) -> None:
        at_s = job.started_s + desk.partition.order.changes_after_s(job)
        if at_s < job.started_s + job.restart_s + job.work_left_s:
            alarm = Alarm(self._change_rank, job)
            job.alarms.append(alarm)
            self.clock.at(at_s, ARRIVES, alarm)

    def _desk(self, job: Job) -> Desk:
        return self.venues[self.codes[job.index]].desk

    # ---- the end

    def _close(self, horizon_s: float | None) -> None:
        """Note who ends with the simulation, who still runs and who still waits."""
        log = self.log
        if horizon_s is not None:
            for alarm in self.clock.ends_at(horizon_s):
                self._finish(alarm, horizon_s)
        last_s = max((run[2] for run in log.runs), default=0.0)
        end_s = log.end_s = last_s if horizon_s is None else horizon_s
        running = {
            a.job.index: a.job for a in self.clock.pending() if isinstance(a, Alarm) and a.job and a.job.site
        }
        for _, job in sorted(running.items()):
            self._desk(job).partition.stop(job, end_s, Outcome.CENSORED)
        for desk in dict.fromkeys(venue.desk for venue in self.venues):
            for job in sorted(desk.queue.jobs(), key=lambda job: job.index):
                if job.marks is not None:
                    desk.partition.leave(job, end_s, still_queued=1)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No cyclic garbage collection: the facts of a run are many and have no cycles.

    Freezing and thawing moves what was made meanwhile to the oldest generation, so that switching the
    collector on again does not search all of it at once.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.unfreeze()
            gc.enable()
