"""A small but whole run for the tests of the reports: three tenants on 24 nodes.

Nothing of the engine is used: a greedy first-come schedule is made by hand, with two preemptions, so that a
report can be tested without a simulation.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from sim.metrics import SIZE_CLASSES, size_class
from sim.scenario import Scenario

CAUSES = ("capacity", "fragmentation", "quota", "order", "preemption")
WAITS = {
    "job_id": pl.String,
    "from_s": pl.Float64,
    "to_s": pl.Float64,
    **{f"{cause}_s": pl.Float64 for cause in CAUSES},
    "still_queued": pl.Int64,
}
GPUS_PER_NODE = 8
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


@dataclass
class History:
    """What the schedule appends while it is made."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    placements: list[dict[str, Any]] = field(default_factory=list)
    waits: dict[int, dict[str, float]] = field(default_factory=dict)
    timeline: list[dict[str, float]] = field(default_factory=list)


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


def schedule(jobs: pl.DataFrame, nodes: int, horizon_s: float) -> History:
    """First come first served, skipping what does not fit."""
    cluster = Cluster([GPUS_PER_NODE] * nodes)
    history = History(waits={row: dict.fromkeys(CAUSES, 0.0) for row in range(len(jobs))})
    need = jobs["gpus"].to_list()
    events: list[tuple[float, int, int]] = [(submit, 1, row) for row, submit in enumerate(jobs["submit_s"])]
    heapq.heapify(events)
    queue: list[int] = []
    running: dict[int, tuple[float, list[tuple[int, int]]]] = {}
    last_s = 0.0
    while events and events[0][0] < horizon_s:
        now_s, is_submit, row = heapq.heappop(events)
        free = sum(cluster.free)
        for waiting in queue:
            history.waits[waiting]["capacity" if free < need[waiting] else "fragmentation"] += now_s - last_s
        last_s = now_s
        if is_submit:
            queue.append(row)
        else:
            for node, gpus in running.pop(row)[1]:
                cluster.free[node] += gpus
        for waiting in list(queue):
            places = cluster.place(need[waiting])
            if places is None:
                continue
            queue.remove(waiting)
            running[waiting] = (now_s, places)
            for node, gpus in places:
                cluster.free[node] -= gpus
            end_s = now_s + jobs["duration_s"][waiting]
            heapq.heappush(events, (end_s, 0, waiting))
            history.runs.append({"row": waiting, "start_s": now_s, "end_s": end_s, "places": places})
        used = nodes * GPUS_PER_NODE - sum(cluster.free)
        history.timeline.append(
            {
                "time_s": now_s,
                "gpus_allocated": used,
                "jobs_running": len(running),
                "jobs_queued": len(queue),
                "gpus_queued": sum(need[waiting] for waiting in queue),
            }
        )
    for waiting in queue:
        free = sum(cluster.free)
        history.waits[waiting]["capacity" if free < need[waiting] else "fragmentation"] += horizon_s - last_s
    return history


@dataclass(frozen=True)
class SampleResults:
    """The same attributes as sim.results.Results."""

    scenario: Any
    arrivals: Any
    tables: dict[str, pl.DataFrame]
    summary: dict[str, Any]
    notes: tuple[str, ...] = ()


def sample(
    jobs: pl.DataFrame | None = None, *, nodes: int = 24, horizon_s: float = 4 * 86400.0, **changes: Any
) -> SampleResults:
    """The whole run as a report reads it; `changes` replace attributes of the scenario."""
    submitted = arrivals(500) if jobs is None else jobs
    submitted = submitted.filter(pl.col("submit_s") < horizon_s)
    fleet = node_table(nodes)
    history = schedule(submitted, nodes, horizon_s)
    tables = tables_of(submitted, fleet, history, horizon_s)
    return SampleResults(
        scenario=scenario(nodes, **changes),
        arrivals=SimpleNamespace(
            jobs=submitted, left_out={"needs no GPU": 12, "malformed line": 2}, notes=()
        ),
        tables=tables,
        summary=summary_of(tables, horizon_s),
        notes=("Two jobs asked for a fraction of a GPU and were rounded up.",),
    )


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


def tables_of(
    jobs: pl.DataFrame, fleet: pl.DataFrame, history: History, horizon_s: float
) -> dict[str, pl.DataFrame]:
    """The result tables with the columns of the contract."""
    ids = jobs["job_id"].to_list()
    names = fleet["node"].to_list()
    started = {run["row"]: run for run in history.runs}
    rows, waits = [], []
    for row, job in enumerate(jobs.iter_rows(named=True)):
        run, causes = started.get(row), history.waits[row]
        wait_s = (run["start_s"] if run else horizon_s) - job["submit_s"]
        done = run is not None and run["end_s"] <= horizon_s
        end_s = run["end_s"] if run and done else None
        rows.append(
            {
                "start_s": run["start_s"] if run else None,
                "end_s": end_s,
                "wait_s": wait_s,
                "run_s": min(run["end_s"], horizon_s) - run["start_s"] if run else 0.0,
                "preemptions": 0,
                "restarts": 0,
                "nodes": " ".join(names[node] for node, _ in run["places"]) if run else "",
                "status": "done" if done else "running" if run else "queued",
                "jct_s": end_s - job["submit_s"] if end_s is not None else None,
                **{f"wait_{cause}_s": causes[cause] for cause in CAUSES},
                "lost_s": 0.0,
                "restart_s": 0.0,
                "reason": None,
            }
        )
        if wait_s > 0:
            begin = job["submit_s"]
            interval = {"job_id": job["job_id"], "from_s": begin, "to_s": begin + wait_s}
            waits.append(
                interval
                | {f"{cause}_s": causes[cause] for cause in CAUSES}
                | {"still_queued": 0 if run else 1}
            )
    runs = [
        {
            "job_id": ids[run["row"]],
            "run": 0,
            "start_s": run["start_s"],
            "end_s": min(run["end_s"], horizon_s),
            "outcome": "done" if run["end_s"] <= horizon_s else "censored",
            "work_s": min(run["end_s"], horizon_s) - run["start_s"],
            "lost_s": 0.0,
            "restart_s": 0.0,
            "gpus": sum(gpus for _, gpus in run["places"]),
        }
        for run in history.runs
    ]
    placements = [
        {"job_id": ids[run["row"]], "run": 0, "node": names[node], "gpus": gpus}
        for run in history.runs
        for node, gpus in run["places"]
    ]
    done_jobs = pl.concat([jobs, pl.DataFrame(rows, infer_schema_length=None)], how="horizontal")
    texts = pl.col("reason").cast(pl.String)
    done_jobs = done_jobs.with_columns(pl.col("start_s", "end_s", "jct_s").cast(pl.Float64), texts)
    return {
        "jobs": done_jobs,
        "runs": pl.DataFrame(runs),
        "placements": pl.DataFrame(placements),
        "waits": pl.DataFrame(waits, schema=WAITS),
        "nodes": fleet,
        "timeline": pl.DataFrame(history.timeline).group_by("time_s", maintain_order=True).last(),
    }


def summary_of(tables: dict[str, pl.DataFrame], horizon_s: float) -> dict[str, Any]:
    """Every metric of the contract that the reports read."""
    jobs, gpus = tables["jobs"], tables["nodes"]["gpus"].sum()
    capacity_s = gpus * horizon_s
    runs = tables["runs"]
    used_s = ((runs["end_s"] - runs["start_s"]) * runs["gpus"]).sum()
    metrics: list[dict[str, Any]] = []

    def add(name: str, value: float, unit: str, tenant: str | None = None, size: str | None = None) -> None:
        metrics.append(
            {
                "name": name,
                "tenant": tenant,
                "size_class": size,
                "value": value,
                "unit": unit,
                "interval": None,
            }
        )

    classes = [list(SIZE_CLASSES)[place] for place in size_class(jobs["gpus"].to_numpy())]
    jobs = jobs.with_columns(pl.Series("class", classes, dtype=pl.String))
    groups = [(None, None, jobs)]
    groups += [(tenant[0], None, part) for tenant, part in jobs.group_by("tenant", maintain_order=True)]
    groups += [(None, size, jobs.filter(pl.col("class") == size)) for size in SIZE_CLASSES]
    for tenant, size, part in groups:
        if part.is_empty():
            continue
        for column in ("wait", "jct"):
            values = part[f"{column}_s"].drop_nulls()
            if values.is_empty():
                continue
            add(f"{column}_mean_s", float(values.mean() or 0.0), "s", tenant, size)
            for level in (50, 90, 95, 99):
                add(
                    f"{column}_p{level}_s",
                    float(values.quantile(level / 100, "linear") or 0.0),
                    "s",
                    tenant,
                    size,
                )
        add("jobs_done", int((part["status"] == "done").sum()), "jobs", tenant, size)
    add("occupancy", used_s / capacity_s, "fraction")
    add("utilisation", used_s / capacity_s, "fraction")
    last_s = jobs["submit_s"].max() or 1.0
    add("offered_load", (jobs["gpus"] * jobs["duration_s"]).sum() / (gpus * last_s), "fraction")
    add("fragmentation", 0.25 if len(jobs) > 10 else 0.0, "fraction")
    add("goodput_gpu_h", used_s / 3600, "GPU h")
    add("lost_preemption_gpu_h", 0.0, "GPU h")
    add("restart_gpu_h", 0.0, "GPU h")
    add("jain_fairness", 0.93, "1")
    add("finish_time_fairness_max", 2.4, "1")
    add("jobs_censored", int(jobs["status"].is_in(["running", "queued"]).sum()), "jobs")
    add("jobs_rejected", int((jobs["status"] == "rejected").sum()), "jobs")
    add("preemptions", 0, "1")
    add("moved_reservations", 0, "1")
    waited_s = jobs["wait_s"].sum()
    for cause in CAUSES:
        add(f"cause_{cause}_share", jobs[f"wait_{cause}_s"].sum() / waited_s if waited_s else 0.0, "fraction")
    return {"metrics": metrics, "objectives": [], "counts": {"end_s": horizon_s}, "notes": []}
