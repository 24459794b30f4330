"""Small runs without a file: jobs and a fleet go in, the log comes out, by way of a real scenario."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from sim import arrivals, staging
from sim.blocking.conservative import ConservativeQueue
from sim.blocking.easy import EasyQueue
from sim.log import Log, Outcome
from sim.scenario import Scenario
from sim.scheduler import Desk


def jobs(*rows: tuple[float, float, int], **columns: Any) -> pl.DataFrame:
    """Jobs told as (submit, duration, GPUs), in order of submission, with any other column."""
    submit_s, duration_s, gpus = zip(*rows, strict=True) if rows else ((), (), ())
    return arrivals.table(submit_s=submit_s, duration_s=duration_s, gpus=gpus, **columns)


def nodes(count: int, gpus: int, **facts: Any) -> dict[str, Any]:
    """A pool of equal nodes, all in one rack unless told."""
    return {"name": "pool", "nodes": count, "gpus_per_node": gpus, "nodes_per_rack": count} | facts


def scenario(
    pools: Sequence[Mapping[str, Any]],
    tenants: Sequence[Mapping[str, Any]] = (),
    horizon: float | None = None,
    failures: Mapping[str, Any] | None = None,
    checkpoints: Sequence[Mapping[str, Any]] = (),
    network: Mapping[str, Any] | None = None,
    stores: Sequence[Mapping[str, Any]] = (),
    traffic: Sequence[Mapping[str, Any]] = (),
    **scheduler: Any,
) -> Scenario:
    """A scenario with these pools and this scheduler. Its workload is not read: jobs are handed to it."""
    return Scenario.model_validate(
        {
            "name": "small",
            "horizon": horizon,
            "fleet": {"pools": [{**pool} for pool in pools]},
            "tenants": [{**tenant} for tenant in tenants],
            "scheduler": scheduler,
            "failures": failures,
            "checkpoints": checkpoints,
            "network": network,
            "stores": stores,
            "traffic": traffic,
            "workloads": [{"kind": "trace", "path": "jobs.csv"}],
        }
    )


def play(table: pl.DataFrame, *pools: Mapping[str, Any], seed: int = 0, **told: Any) -> Log:
    """The log of these jobs on these pools; see `scenario` for what else may be told."""
    return staging.simulate(scenario(pools, **told), table, seed=seed)


def spans(log: Log) -> dict[int, tuple[float, float, int]]:
    """First start, last end and number of preemptions of each job that ran."""
    runs = defaultdict(list)
    for run in log.runs:
        runs[run[0]].append(run)
    return {
        job: (
            min(run[1] for run in stays),
            max(run[2] for run in stays),
            sum(run[3] == Outcome.PREEMPTED for run in stays),
        )
        for job, stays in sorted(runs.items())
    }


def told(log: Log) -> list[tuple[float, float]]:
    """First start and last end of each job, in order; for runs in which nobody is preempted."""
    assert all(run[3] == Outcome.DONE for run in log.runs)
    return [(start, end) for start, end, _ in spans(log).values()]


def stays(log: Log, job: int) -> list[tuple[float, float]]:
    """Start and end of each stay of a job on its GPUs."""
    return [(run[1], run[2]) for run in sorted(log.runs, key=lambda run: run[1:3]) if run[0] == job]


def causes(log: Log, job: int) -> dict[str, float]:
    """Seconds that a job waited, by cause; causes of which it had none are left out."""
    names = ("capacity", "fragmentation", "quota", "order", "preemption")
    rows = [wait[3:8] for wait in log.waits if wait[0] == job]
    sums = {name: sum(row[place] for row in rows) for place, name in enumerate(names)}
    return {name: seconds for name, seconds in sums.items() if seconds}


def watch_promises(told: Scenario, table: pl.DataFrame) -> tuple[Log, dict[int, float]]:
    """The log, and the first start that the queue promised to each job that it made wait."""
    log, promised_s = Log(), dict[int, float]()
    simulation = staging.prepare(told, table, log)
    for desk in {id(venue.desk): venue.desk for venue in simulation.venues}.values():
        desk.settle = partial(_settle_and_note, desk, desk.settle, promised_s)  # type: ignore[method-assign]
    simulation.run(told.horizon)
    return log, promised_s


def _settle_and_note(
    desk: Desk, settle: Callable[[float], bool], promised_s: dict[int, float], now_s: float
) -> bool:
    acted = settle(now_s)
    if isinstance(desk.queue, EasyQueue) and desk.queue.promise is not None:
        promised_s.setdefault(desk.queue.promise.job.index, desk.queue.promise.start_s)
    if isinstance(desk.queue, ConservativeQueue):
        for row, plan in desk.queue.plans.items():
            promised_s.setdefault(row, plan.start_s)
    return acted
