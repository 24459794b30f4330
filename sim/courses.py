"""Jobs whose speed depends on what others do: their runs as activities that share network and stores.

A run loads, works and writes checkpoints in turn. Work at full speed sends and reads so many bytes a
second; it goes as much slower as network or store give less of what it needs most. Loading and checkpoints
that go to a store are bytes on the same ways. Times that nothing shares are activities with a cap alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from sim import units, words
from sim.caches import NodeCaches, Readers, found_together
from sim.checkpoints import Saving
from sim.errors import PlanError
from sim.log import Outcome
from sim.stores import Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sim.flows import Activity
    from sim.job import Job
    from sim.meters import Meter
    from sim.network import Fabric, TrafficRule

FETCHES, RESTARTS, LOADS, WORKS, WRITES, WAITS = "fetches", "restarts", "loads", "works", "writes", "waits"
"""What a run does: fetch its image, start, load its state, work, write, or wait for room to write."""
ALMOST: Final = 1e-9
PARTS: Final = 16
"""In so many parts of a first pass a job looks anew at what others have brought meanwhile."""
NOTHING: Final = Saving()
NETWORK, STORES, POWER = range(3)
"""Kinds of what holds jobs up."""
LIMIT, POWER_CAP = "limit of a node", "power cap of GPUs"
"""What slows a job that shares nothing that is full: a store's limit of a node, or its own GPUs' cap."""
OVER: Final = (Outcome.DONE, Outcome.TIMED_OUT)
"""How a stay ends after which the job does not come back."""


class Clock(Protocol):
    """What courses need of the clock."""

    def call_at(self, time_s: float, what: Callable[[float], None]) -> None:
        """Something happens at a time."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What such jobs ask of network and stores."""

    traffic: TrafficRule | None = None
    checkpoint_bytes: float = 0.0
    """Of the whole job, where checkpoints go to a store."""
    store: str | None = None
    """Which store they go to."""
    restart_s: float = 0.0
    """Time to start all processes again before the state is loaded from there."""
    keep: int = 1
    """Checkpoints that are kept there."""
    data_set: str = ""
    """What they read over and over, where nodes cache it."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a run did from one time to another: at which share of full speed, and what held it up."""

    from_s: float
    to_s: float
    phase: str
    pace: float
    held_by: str | None

    def continues(self, phase: str, pace: float, held_by: str | None) -> bool:
        """Whether the same goes on."""
        return (self.phase, self.held_by) == (phase, held_by) and math.isclose(self.pace, pace, rel_tol=1e-6)


@dataclass(slots=True, eq=False)
class Course:
    """One run of a job, as far as it has come."""

    job: Job
    demand: Demand
    nodes: tuple[int, ...]
    begun_s: float
    placed: tuple[tuple[int, int], ...] = ()
    """Its nodes, and how many GPUs it has on each."""
    phase: str = LOADS
    since_s: float = 0.0
    activity: Activity | None = None
    behind: Activity | None = None
    """A checkpoint that is written while the job works."""
    behind_work_s: float = 0.0
    done_s: float = 0.0
    """Work of this run."""
    safe_s: float = 0.0
    """Work of this run that a checkpoint has saved."""
    loaded_s: float = 0.0
    written_s: float = 0.0
    chunk_s: float = 0.0
    """Work until the next checkpoint, the end, or the end of the first pass."""
    until_saved_s: float = 0.0
    """Work until the next checkpoint or the end."""
    first_pass_s: float = 0.0
    """Work until the data set has been read once and caches are full."""
    pass_s: float = 0.0
    """Work of the whole of that pass."""
    pass_number: int = 0
    """By which caches know it."""
    passed: float = 0.0
    """How much of that pass its nodes' caches know of."""
    own: float = 0.0
    """How much of what it has passed they hold, as a share of the data set."""
    in_company: bool = False
    """Whether others have filled the same caches during that pass."""
    held: float = 0.0
    """Share of its data set that it finds in its nodes' caches."""
    has_room: bool = False
    """Whether there is a place in the store for the checkpoint that it writes."""
    usages: dict[int, float] = field(default_factory=dict)
    """What its work needs of network and stores at full speed."""
    told_s: float = 0.0
    """Until when it is told what held it up since its work began."""
    held_by: int | None = None
    """The resource that holds it up; None for what caps it."""
    capped_by: str = LIMIT
    """What caps its speed, if no resource does."""
    untold_s: float = 0.0
    """Seconds that it has waited since then for which that is not told."""

    @property
    def saving(self) -> Saving:
        """How the job saves its work."""
        return self.job.saving or NOTHING


@dataclass(slots=True)
class Courses:
    """All runs of one simulation that share network and stores."""

    fabric: Fabric
    clock: Clock
    ends: Callable[[Job, float], None]
    """Told when a job has done all its work."""
    count_from_s: float = 0.0
    """From when on it counts what jobs lose: the end of the warm-up."""
    running: dict[Job, Course] = field(default_factory=dict)
    _kinds: list[int] = field(default_factory=list)
    _armed_s: float = math.inf
    _armed: int = 0
    waited_gpu_s: dict[str, float] = field(default_factory=dict)
    """GPU-seconds that jobs lost by working slower than they could, by the resource that held them up."""
    stalls: dict[int, list[float]] = field(default_factory=dict)
    """By the row of a job: seconds that it lost to network, stores and power."""
    rooms: dict[str, Room] = field(default_factory=dict)
    """What lies in the stores that have a limited capacity."""
    caches: NodeCaches = field(default_factory=NodeCaches)
    readers: Readers[Job] = field(default_factory=Readers)
    """Jobs that read a data set which their nodes cache."""
    waiting: list[Course] = field(default_factory=list)
    """Those who wait for room to write, first come first."""
    meter: Meter | None = None
    """What looks at shared resources over time."""
    diary_of: int | None = None
    """The row of a job whose course is written down."""
    diary: list[Line] = field(default_factory=list)
    path: dict[str, float] = field(default_factory=dict)
    """Of that job: what share of each resource its last run needed at full speed."""

    # ---- from the engine

    def __post_init__(self) -> None:
        self.fabric.fluid.on_change = self.watch
        self.fabric.fluid.on_solved = self.look

    def begin(self, job: Job, demand: Demand, now_s: float) -> None:
        """A job has started on its nodes."""
        site = job.site
        placed = () if site is None else tuple(sorted(site[2]))
        nodes = tuple(node for node, _ in placed)
        course = self.running[job] = Course(job, demand, nodes, now_s, placed, since_s=now_s)
        if self.meter is not None:
            self.meter.begin(now_s)
        traffic = demand.traffic
        if traffic is not None:
            self._look_into_caches(course, traffic, now_s)
            fetching = self._without_image(course, traffic)
            if fetching and traffic.store is not None:
                course.phase = FETCHES
                size = traffic.image * len(fetching)
                course.activity = self._transfer(
                    course, size, traffic.store, now_s, writing=False, nodes=fetching
                )
                return
        self._start(course, now_s)

    def _start(self, course: Course, now_s: float) -> None:
        """Everything is there: processes start, from the last checkpoint if there is one."""
        job, demand = course.job, course.demand
        course.since_s = now_s
        if job.restart_s <= 0:
            self._work(course, now_s)
        elif demand.store is not None and demand.restart_s > 0:
            course.phase = RESTARTS
            course.activity = self._pass(demand.restart_s, course, now_s)
        else:
            self._load(course, now_s)

    def pause(self, job: Job, now_s: float) -> None:
        """Something under the job has failed: it goes on no more, and what it was writing is not safe."""
        course = self.running.get(job)
        if course is not None:
            self._account(course, now_s)
            self._drop(course, now_s)
            self._free(course, now_s, all_of_it=False)
            self._reads_no_more(course, now_s)

    def close(
        self, job: Job, now_s: float, outcome: Outcome
    ) -> tuple[float, float, float, float, float] | None:
        """A stay ends: seconds of work kept, of work lost, of loading, of writing, of waiting and hanging.

        None for a job that has no course.
        """
        course = self.running.pop(job, None)
        if course is None:
            return None
        if course.activity is not None or course.phase == WAITS:
            self._account(course, now_s)
            self._drop(course, now_s)
        if course.first_pass_s > ALMOST:
            self._fill_caches(course, now_s)
        self._reads_no_more(course, now_s)
        self._free(course, now_s, all_of_it=outcome in OVER)
        whole_s = now_s - course.begun_s
        kept_s = course.safe_s
        if outcome is Outcome.DONE:
            kept_s = job.work_left_s
        elif outcome is Outcome.CENSORED:
            kept_s = course.done_s
        elif outcome is Outcome.TIMED_OUT:
            kept_s = 0.0
        lost_s = max(0.0, course.done_s - kept_s) if outcome is not Outcome.DONE else 0.0
        used_s = kept_s + lost_s + course.loaded_s + course.written_s
        stalled_s = whole_s - used_s if whole_s - used_s > ALMOST * whole_s else 0.0
        return kept_s, lost_s, course.loaded_s, course.written_s, stalled_s

    def arm(self, now_s: float) -> None:
        """Set the clock for the next end, if it has changed."""
        next_s = max(self.fabric.fluid.next_end_s(), now_s)
        if next_s != self._armed_s and next_s < math.inf:
            self._armed_s = next_s
            self._armed += 1
            number = self._armed

            def happen(at_s: float) -> None:
                if number == self._armed:
                    self._armed_s = math.inf
                    self._advance(at_s)

            self.clock.call_at(next_s, happen)

    # ---- what happens

    def _advance(self, now_s: float) -> None:
        """What ends now has ended."""
        for activity in self.fabric.fluid.end_due(now_s):
            course = activity.what
            if not isinstance(course, Course) or self.running.get(course.job) is not course:
                continue
            if activity is course.behind:
                course.behind = None
                course.safe_s = course.behind_work_s
                self._is_safe(course)
                if course.phase == WRITES and course.activity is None:
                    self._snapshot(course, now_s)  # it had to wait for the last one
            elif activity is course.activity:
                self._account(course, now_s)
                course.activity = None
                self._follow(course, now_s)

    def _follow(self, course: Course, now_s: float) -> None:
        """One phase is over: the next begins."""
        job = course.job
        if course.phase == FETCHES:
            for node in course.nodes:
                self.caches.settle(_image(course), (node,), 1.0, self.caches.new_pass())
            self._start(course, now_s)
        elif course.phase == RESTARTS:
            self._load(course, now_s)
        elif course.phase == LOADS:
            self._work(course, now_s)
        elif course.phase == WORKS:
            if course.done_s >= job.work_left_s * (1 - ALMOST):
                self.ends(job, now_s)
            elif course.until_saved_s > ALMOST * job.work_left_s:
                self._go_on(course, now_s)  # the first pass, or a part of it, is over
            else:
                self._write(course, now_s)
        elif course.saving.lag_s:
            self._write_behind(course, now_s)
        else:
            course.safe_s = course.done_s
            self._is_safe(course)
            self._work(course, now_s)

    def _load(self, course: Course, now_s: float) -> None:
        """The state is loaded, from a store or for a stated time."""
        course.phase, course.since_s = LOADS, now_s
        store, size = course.demand.store, course.demand.checkpoint_bytes
        if store is not None and size:
            course.activity = self._transfer(course, size, store, now_s, writing=False)
        else:
            course.activity = self._pass(course.job.restart_s, course, now_s)

    def _work(self, course: Course, now_s: float) -> None:
        """Work until the next checkpoint or the end."""
        course.phase, course.since_s = WORKS, now_s
        course.until_saved_s = min(course.saving.every_s, max(0.0, course.job.work_left_s - course.done_s))
        self._go_on(course, now_s)

    def _go_on(self, course: Course, now_s: float) -> None:
        """Work on, at what it needs of network and stores now."""
        course.phase, course.since_s = WORKS, now_s
        course.told_s, course.untold_s = now_s, 0.0
        course.chunk_s = course.until_saved_s
        if course.first_pass_s > ALMOST:
            course.chunk_s = min(course.until_saved_s, self._part_of_pass(course, now_s))
        usages = course.usages = {}
        traffic, cap = course.demand.traffic, 1.0
        widest = 0.0
        if traffic is not None:
            reads = traffic.reads * self._missed(course, traffic)
            widest = max(reads, traffic.sends if len(course.nodes) > 1 else 0.0)
            self.fabric.between(course.nodes, traffic.sends, traffic.pattern, usages)
            if traffic.store is not None and reads > 0:
                self.fabric.reads(course.nodes, reads, traffic.store, usages, traffic.record)
                limit = self.fabric.limit(traffic.store, traffic.connections)
                cap = min(1.0, limit / reads) if limit is not None else 1.0
        weight = 1 / widest if widest else 1.0
        supply = self.fabric.supply
        if supply is not None:
            pace = supply.works(course.placed, usages)
            course.capped_by = POWER_CAP if pace < cap else LIMIT
            cap = min(cap, pace)
            if supply.is_shared:
                weight = 1.0  # who shares power is slowed alike, on links too
        if course.job.index == self.diary_of:
            fluid = self.fabric.fluid
            self.path = {fluid.names[way]: need / fluid.capacity(way) for way, need in usages.items()}
        course.activity = self.fabric.fluid.add(
            course.chunk_s, usages, now_s, weight=weight, cap=cap, what=course
        )

    # ---- caches

    def _without_image(self, course: Course, traffic: TrafficRule) -> tuple[int, ...]:
        """Nodes that have to load what the job starts from."""
        if not traffic.image:
            return ()
        if not traffic.image_kept:
            return course.nodes
        image = _image(course)
        return tuple(node for node in course.nodes if not self.caches.held(image, (node,)))

    def _look_into_caches(self, course: Course, traffic: TrafficRule, now_s: float) -> None:
        """What its nodes hold of its data set already; if they can hold more, its first pass fills them."""
        full = traffic.held(len(course.nodes))
        if not full:
            return
        self.readers.add(course.job, course.demand.data_set, course.nodes)
        company = self._company(course)
        for other in company:
            self._fill_caches(other, now_s)
        course.held = min(full, self.caches.held(course.demand.data_set, course.nodes))
        if course.held < full * (1 - ALMOST):
            course.first_pass_s = course.pass_s = traffic.first_pass_s(len(course.nodes))
            course.pass_number = self.caches.new_pass()
        for other in company:
            if course.first_pass_s and other.first_pass_s > ALMOST:
                course.in_company = True
                if not other.in_company:
                    other.in_company = True
                    self._reads_on(other, now_s)
            elif other.first_pass_s <= ALMOST:
                self._has_other_readers(other, now_s)

    def _company(self, course: Course) -> list[Course]:
        """Others that read the same data set on some of the same nodes."""
        beside = self.readers.beside(course.job, course.demand.data_set, course.nodes)
        return [self.running[job] for job in beside]

    def _missed(self, course: Course, traffic: TrafficRule) -> float:
        """Share of what a job reads that it does not find in its nodes' caches."""
        if not course.held or course.first_pass_s > ALMOST:
            return 1.0 - course.held  # what is filled for the first time drops nothing yet
        readers, count = 1.0, len(course.nodes)
        if traffic.drops(count):
            beside = self.readers.beside(course.job, course.demand.data_set, course.nodes)
            readers += sum(beside.values()) / count  # who reads on a part of its nodes counts as that part
        return traffic.missed(course.held, readers)

    def _has_other_readers(self, course: Course, now_s: float) -> None:
        """Others have begun or ceased to read what a job reads, so that it finds more or less."""
        traffic = course.demand.traffic
        if traffic is not None and course.first_pass_s <= ALMOST and traffic.drops(len(course.nodes)):
            self._reads_on(course, now_s)

    def _reads_on(self, course: Course, now_s: float) -> None:
        """What a job finds in caches has changed: its work goes on with that."""
        activity = course.activity
        if course.phase == WORKS and activity is not None and activity.bundle is not None:
            self._account(course, now_s)
            self.fabric.fluid.remove(activity, now_s)
            course.activity = None
            self._go_on(course, now_s)

    def _reads_no_more(self, course: Course, now_s: float) -> None:
        """A job has gone; others may find less."""
        traffic = course.demand.traffic
        if traffic is None or not traffic.held(len(course.nodes)):
            return
        company = self._company(course)
        self.readers.remove(course.job, course.demand.data_set, course.nodes)
        for other in company:
            self._has_other_readers(other, now_s)

    def _part_of_pass(self, course: Course, now_s: float) -> float:
        """Work until what it finds in its first pass is looked at anew: to its end, if nobody else fills."""
        traffic = course.demand.traffic
        if traffic is None or not course.in_company:
            return course.first_pass_s
        company = [other for other in self._company(course) if other.first_pass_s > ALMOST]
        for each in (course, *company):
            self._fill_caches(each, now_s)
        full = traffic.held(len(course.nodes))
        there = min(full, self.caches.held(course.demand.data_set, course.nodes))
        if there >= full * (1 - ALMOST) and traffic.drops(len(course.nodes)):
            # full, so that from now on something drops for all that comes
            self.caches.settle(course.demand.data_set, course.nodes, full, course.pass_number)
            course.first_pass_s, course.held = 0.0, full
            return course.until_saved_s
        others = [(each.passed, each.own) for each in company]
        course.held = found_together(there, full, (course.passed, course.own), others, 1 / PARTS)
        return min(course.first_pass_s, course.pass_s / PARTS)

    def _fill_caches(self, course: Course, now_s: float) -> None:
        """Note what the first pass of a run has brought into its nodes' caches until now."""
        traffic, left_s = course.demand.traffic, course.first_pass_s
        if traffic is None or not course.pass_s:
            return
        if course.phase == WORKS and course.activity is not None:
            goes_on = course.activity.bundle is not None
            left_s -= course.chunk_s - (self.fabric.fluid.left(course.activity, now_s) if goes_on else 0.0)
        passed = 1.0 - left_s / course.pass_s
        if passed <= course.passed + ALMOST:
            return
        data_set, full = course.demand.data_set, traffic.held(len(course.nodes))
        if left_s <= ALMOST:
            self.caches.settle(data_set, course.nodes, full, course.pass_number)
            return
        free = full - min(full, self.caches.held(data_set, course.nodes))
        found = (passed - course.passed) * course.held
        course.own += found + min(passed - course.passed - found, free)
        course.passed = passed
        self.caches.fill(data_set, course.nodes, min(full, course.own), course.pass_number)

    def _write(self, course: Course, now_s: float) -> None:
        """A checkpoint is due."""
        course.phase, course.since_s = WRITES, now_s
        if course.saving.lag_s:
            if course.behind is None:
                self._snapshot(course, now_s)
            return  # else it waits until the last one is written
        if not self._find_room(course):
            self._without_room(course, now_s)
            return
        store, size = course.demand.store, course.demand.checkpoint_bytes
        if store is not None and size:
            course.activity = self._transfer(course, size, store, now_s, writing=True)
        else:
            course.activity = self._pass(course.saving.stop_s, course, now_s)

    def _snapshot(self, course: Course, now_s: float) -> None:
        course.activity = self._pass(course.saving.stop_s, course, now_s)

    def _write_behind(self, course: Course, now_s: float) -> None:
        """The snapshot is taken: it is written while the job works on."""
        course.behind_work_s = course.done_s
        if not self._find_room(course):
            self._without_room(course, now_s)
            return
        store, size = course.demand.store, course.demand.checkpoint_bytes
        if store is not None and size:
            course.behind = self._transfer(course, size, store, now_s, writing=True)
        else:
            course.behind = self._pass(course.saving.lag_s, course, now_s)
        self._work(course, now_s)

    # ---- room in stores

    def _find_room(self, course: Course) -> bool:
        """Whether a checkpoint may be written, and if so its place is taken."""
        room = self.rooms.get(course.demand.store or "")
        course.has_room = room is None or room.take(course.job, course.demand.checkpoint_bytes)
        return course.has_room

    def _without_room(self, course: Course, now_s: float) -> None:
        """The store is full: the job waits, or goes on without a checkpoint."""
        room = self.rooms[course.demand.store or ""]
        if room.on_full == "wait":
            course.phase, course.activity = WAITS, None
            self.waiting.append(course)
            self._check_that_some_go_on(course, room)
            return
        room.refused += 1
        self._work(course, now_s)

    def _check_that_some_go_on(self, course: Course, room: Room) -> None:
        """PlanError where all who hold room in a store wait for more of it: nobody would ever end."""
        store = course.demand.store
        users = [each for each in self.running.values() if each.demand.store == store]
        if all(each in self.waiting or each.job not in room.held for each in users):
            jobs = words.count(sum(each in self.waiting for each in users), "job")
            used, whole = units.human_size(room.used), units.human_size(room.capacity)
            raise PlanError(
                f'store "{store}" is full: {used} of {whole} are in use, {jobs} would wait for'
                " ever for room to write. Give it more capacity, or say on_full: evict or refuse"
            )

    def _is_safe(self, course: Course) -> None:
        """A checkpoint is written: older ones go."""
        room = self.rooms.get(course.demand.store or "")
        if room is not None:
            room.is_written(course.job, course.demand.keep)
            course.has_room = False

    def _free(self, course: Course, now_s: float, *, all_of_it: bool) -> None:
        """A run is over or hangs: what it was writing goes, and with a job all its checkpoints."""
        if course in self.waiting:
            self.waiting.remove(course)
            course.phase = WRITES  # it waits no more: what passes from now on is no waiting for room
        room = self.rooms.get(course.demand.store or "")
        if room is None:
            return
        if course.has_room:
            room.gives_up(course.job)
            course.has_room = False
        if all_of_it:
            room.ends(course.job)
        for waiter in [each for each in self.waiting if each.demand.store == course.demand.store]:
            if not self._find_room(waiter):
                return
            self.waiting.remove(waiter)
            self._account(waiter, now_s)
            self._write_now(waiter, now_s)

    def _write_now(self, course: Course, now_s: float) -> None:
        """There is room at last."""
        course.phase, course.since_s = WRITES, now_s
        store, size = course.demand.store or "", course.demand.checkpoint_bytes
        written = self._transfer(course, size, store, now_s, writing=True)
        if course.saving.lag_s:
            course.behind = written
            self._work(course, now_s)
        else:
            course.activity = written

    def _pass(self, time_s: float, course: Course, now_s: float) -> Activity:
        """Time passes that nothing shares."""
        return self.fabric.fluid.add(time_s, (), now_s, cap=1.0, what=course)

    def _transfer(
        self,
        course: Course,
        size: float,
        store: str,
        now_s: float,
        *,
        writing: bool,
        nodes: tuple[int, ...] | None = None,
    ) -> Activity:
        """All nodes of a job, or some of them, together write to a store, or read from it."""
        usages: dict[int, float] = {}
        nodes = course.nodes if nodes is None else nodes
        count = max(1, len(nodes))
        each = 1.0 / count
        (self.fabric.writes if writing else self.fabric.reads)(nodes, each, store, usages)
        traffic = course.demand.traffic
        limit = self.fabric.limit(store, 1 if traffic is None else traffic.connections)
        cap = math.inf if limit is None else limit * count
        return self.fabric.fluid.add(size, usages, now_s, weight=float(count), cap=cap, what=course)

    def _account(self, course: Course, now_s: float) -> None:
        """Note what a phase has come to; it goes on or is over."""
        elapsed_s = now_s - course.since_s
        if course.phase != WORKS:
            self._write_down(course, course.since_s, now_s, 0.0)
        if course.phase in (FETCHES, RESTARTS, LOADS):
            course.loaded_s += elapsed_s
        elif course.phase in (WRITES, WAITS):
            course.written_s += elapsed_s
        elif course.activity is not None:
            left_s = 0.0
            if course.activity.bundle is not None:
                left_s = self.fabric.fluid.left(course.activity, now_s)
            worked_s = min(course.chunk_s - left_s, elapsed_s)
            course.done_s += worked_s
            course.chunk_s = left_s
            course.until_saved_s -= worked_s
            if course.first_pass_s > ALMOST:
                course.first_pass_s -= worked_s
                if course.first_pass_s <= ALMOST and course.demand.traffic is not None:
                    course.first_pass_s = 0.0
                    self._fill_caches(course, now_s)
                    course.held = course.demand.traffic.held(len(course.nodes))
            course.untold_s += elapsed_s - worked_s
            told_s = now_s - course.told_s
            if told_s > 0:
                self._write_down(course, course.told_s, now_s, 1.0 - course.untold_s / told_s)
            if course.untold_s > ALMOST * elapsed_s:
                self._blame(course, course.untold_s, course.told_s, now_s)
            course.told_s, course.untold_s = now_s, 0.0
        course.since_s = now_s

    def watch(self, activities: Iterator[Activity], rate: float, now_s: float) -> None:
        """Rates change now: what some activities waited until now is due to what held them up until now."""
        for activity in activities:
            course = activity.what
            if not isinstance(course, Course) or activity is not course.activity or course.phase != WORKS:
                continue
            since_s, course.told_s = course.told_s, now_s
            self._write_down(course, since_s, now_s, rate)
            waited_s = (now_s - since_s) * (1.0 - rate)
            if waited_s > 0:
                course.untold_s -= waited_s
                self._blame(course, waited_s, since_s, now_s)

    def look(self, activities: Iterator[Activity]) -> None:
        """Rates were solved: what holds up those who work."""
        for activity in activities:
            course = activity.what
            if isinstance(course, Course) and activity is course.activity and course.usages:
                course.held_by = self.fabric.fluid.binding(activity)

    def _blame(self, course: Course, waited_s: float, since_s: float, now_s: float) -> None:
        """A job has worked slower than it could since some time: it has waited for what holds it up."""
        stalls = self.stalls.setdefault(course.job.index, [0.0, 0.0, 0.0])
        stalls[self._kind_of(course)] += waited_s
        if since_s < self.count_from_s < now_s:
            waited_s *= (now_s - self.count_from_s) / (now_s - since_s)
        elif now_s <= self.count_from_s:
            return
        resource = course.held_by
        name = course.capped_by if resource is None else self.fabric.fluid.names[resource]
        self.waited_gpu_s[name] = self.waited_gpu_s.get(name, 0.0) + waited_s * course.job.gpus

    def _kind_of(self, course: Course) -> int:
        """Of network, stores and power, what holds up a job."""
        if course.held_by is None:
            return POWER if course.capped_by == POWER_CAP else STORES
        if not self._kinds:
            fabric = self.fabric
            self._kinds = [NETWORK] * len(fabric.fluid.names)
            for each in fabric.opened.values():
                for way in (
                    *each.reading,
                    *each.writing,
                    *([] if each.requests is None else [each.requests]),
                ):
                    self._kinds[way] = STORES
            for way in () if fabric.supply is None else fabric.supply.ways:
                self._kinds[way] = POWER
        return self._kinds[course.held_by]

    def _write_down(self, course: Course, from_s: float, to_s: float, pace: float) -> None:
        """Keep the diary of one job."""
        if course.job.index != self.diary_of or to_s <= from_s:
            return
        held_by = None
        if course.phase == WORKS and pace < 1.0 - ALMOST:
            held_by = course.capped_by if course.held_by is None else self.fabric.fluid.names[course.held_by]
        before = self.diary[-1] if self.diary else None
        if before is not None and before.to_s == from_s and before.continues(course.phase, pace, held_by):
            self.diary[-1] = replace(before, to_s=to_s)
        else:
            self.diary.append(Line(from_s, to_s, course.phase, pace, held_by))

    def _drop(self, course: Course, now_s: float) -> None:
        """Nothing of a run goes on."""
        for activity in (course.activity, course.behind):
            if activity is not None and activity.bundle is not None:
                self.fabric.fluid.remove(activity, now_s)
        course.activity = course.behind = None

    def metered(self, end_s: float) -> list[tuple[float, str, float]]:
        """(end of a step, resource, share in use) of the shared resources that anything was ever on."""
        meter = self.meter
        if meter is None:
            return []
        meter.sample(end_s)
        fluid, times_s = self.fabric.fluid, meter.times_s
        found = []
        for place, resource in enumerate(meter.watched):
            carried = [row[place] for row in meter.carried]
            if not carried or carried[-1] <= 0:
                continue
            most = fluid.capacity(resource)
            for before, after, was, then in zip(times_s, times_s[1:], carried, carried[1:], strict=False):
                found.append((after, fluid.names[resource], (then - was) / ((after - before) * most)))
        return found

    def facts(self, end_s: float) -> list[tuple[str, float, float, float]]:
        """Every resource: its name, units a second, units carried until now, GPU-seconds lost on it."""
        fluid, waited = self.fabric.fluid, self.waited_gpu_s
        told = [
            (name, fluid.capacity(place), fluid.moved(place, end_s), waited.get(name, 0.0))
            for place, name in enumerate(fluid.names)
        ]
        return [*told, *((limit, 0.0, 0.0, waited[limit]) for limit in (LIMIT, POWER_CAP) if limit in waited)]


def _image(course: Course) -> str:
    """What the image of a job is called in the caches of nodes."""
    size = 0.0 if course.demand.traffic is None else course.demand.traffic.image
    return f"image of {size:g} bytes for {course.demand.data_set}"
