"""The simulation: SimPy holds the clock, the desks of the partitions decide, the log keeps the facts.

At one moment completions free GPUs first, then jobs arrive, then each partition that was touched decides
once. Jobs that only take time need no process of their own: an alarm on SimPy's clock ends each run.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

import simpy

from sim.job import Job
from sim.log import Log, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.checkpoints import Saving
    from sim.courses import Courses, Demand
    from sim.outages import Outages
    from sim.partition import Shape
    from sim.scheduler import Desk
    from sim.tenancy import Account

ENDS: Final = 0
SINKS: Final = 1
GIVES_UP: Final = 2
"""What alarms are for, in the order in which they ring at one moment; see below."""
IS_NOTICED: Final = 3
"""A failure under a job is noticed; then other things happen, such as failures and repairs."""
HAPPENS: Final = 4
VOID: Final = -1
DONE: Final = Outcome.DONE
MANY: Final = 256


class Clock(simpy.Environment):
    """SimPy's environment with alarms of jobs: at absolute times, so that none is rounded by adding a delay.

    Most jobs only take time, and a million of them need neither a process nor an event each. So an alarm is
    an entry of SimPy's own queue that names a job in place of an event. It rings as long as the job carries
    the alarm's serial number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[Any] = self._queue
        """What has not happened yet: a heap of (time, order, serial number, event or job)."""
        self._silenced = 0
        self._next_serial = self._eid.__next__

    def set_alarm(self, job: Job, what: int, time_s: float) -> None:
        """Ring for a job at a time; its older alarms are void, for it gets a new serial number."""
        job.serial = serial = self._next_serial()
        heappush(self.queue, (time_s, what, serial, job))

    def add_alarm(self, job: Job, what: int, time_s: float) -> None:
        """Ring for a job at a time too, besides its other alarms."""
        heappush(self.queue, (time_s, what, job.serial, job))

    def call_at(self, time_s: float, what: Callable[[float], None]) -> None:
        """Something happens at a time, after whatever alarms of jobs ring then."""
        heappush(self.queue, (time_s, HAPPENS, self._next_serial(), Call(what)))

    def silence(self, job: Job) -> None:
        """The job's alarms are void. Once half of all may be such, they are thrown out together."""
        job.serial = VOID
        self._silenced += 1
        if self._silenced > MANY and 2 * self._silenced > len(self.queue):
            self.queue[:] = [entry for entry in self.queue if _stands(entry)]
            heapify(self.queue)
            self._silenced = 0

    def running(self) -> Iterator[Job]:
        """Jobs whose run has not ended yet, in no particular order."""
        return (
            entry[3]
            for entry in self.queue
            if entry[3].__class__ is Job and entry[1] in (ENDS, IS_NOTICED) and _stands(entry)
        )


@dataclass(slots=True)
class Call:
    """What happens at a time on the clock, told that time."""

    what: Callable[[float], None]


def _stands(entry: Any) -> bool:  # noqa: ANN401  SimPy's queue holds events, and here jobs too
    """Whether an entry of the queue is not void."""
    return entry[3].__class__ is not Job or bool(entry[3].serial == entry[2])


@dataclass(frozen=True, slots=True)
class Venue:
    """Where jobs of one request and tenant go; `shape` is None when no pool could ever hold them."""

    desk: Desk
    account: Account
    shape: Shape | None
    refusal: str = ""
    saving: Saving | None = None
    """How its jobs save their work."""
    demand: Demand | None = None
    """What its jobs ask of network and stores, where they share any."""


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
    outages: Outages | None = None
    """What fails under the jobs."""
    courses: Courses | None = None
    """Runs of jobs that share network and stores."""
    _seated: list[dict[Job, None]] | None = None
    """Jobs that hold GPUs, by desk; None where desks do not know."""
    _next: int = 0
    _touched: dict[Desk, None] = field(default_factory=dict)
    _report_at: int = 0

    def __post_init__(self) -> None:
        """Desks that know who holds their GPUs tell it."""
        known = [desk.partition.seated for desk in dict.fromkeys(venue.desk for venue in self.venues)]
        self._seated = [jobs for jobs in known if jobs is not None] if None not in known else None

    def run(self, horizon_s: float | None = None) -> Log:
        """Play until the last job has left, or until the horizon; then close what is still open.

        What ends at the horizon has ended; nobody comes or starts there any more.
        """
        if self.outages is not None:
            self.outages.begin(self)
        with _collector_paused():
            self._play(math.inf if horizon_s is None else horizon_s)
        self._close(horizon_s)
        return self.log

    # ---- what happens

    def _play(self, horizon_s: float) -> None:
        """From one moment to the next: what was due happens, jobs arrive, and touched desks decide."""
        clock, touched = self.clock, self._touched
        queue = clock.queue
        arrives_s = self.submits_s[0] if self.submits_s else math.inf
        while queue or arrives_s < math.inf:
            now_s = queue[0][0] if queue and queue[0][0] < arrives_s else arrives_s
            if now_s >= horizon_s:
                break
            clock._now = now_s  # noqa: SLF001  our own clock; a call for each moment would be felt
            while queue and queue[0][0] == now_s:
                self._happen(now_s)
            if arrives_s == now_s:
                arrives_s = self._arrive(now_s)
            if touched:
                for desk in touched:
                    if desk.settle(now_s):
                        self._carry_out(desk)
                touched.clear()
            if self.courses is not None:
                self.courses.arm(now_s)
        while queue and queue[0][0] == horizon_s:
            self._happen(horizon_s)

    def _happen(self, now_s: float) -> None:
        """The next entry of the clock's queue happens."""
        queue = self.clock.queue
        if queue[0][3].__class__ is not Job:
            self._happen_besides(now_s)
            return
        _, what, serial, job = heappop(queue)
        if job.serial != serial:
            return
        desk = self.venues[self.codes[job.index]].desk
        if what == ENDS:
            outcome = DONE
            if self.kill_at_estimate and job.work_left_s > job.remaining_s:
                outcome = Outcome.TIMED_OUT
                if desk.sinks:
                    self.clock.silence(job)  # its rank was to change only after this
            if not desk.finish(job, now_s, outcome):
                return
        elif what == SINKS:
            desk.change_rank(job, now_s)
            self._watch_rank(desk, job)
        elif what == IS_NOTICED:
            desk.fail(job, now_s)
            if self.outages is not None:
                self.outages.freed(desk)
        else:
            desk.relax(job, now_s)
        self._touched[desk] = None

    def _happen_besides(self, now_s: float) -> None:
        """Something that is no alarm of a job: a call, or an event of SimPy's own."""
        if self.clock.queue[0][3].__class__ is Call:
            heappop(self.clock.queue)[3].what(now_s)
        else:
            self.clock.step()

    def touch(self, desk: Desk) -> None:
        """A desk has to decide at this moment."""
        self._touched[desk] = None

    def running(self) -> Iterator[Job]:
        """Jobs that hold GPUs, in no particular order."""
        seated = self._seated
        if seated is None:
            return self.clock.running()
        return (job for jobs in seated for job in jobs)

    def pause(self, job: Job, now_s: float) -> None:
        """A running job goes on no more, though it holds its GPUs."""
        if self.courses is not None:
            self.courses.pause(job, now_s)

    def empty(self, node: int) -> None:
        """Nothing is cached on a node any more: it comes back from repair."""
        if self.courses is not None:
            self.courses.caches.empty(node)

    def end(self, job: Job, now_s: float) -> None:
        """A job that has a course has done all its work."""
        desk = self.venues[self.codes[job.index]].desk
        if desk.finish(job, now_s, DONE):
            self._touched[desk] = None

    @property
    def all_came(self) -> bool:
        """Whether no job is to come."""
        return self._next >= len(self.submits_s)

    @property
    def is_over(self) -> bool:
        """Whether no job is to come, runs or waits."""
        if not self.all_came:
            return False
        running = next(self.running(), None) if self._seated is None else any(self._seated)
        return not running and all(venue.desk.idle for venue in self.venues)

    def _arrive(self, now_s: float) -> float:
        """Every job that is submitted at this moment joins its queue; returns when the next ones come."""
        submits_s, venues, codes, touched = self.submits_s, self.venues, self.codes, self._touched
        index, count = self._next, len(submits_s)
        next_s = now_s
        while next_s == now_s:
            venue = venues[codes[index]]
            if venue.shape is None:
                self.log.rejections.append((index, venue.refusal))
            else:
                work_s, estimate_s = self.durations_s[index], self.estimates_s[index]
                job = Job(
                    index, now_s, work_s, estimate_s, self.priorities[index], venue.account, venue.shape,
                    venue.saving,
                )  # fmt: skip
                venue.desk.submit(job)
                touched[venue.desk] = None
            index += 1
            next_s = submits_s[index] if index < count else math.inf
        self._next = index
        if index >= self._report_at and self.on_progress is not None:
            self.on_progress(index)
            self._report_at = index + max(1, count // 200)
        return next_s

    # ---- decisions

    def _carry_out(self, desk: Desk) -> None:
        """Set the clock for what a desk has decided."""
        partition, clock = desk.partition, self.clock
        if partition.displaced:
            for job in partition.displaced:
                clock.silence(job)
                job.was = None
            partition.displaced.clear()
        if partition.begun:
            self._set_clock_for_ends(desk)
            partition.begun.clear()
        if partition.impatient:
            for job in partition.impatient:
                clock.set_alarm(job, GIVES_UP, job.queued_s + partition.patience_s)
            partition.impatient.clear()

    def _set_clock_for_ends(self, desk: Desk) -> None:
        """Ring when those who have started are through, if nothing happens to them."""
        kill, sinks, set_alarm, courses = (
            self.kill_at_estimate,
            desk.sinks,
            self.clock.set_alarm,
            self.courses,
        )
        for job in desk.partition.begun:
            if courses is not None and self._set_out(job):
                continue
            run_s = job.work_left_s
            if kill and run_s > job.remaining_s:
                run_s = job.remaining_s
            if job.saving is not None:
                run_s = job.saving.run_s(run_s)
            set_alarm(job, ENDS, job.started_s + job.restart_s + run_s)
            if sinks:
                self._watch_rank(desk, job)

    def _set_out(self, job: Job) -> bool:
        """Begin the course of a job that shares network and stores; returns whether it is one."""
        demand = self.venues[self.codes[job.index]].demand
        if demand is None or self.courses is None:
            return False
        job.serial = VOID
        self.courses.begin(job, demand, job.started_s)
        return True

    def _watch_rank(self, desk: Desk, job: Job) -> None:
        at_s = job.started_s + desk.partition.order.changes_after_s(job)
        if at_s < job.started_s + job.restart_s + job.work_left_s:
            self.clock.add_alarm(job, SINKS, at_s)

    # ---- the end

    def _close(self, horizon_s: float | None) -> None:
        """Note who ends with the simulation, who still runs and who still waits."""
        log = self.log
        last_s = max(map(itemgetter(2), log.runs), default=0.0)
        end_s = log.end_s = last_s if horizon_s is None else horizon_s
        for job in sorted(self.running(), key=attrgetter("index")):
            self.venues[self.codes[job.index]].desk.partition.stop(job, end_s, Outcome.CENSORED)
        if self.outages is not None:
            self.outages.close(end_s)
        if self.courses is not None:
            log.links += self.courses.facts(end_s)
            log.stalls = self.courses.stalls
            if self.courses.meter is not None:
                log.metered = self.courses.metered(end_s)
        for desk in dict.fromkeys(venue.desk for venue in self.venues):
            for job in sorted(desk.queue.jobs(), key=attrgetter("index")):
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
