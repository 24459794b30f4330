"""Small runs worked out by hand, for the tests of metrics, results and run folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from sim import arrivals
from sim.log import Log, Outcome
from sim.results import Results, from_log
from sim.scenario import Scenario
from sim.tables import NODES
from sim.workloads import WorkloadJobs

DONE, PREEMPTED, TIMED_OUT, CENSORED, FAILED = (int(outcome) for outcome in Outcome)


def scenario(**changes: Any) -> Scenario:
    """Two nodes of four GPUs under greedy first come, first served."""
    written: dict[str, Any] = {
        "name": "hand made",
        "fleet": {"pools": [{"name": "pool", "gpus_per_node": 4, "nodes": 2}]},
        "scheduler": {
            "order": {"kind": "fifo"},
            "blocking": {"kind": "greedy"},
            "placement": {"kind": "consolidate"},
        },
        "workloads": [{"kind": "trace", "path": "jobs.csv"}],
    }
    return Scenario.model_validate(written | changes)


def nodes(
    count: int = 2, gpus: int = 4, virtual_clusters: Sequence[str | None] | None = None
) -> pl.DataFrame:
    """Nodes n0, n1, ... of one rack."""
    return pl.DataFrame(
        {
            "node": [f"n{number}" for number in range(count)],
            "pool": ["pool"] * count,
            "gpu": [None] * count,
            "gpus": [gpus] * count,
            "rack": ["rack-0"] * count,
            "virtual_cluster": virtual_clusters or [None] * count,
        },
        schema=dict(NODES),
    )


def run(
    job: int, start_s: float, end_s: float, placement: tuple[tuple[int, int], ...], **facts: Any
) -> tuple[Any, ...]:
    """One stay on the GPUs; all of it is kept work unless said otherwise."""
    lost_s, restart_s = facts.get("lost_s", 0.0), facts.get("restart_s", 0.0)
    work_s = end_s - start_s - lost_s - restart_s
    return (job, start_s, end_s, facts.get("outcome", DONE), work_s, lost_s, restart_s, placement, 0.0, 0.0)


def wait(job: int, from_s: float, to_s: float, *causes_s: float, still_queued: int = 0) -> tuple[Any, ...]:
    """One stay in the queue; for want of capacity unless the five causes are given."""
    causes = causes_s or (to_s - from_s, 0.0, 0.0, 0.0, 0.0)
    return (job, from_s, to_s, *causes, still_queued)


def results(
    log: Log, fleet: pl.DataFrame | None = None, wanted: Scenario | None = None, **jobs: Any
) -> Results:
    """The results of a log on two nodes of four GPUs."""
    submitted = WorkloadJobs(arrivals.table(**jobs), {"needs no GPU": 1}, ("From a hand.",))
    return from_log(wanted or scenario(), submitted, log, nodes() if fleet is None else fleet)


PLAIN_JOBS: dict[str, Any] = {
    "submit_s": [0.0, 10.0, 20.0],
    "duration_s": [100.0, 50.0, 30.0],
    "gpus": [8, 4, 2],
    "tenant": ["ann", "bob", "ann"],
}


def plain_log() -> Log:
    """The first job fills the fleet for 100 s; the other two wait for it and then run side by side."""
    return Log(
        runs=[
            run(0, 0.0, 100.0, ((0, 4), (1, 4))),
            run(2, 100.0, 130.0, ((1, 2),)),
            run(1, 100.0, 150.0, ((0, 4),)),
        ],
        waits=[wait(1, 10.0, 100.0), wait(2, 20.0, 100.0, 30.0, 50.0, 0.0, 0.0, 0.0)],
        end_s=150.0,
    )


def plain(**changes: Any) -> Results:
    """The plain run; `changes` replace parts of its scenario."""
    return results(plain_log(), wanted=scenario(**changes), **PLAIN_JOBS)


EVENTFUL_JOBS: dict[str, Any] = {
    "job_id": ["long", "urgent", "wide", "late", "huge", "instant"],
    "submit_s": [0.0, 40.0, 50.0, 60.0, 70.0, 80.0],
    "duration_s": [100.0, 20.0, 500.0, 10.0, 5.0, 0.0],
    "gpus": [4, 4, 8, 2, 64, 1],
    "tenant": ["ann", "bob", "bob", "ann", "cid", "ann"],
}


def eventful_log() -> Log:
    """One node of four GPUs idles; on the other, `long` is preempted at 40 s with 10 s of work lost.

    `urgent` runs 40-60, `long` again 60-135 (5 s of loading, then the 70 s left), `wide` has both nodes from
    135 and still runs at the end, 200 s. `late` waits from 60 to the end, `huge` can never run, `instant`
    takes no time.
    """
    return Log(
        runs=[
            run(0, 0.0, 40.0, ((0, 4),), outcome=PREEMPTED, lost_s=10.0),
            run(1, 40.0, 60.0, ((0, 4),)),
            run(5, 80.0, 80.0, ((1, 1),)),
            run(0, 60.0, 135.0, ((0, 4),), restart_s=5.0),
            run(2, 135.0, 200.0, ((0, 4), (1, 4)), outcome=CENSORED),
        ],
        waits=[
            wait(0, 40.0, 60.0, 0.0, 0.0, 0.0, 0.0, 20.0),
            wait(2, 50.0, 135.0),
            wait(3, 60.0, 200.0, 65.0, 0.0, 0.0, 75.0, 0.0, still_queued=1),
        ],
        rejections=[(4, "64 GPUs, the fleet has 8")],
        moved_reservations=[(90.0, 2, 130.0, 135.0, 0)],
        end_s=200.0,
    )


def eventful(**changes: Any) -> Results:
    """The eventful run; `changes` replace parts of its scenario."""
    return results(eventful_log(), wanted=scenario(**changes), **EVENTFUL_JOBS)
