"""A small but whole run for the tests of the reports: three tenants on 24 nodes.

Nothing of the engine is used: a greedy first-come schedule is made by hand, with two preemptions, so that a
report can be tested without a simulation.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from sim.log import Log, Outcome
from sim.results import Results, from_log
from sim.scenario import Scenario
from sim.workloads import WorkloadJobs

GPUS_PER_NODE = 8
HOUR = 3600.0
TENANTS = ("nlp-pretraining", "vision", "speech")


@dataclass
class Cluster:
    """Free GPUs of each node."""

    free: list[int]

    def place(self, gpus: int) -> list[tuple[int, int]] | None:
        """Best fit on one node; whole nodes for a wide job."""
        if gpus <= GPUS_PER_NODE:
            fits = [(free, node) for node, free in enumerate(self.free) if free >= gpus]
            return [(min(fits)[1], gpus)] if fits else None
        wanted = -(-gpus // GPUS_PER_NODE)
        idle = [node for node, free in enumerate(self.free) if free == GPUS_PER_NODE][:wanted]
        if len(idle) < wanted:
            return None
        last = gpus - GPUS_PER_NODE * (wanted - 1)
        return [(node, GPUS_PER_NODE if order < wanted - 1 else last) for order, node in enumerate(idle)]


def arrivals(
    jobs: int, tenants: tuple[str, ...] = TENANTS, seed: int = 7, every_s: float = 400.0
) -> pl.DataFrame:
    """Jobs in day waves: mostly small, a few of 16 to 64 GPUs."""
    random = np.random.default_rng(seed)
    waves = 1.0 + 0.8 * np.sin(np.arange(jobs) / jobs * 2 * np.pi * 4)
    submit = np.cumsum(random.exponential(every_s, jobs) / waves).round(3)
    gpus = random.choice([1, 2, 4, 8, 16, 32, 64], jobs, p=[0.42, 0.12, 0.13, 0.18, 0.09, 0.04, 0.02])
    duration = np.minimum(random.lognormal(8.6, 1.5, jobs), 200_000.0).round(3)
    who = random.choice(list(tenants), jobs, p=np.array([0.25, 0.45, 0.3]) if len(tenants) == 3 else None)
    return pl.DataFrame(
        {
            "job_id": [f"job-{place}" for place in range(jobs)],
            "submit_s": submit,
            "duration_s": duration,
            "gpus": gpus.astype(np.int64),
            "tenant": who,
            "kind": ["training"] * jobs,
            "gpu_kind": pl.Series([None] * jobs, dtype=pl.String),
        }
    )


def node_table(nodes: int) -> pl.DataFrame:
    """Nodes of eight H100, four to a rack."""
    return pl.DataFrame(
        {
            "node": [f"pool-a-{place:04d}" for place in range(nodes)],
            "pool": ["pool-a"] * nodes,
            "gpu": ["h100-sxm5-80gb"] * nodes,
            "gpus": [GPUS_PER_NODE] * nodes,
            "rack": [f"rack-{place // 4:03d}" for place in range(nodes)],
            "virtual_cluster": pl.Series([None] * nodes, dtype=pl.String),
        }
    )


class Schedule:
    """First come first served, skipping what does not fit; keeps the log as it goes."""

    def __init__(self, jobs: pl.DataFrame, nodes: int, horizon_s: float) -> None:
        self.need, self.submit_s, self.duration_s = (
            jobs[name].to_list() for name in ("gpus", "submit_s", "duration_s")
        )
        self.cluster, self.log = Cluster([GPUS_PER_NODE] * nodes), Log(end_s=horizon_s)
        self.events = [(time_s, 1, row) for row, time_s in enumerate(self.submit_s)]
        heapq.heapify(self.events)
        self.waited_s = [[0.0, 0.0] for _ in self.need]
        self.queue: list[int] = []
        self.held: dict[int, list[tuple[int, int]]] = {}
        self.now_s = 0.0

    def run(self) -> Log:
        while self.events and self.events[0][0] < self.log.end_s:
            time_s, is_submit, row = heapq.heappop(self.events)
            self.wait_until(time_s)
            if is_submit:
                self.queue.append(row)
            else:
                self.free(row)
            for waiting in list(self.queue):
                self.try_to_start(waiting)
        self.wait_until(self.log.end_s)
        for row in self.queue:
            self.leave_queue(row, still_queued=True)
        return self.log

    def wait_until(self, time_s: float) -> None:
        free = sum(self.cluster.free)
        for row in self.queue:
            self.waited_s[row][free >= self.need[row]] += time_s - self.now_s
        self.now_s = time_s

    def free(self, row: int) -> None:
        for node, gpus in self.held.pop(row):
            self.cluster.free[node] += gpus

    def try_to_start(self, row: int) -> None:
        places = self.cluster.place(self.need[row])
        if places is None:
            return
        self.queue.remove(row)
        self.leave_queue(row, still_queued=False)
        self.held[row] = places
        for node, gpus in places:
            self.cluster.free[node] -= gpus
        end_s = self.now_s + self.duration_s[row]
        heapq.heappush(self.events, (end_s, 0, row))
        outcome = Outcome.DONE if end_s <= self.log.end_s else Outcome.CENSORED
        end_s = min(end_s, self.log.end_s)
        self.log.runs.append(
            (row, self.now_s, end_s, outcome, end_s - self.now_s, 0.0, 0.0, tuple(places), 0.0, 0.0)
        )

    def leave_queue(self, row: int, *, still_queued: bool) -> None:
        if self.now_s > self.submit_s[row]:
            causes = (*self.waited_s[row], 0.0, 0.0, 0.0)
            self.log.waits.append((row, self.submit_s[row], self.now_s, *causes, still_queued))


def sample(
    jobs: pl.DataFrame | None = None, *, nodes: int = 24, horizon_s: float = 4 * 86400.0, **changes: Any
) -> Results:
    """The whole run as a report reads it; `changes` replace fields of the scenario."""
    submitted = arrivals(500) if jobs is None else jobs
    workload = WorkloadJobs(
        submitted,
        left_out={"needs no GPU": 12, "malformed line": 2},
        notes=("Two jobs asked for a fraction of a GPU and were rounded up.",),
    )
    log = Schedule(submitted, nodes, horizon_s).run()
    return from_log(scenario(nodes, **changes), workload, log, node_table(nodes))


def scenario(nodes: int, **changes: Any) -> Scenario:
    """Three teams on DGX nodes; the fleet above is what its pool says."""
    values = {
        "name": "shared-fleet",
        "description": "Three teams on one fleet",
        "seed": 1,
        "fleet": {"pools": [{"name": "pool-a", "node": "dgx-h100", "nodes": nodes}]},
        "tenants": [{"name": name} for name in TENANTS],
        "scheduler": {"order": {"kind": "fifo"}},
        "workloads": [{"kind": "trace", "path": "jobs.csv"}],
    }
    return Scenario.model_validate(values | changes)


def jobs_of(*rows: tuple[float, float, int], tenants: tuple[str, ...] = ("vision",)) -> pl.DataFrame:
    """A few jobs: (submit, duration, GPUs)."""
    submit, duration, gpus = (list(column) for column in zip(*rows, strict=True))
    made = arrivals(len(rows), tenants=tenants)
    return made.with_columns(
        pl.Series("submit_s", submit, dtype=pl.Float64),
        pl.Series("duration_s", duration, dtype=pl.Float64),
        pl.Series("gpus", gpus, dtype=pl.Int64),
    )


def with_metric(results: Results, name: str, **changes: Any) -> Results:
    """The same run with a metric of the whole fleet changed."""
    metrics = [
        row | changes if row["name"] == name and row["tenant"] is None and row["size_class"] is None else row
        for row in results.summary["metrics"]
    ]
    return replace(results, summary=results.summary | {"metrics": metrics})


def bare(results: Results) -> Results:
    """The same run of a workload of which nothing was left out."""
    return replace(results, arrivals=replace(results.arrivals, left_out={}))


def two_jobs_on_one_node() -> Results:
    """Eight GPUs: the second job waits an hour for the first."""
    return bare(sample(jobs_of((0.0, HOUR, 8), (0.0, HOUR, 8)), nodes=1, horizon_s=4 * HOUR))


def rejecting(results: Results, reason: str = "wider than any partition") -> Results:
    """The same jobs, all rejected."""
    jobs = results.tables["jobs"].with_columns(
        pl.lit("rejected").alias("status"), pl.lit(reason).alias("reason"), pl.lit(0.0).alias("wait_s")
    )
    empty = {name: results.tables[name].clear() for name in ("runs", "placements", "waits", "timeline")}
    return replace(results, tables=results.tables | empty | {"jobs": jobs})


def two_jobs_and_a_preemption() -> Results:
    """Eight GPUs, three hours: job-0 is preempted after an hour for job-1, loses 600 s and loads for 60 s.

    job-1 then runs for half an hour into its time limit, and job-0 is still running at the end.
    """
    jobs = jobs_of((0.0, 10 * HOUR, 8), (HOUR, HOUR, 8))
    whole = ((0, 8),)
    log = Log(
        runs=[
            (0, 0.0, HOUR, Outcome.PREEMPTED, HOUR - 600.0, 600.0, 0.0, whole, 0.0, 0.0),
            (1, HOUR, 1.5 * HOUR, Outcome.TIMED_OUT, 0.5 * HOUR, 0.0, 0.0, whole, 0.0, 0.0),
            (0, 1.5 * HOUR, 3 * HOUR, Outcome.CENSORED, 1.5 * HOUR - 60.0, 0.0, 60.0, whole, 0.0, 0.0),
        ],
        waits=[(0, HOUR, 1.5 * HOUR, 0.0, 0.0, 0.0, 0.0, 0.5 * HOUR, 0)],
        moved_reservations=[(HOUR, 1, HOUR, 1.5 * HOUR, 0)],
        end_s=3 * HOUR,
    )
    return from_log(scenario(1), WorkloadJobs(jobs, {}), log, node_table(1))
