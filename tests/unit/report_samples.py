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


def schedule(jobs: pl.DataFrame, nodes: int, horizon_s: float) -> Log:
    """First come first served, skipping what does not fit."""
    cluster, log = Cluster([GPUS_PER_NODE] * nodes), Log(end_s=horizon_s)
    need, submit, duration = (jobs[name].to_list() for name in ("gpus", "submit_s", "duration_s"))
    events = [(time_s, 1, row) for row, time_s in enumerate(submit)]
    heapq.heapify(events)
    waited = {row: {"capacity": 0.0, "fragmentation": 0.0} for row in range(len(jobs))}
    queue: list[int] = []
    held: dict[int, tuple[tuple[int, int], ...]] = {}
    last_s = 0.0

    def wait_until(now_s: float) -> None:
        for row in queue:
            cause = "capacity" if sum(cluster.free) < need[row] else "fragmentation"
            waited[row][cause] += now_s - last_s

    def stop_waiting(row: int, now_s: float, *, still_queued: bool) -> None:
        if now_s > submit[row]:
            causes = waited[row]
            log.waits.append(
                (
                    row,
                    submit[row],
                    now_s,
                    causes["capacity"],
                    causes["fragmentation"],
                    0.0,
                    0.0,
                    0.0,
                    still_queued,
                )
            )

    while events and events[0][0] < horizon_s:
        now_s, is_submit, row = heapq.heappop(events)
        wait_until(now_s)
        last_s = now_s
        if is_submit:
            queue.append(row)
        else:
            for node, gpus in held.pop(row):
                cluster.free[node] += gpus
        for waiting in list(queue):
            places = cluster.place(need[waiting])
            if places is None:
                continue
            queue.remove(waiting)
            stop_waiting(waiting, now_s, still_queued=False)
            held[waiting] = tuple(places)
            for node, gpus in places:
                cluster.free[node] -= gpus
            end_s = now_s + duration[waiting]
            heapq.heappush(events, (end_s, 0, waiting))
            outcome = Outcome.DONE if end_s <= horizon_s else Outcome.CENSORED
            end_s = min(end_s, horizon_s)
            log.runs.append((waiting, now_s, end_s, outcome, end_s - now_s, 0.0, 0.0, tuple(places)))
    wait_until(horizon_s)
    for row in queue:
        stop_waiting(row, horizon_s, still_queued=True)
    return log


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
    log = schedule(submitted, nodes, horizon_s)
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
