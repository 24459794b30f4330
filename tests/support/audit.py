"""What must be true of every run, checked from its log alone and without the simulator's own bookkeeping.

Slow and plain on purpose: free GPUs are counted anew for every moment, and so are the causes of waits.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from sim import staging
from sim.log import Log, Outcome
from sim.scenario import Scenario

QUOTA, ORDER, FRAGMENTATION, CAPACITY = "quota", "order", "fragmentation", "capacity"


@dataclass(frozen=True)
class Node:
    """What the fleet has at one index of a placement."""

    pool: int
    gpus: int
    kind: str | None
    cluster: str | None
    cpus: float
    memory: float


class Audit:
    """A run beside the scenario and the jobs that it was made from."""

    def __init__(self, scenario: Scenario, jobs: pl.DataFrame, log: Log) -> None:
        self.scenario, self.log = scenario, log
        self.jobs: list[dict[str, Any]] = list(jobs.iter_rows(named=True))
        self.rule = scenario.scheduler.placement
        self.nodes = [
            Node(
                at,
                pool.gpus_per_node,
                pool.gpu,
                pool.virtual_cluster,
                math.inf if pool.cpus_per_node is None else pool.cpus_per_node,
                math.inf if pool.memory_per_node is None else pool.memory_per_node,
            )
            for at, pool in enumerate(scenario.fleet.pools)
            for _ in range(pool.nodes)
        ]
        assert len(self.nodes) == staging.nodes(scenario).height
        self.runs: dict[int, list[Any]] = defaultdict(list)
        self.waits: dict[int, list[Any]] = defaultdict(list)
        for run in log.runs:
            self.runs[run[0]].append(run)
        for wait in log.waits:
            self.waits[wait[0]].append(wait)
        self.rejected = {job for job, _ in log.rejections}

    def everything(self) -> None:
        """All checks that need no look at each moment."""
        self.time_never_goes_back()
        for job in range(len(self.jobs)):
            self.stays_and_waits_cover_the_time(job)
            self.gpu_seconds_are_conserved(job)
            self.causes_add_up(job)
            for run in self.runs[job]:
                self.placement_is_what_was_asked(job, run[7])
        self.nothing_is_over_allocated()
        self.limits_hold()

    # ---- one job

    def time_never_goes_back(self) -> None:
        ends = [run[2] for run in self.log.runs if run[3] != Outcome.CENSORED]
        assert ends == sorted(ends)
        left = [wait[2] for wait in self.log.waits if not wait[8]]
        assert left == sorted(left)
        assert all(run[1] <= run[2] <= self.log.end_s for run in self.log.runs)
        assert all(wait[1] < wait[2] <= self.log.end_s for wait in self.log.waits)

    def stays_and_waits_cover_the_time(self, job: int) -> None:
        """From submission to the end a job either waits or runs, without a gap and never twice at once."""
        spans = [(run[1], run[2], "run", run[3]) for run in self.runs[job]]
        spans += [(wait[1], wait[2], "wait", wait[8]) for wait in self.waits[job]]
        if job in self.rejected:
            assert not spans
            return
        submit_s = self.jobs[job]["submit_s"]
        if self.scenario.horizon is not None and submit_s >= self.scenario.horizon:
            assert not spans
            return
        at_s = submit_s
        for start_s, end_s, _, _ in sorted(spans, key=lambda span: span[:2]):
            assert start_s == at_s, f"job {job}: gap or overlap at {at_s}"
            at_s = end_s
        outcomes = [run[3] for run in sorted(self.runs[job], key=lambda run: run[1:3])]
        assert all(outcome == Outcome.PREEMPTED for outcome in outcomes[:-1])
        finished = bool(outcomes) and outcomes[-1] in {Outcome.DONE, Outcome.TIMED_OUT}
        if not finished:
            assert self.scenario.horizon is not None, f"job {job} was lost"
            assert at_s == self.log.end_s
        if outcomes and outcomes[-1] == Outcome.CENSORED:
            assert not any(wait[8] for wait in self.waits[job])

    def gpu_seconds_are_conserved(self, job: int) -> None:
        """Every stay is work, loss and loading; the work of a job that is done is its duration."""
        kept_s = 0.0
        for run in self.runs[job]:
            _, start_s, end_s, outcome, work_s, lost_s, restart_s, _, checkpoint_s, stalled_s = run
            uses_s = (work_s, lost_s, restart_s, checkpoint_s, stalled_s)
            assert min(uses_s) >= -1e-9
            assert sum(uses_s) == pytest.approx(end_s - start_s, rel=1e-9, abs=1e-6)
            if outcome == Outcome.PREEMPTED:
                assert end_s > start_s
            kept_s += work_s
        if self.runs[job] and max(self.runs[job], key=lambda run: run[1:4])[3] == Outcome.DONE:
            assert kept_s == pytest.approx(self.jobs[job]["duration_s"], rel=1e-9, abs=1e-6)

    def causes_add_up(self, job: int) -> None:
        for wait in self.waits[job]:
            assert min(wait[3:8]) >= -1e-9
            assert sum(wait[3:8]) == pytest.approx(wait[2] - wait[1], rel=1e-9)

    def placement_is_what_was_asked(self, job: int, placement: tuple[tuple[int, int], ...]) -> None:
        asked = self.jobs[job]
        held = [self.nodes[node] for node, _ in placement]
        assert sum(gpus for _, gpus in placement) == asked["gpus"]
        assert len({node for node, _ in placement}) == len(placement)
        assert len({node.pool for node in held}) == 1
        assert all(0 < gpus <= node.gpus for node, (_, gpus) in zip(held, placement, strict=True))
        assert asked["gpu_kind"] in {None, held[0].kind}
        assert held[0].cluster == self.cluster_of(asked["tenant"])
        if not self.rule.anywhere:
            widths = sorted((gpus for _, gpus in placement), reverse=True)
            assert widths == self.widths(asked, held[0].gpus)

    def cluster_of(self, tenant: str) -> str | None:
        for told in self.scenario.tenants:
            if told.name == tenant and told.virtual_cluster is not None:
                return told.virtual_cluster
        named = {pool.virtual_cluster for pool in self.scenario.fleet.pools}
        return tenant if tenant in named else None

    @staticmethod
    def widths(asked: dict[str, Any], per_node: int) -> list[int]:
        """GPUs of the gang on each of its nodes, widest first."""
        gpus, count = asked["gpus"], asked["nodes"]
        if count is None:
            return [per_node] * (gpus // per_node) + ([gpus % per_node] if gpus % per_node else [])
        return sorted(((gpus + at) // count for at in range(count)), reverse=True)

    # ---- all jobs together

    def nothing_is_over_allocated(self) -> None:
        """GPUs, cores and memory of each node, swept in time; what ends at a moment is free then."""
        changes: dict[int, list[tuple[float, int, float, float, float]]] = defaultdict(list)
        for run in self.log.runs:
            if run[2] == run[1]:
                continue
            asked = self.jobs[run[0]]
            cpus, memory = (asked[name] or 0.0 for name in ("cpus", "memory_bytes"))
            for node, gpus in run[7]:
                part = gpus / asked["gpus"]
                changes[node].append((run[1], 1, gpus, cpus * part, memory * part))
                changes[node].append((run[2], 0, -gpus, -cpus * part, -memory * part))
        for node, events in changes.items():
            held = [0.0, 0.0, 0.0]
            has = self.nodes[node]
            for _, _, *change in sorted(events):
                held = [have + more for have, more in zip(held, change, strict=True)]
                assert -1e-6 <= held[0] <= has.gpus
                if not self.rule.anywhere:
                    assert held[1] <= has.cpus + 1e-6
                    assert held[2] <= has.memory + 1e-6
            assert held[0] == 0

    def limits_hold(self) -> None:
        for tenant in self.scenario.tenants:
            if tenant.quota is None or tenant.borrow == "unlimited":
                continue
            events = []
            for run in self.log.runs:
                if self.jobs[run[0]]["tenant"] == tenant.name and run[2] > run[1]:
                    gpus = self.jobs[run[0]]["gpus"]
                    events += [(run[1], 1, gpus), (run[2], 0, -gpus)]
            held = 0
            for _, _, change in sorted(events):
                held += change
                assert held <= tenant.quota + tenant.borrow, f"{tenant.name} holds {held}"

    # ---- moment by moment

    def moments(self) -> list[tuple[float, float]]:
        """Spans of time in which nothing changes."""
        times = {run[1] for run in self.log.runs} | {run[2] for run in self.log.runs}
        times |= {wait[1] for wait in self.log.waits} | {wait[2] for wait in self.log.waits}
        ordered = sorted(times)
        return list(itertools.pairwise(ordered))

    def causes_are_what_the_nodes_show(self) -> None:
        """The cause of each wait, decided anew from what was free; not where jobs hold out for locality."""
        counted: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for from_s, to_s in self.moments():
            free, held = self.free_at(from_s), self.held_at(from_s)
            for job in self.waiting_at(from_s):
                counted[job][self.cause(job, free, held)] += to_s - from_s
        for job, waits in self.waits.items():
            first_s = min((run[1] for run in self.runs[job]), default=math.inf)
            fresh = [wait for wait in waits if wait[1] < first_s]
            for place, name in enumerate((CAPACITY, FRAGMENTATION, QUOTA, ORDER), start=3):
                found = sum(wait[place] for wait in fresh)
                assert found == pytest.approx(counted[job][name], rel=1e-9, abs=1e-6), f"job {job}: {name}"
            assert all(wait[7] == 0 for wait in fresh)
            assert all(wait[7] == wait[2] - wait[1] for wait in waits if wait[1] >= first_s)

    def nobody_waits_who_fits(self) -> None:
        """Under greedy, whoever fits the free GPUs and the quota starts at once."""
        for from_s, _ in self.moments():
            free, held = self.free_at(from_s), self.held_at(from_s)
            for job in self.waiting_at(from_s, first_only=False):
                assert self.cause(job, free, held) != ORDER, f"job {job} waits at {from_s} though it fits"

    def nobody_waits_before_idle_gpus(self) -> None:
        """While a virtual cluster is all free, nobody waits there."""
        for from_s, _ in self.moments():
            busy = {self.nodes[node].cluster for run in self.running_at(from_s) for node, _ in run[7]}
            for job in self.waiting_at(from_s, first_only=False):
                assert self.cluster_of(self.jobs[job]["tenant"]) in busy, f"job {job} waits at {from_s}"

    def nobody_waits_who_may_displace(self, rank: Callable[[dict[str, Any], float], float]) -> None:
        """Under greedy with free preemption nobody waits who would fit, were all weaker running jobs gone.

        `rank` is of a job and the seconds of work it has left; the row decides ties. Jobs that started at the
        very moment stay where they are.
        """
        for from_s, _ in self.moments():
            free, held = self.free_at(from_s), self.held_at(from_s)
            running = [run for run in self.running_at(from_s) if run[1] < from_s]
            for job in self.waiting_at(from_s, first_only=False):
                own = (rank(self.jobs[job], self.left_s(job, from_s)), job)
                room = [list(node) for node in free]
                for run in running:
                    if (rank(self.jobs[run[0]], self.left_s(run[0], from_s)), run[0]) > own:
                        for node, gpus in run[7]:
                            room[node][0] += gpus
                found = self.cause(job, [(int(g), c, m) for g, c, m in room], held)
                assert found != ORDER, f"job {job} waits at {from_s} though weaker jobs run in its place"

    def left_s(self, job: int, time_s: float) -> float:
        """Work that a job has left at a moment, where preemption is free."""
        done_s = sum(min(run[2], time_s) - run[1] for run in self.runs[job] if run[1] < time_s)
        return float(self.jobs[job]["duration_s"]) - done_s

    def running_at(self, time_s: float) -> list[Any]:
        return [run for run in self.log.runs if run[1] <= time_s < run[2]]

    def waiting_at(self, time_s: float, *, first_only: bool = True) -> list[int]:
        """Jobs in the queue; those that never ran before only, unless told."""
        waiting = []
        for job, waits in self.waits.items():
            first_s = min((run[1] for run in self.runs[job]), default=math.inf)
            if any(w[1] <= time_s < w[2] and (w[1] < first_s or not first_only) for w in waits):
                waiting.append(job)
        return waiting

    def free_at(self, time_s: float) -> list[tuple[int, float, float]]:
        """GPUs, cores and memory free on each node."""
        free = [[node.gpus, node.cpus, node.memory] for node in self.nodes]
        for run in self.running_at(time_s):
            asked = self.jobs[run[0]]
            for node, gpus in run[7]:
                part = gpus / asked["gpus"]
                free[node][0] -= gpus
                free[node][1] -= part * (asked["cpus"] or 0.0)
                free[node][2] -= part * (asked["memory_bytes"] or 0.0)
        return [(gpus, cpus, memory) for gpus, cpus, memory in free]

    def held_at(self, time_s: float) -> dict[str, int]:
        held: dict[str, int] = defaultdict(int)
        for run in self.running_at(time_s):
            held[self.jobs[run[0]]["tenant"]] += self.jobs[run[0]]["gpus"]
        return held

    def cause(self, job: int, free: list[tuple[int, float, float]], held: dict[str, int]) -> str:
        """Why a job would wait with these nodes free, were it the first in line."""
        asked = self.jobs[job]
        if held[asked["tenant"]] + asked["gpus"] > self.limit_of(asked["tenant"]):
            return QUOTA
        enough = False
        for pool in range(len(self.scenario.fleet.pools)):
            members = [at for at, node in enumerate(self.nodes) if node.pool == pool]
            first = self.nodes[members[0]]
            if asked["gpu_kind"] not in {None, first.kind} or first.cluster != self.cluster_of(
                asked["tenant"]
            ):
                continue
            if not self.fits(asked, members, [(n.gpus, n.cpus, n.memory) for n in self.nodes]):
                continue
            if sum(free[node][0] for node in members) < asked["gpus"]:
                continue
            enough = True
            if self.fits(asked, members, free):
                return ORDER
        return FRAGMENTATION if enough else CAPACITY

    def limit_of(self, tenant: str) -> float:
        """Most GPUs that a tenant may hold."""
        for told in self.scenario.tenants:
            if told.name == tenant and told.quota is not None and told.borrow != "unlimited":
                return told.quota + told.borrow
        return math.inf

    def fits(self, asked: dict[str, Any], members: list[int], free: list[tuple[int, float, float]]) -> bool:
        """Whether the gang fits: the k-th widest part on the k-th roomiest node."""
        if self.rule.anywhere:
            return sum(free[node][0] for node in members) >= asked["gpus"]
        if asked["nodes"] is not None and asked["nodes"] > asked["gpus"]:
            return False
        cpus, memory = ((asked[name] or 0.0) / asked["gpus"] for name in ("cpus", "memory_bytes"))
        rooms = sorted(
            (
                max(
                    width
                    for width in range(free[node][0] + 1)
                    if width * cpus <= free[node][1] + 1e-9 and width * memory <= free[node][2] + 1e-9
                )
                for node in members
            ),
            reverse=True,
        )
        widths = self.widths(asked, self.nodes[members[0]].gpus)
        return len(widths) <= len(rooms) and all(w <= r for w, r in zip(widths, rooms, strict=False))
