"""What a run was worth in numbers: waits, completion, occupancy, waste, fairness.

Every number is a pure function of columns, exact between events and never sampled. Time averages and GPU
hours are taken over a window that begins when the warm-up ends; numbers about jobs are about those submitted
in it.

* wait: all the time in the queue; a job that still is counts with its wait so far. None for a rejected one.
* jct: completion time, from submission to the end, of jobs that did all their work.
* slowdown: jct over the run time that the job has on GPUs of its own; jobs of no duration have none.
* bounded slowdown: the same, at least 1 and with at least 10 s below the line, so that a one-second job that
  waits a minute does not rule the mean. Feitelson and others, Theory and practice in parallel job scheduling,
  JSSPP 1997; 10 s as Mu'alem and Feitelson, IEEE Trans. Parallel and Distributed Systems 12(6), 2001.
* occupancy: GPU time allocated over the GPU time there was. Utilisation: the part that went into kept work.
* fragmentation: of the GPU time that nobody held, the share on nodes of which another part was held.
* offered load: GPU time that accepted jobs need, over that of the fleet from first to last submission.
* finish-time fairness: jct over the time the job would take alone on 1/N of the fleet, which is duration x
  max(1, gpus x N / GPUs of the fleet) when work scales with GPUs. N is the mean number of jobs in the system,
  running or queued, during the job's life. Above 1 the job would have fared better with its equal share.
  Mahajan and others, Themis: fair and efficient GPU cluster scheduling, NSDI 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.log import CAUSES
from sim.statistics import Floats, jain_index, percentile, running_integral

Integers: TypeAlias = NDArray[np.int64]
Numbers: TypeAlias = dict[str, float | None]
"""Metrics by name; None where a metric has no value, such as the mean wait of no job."""

PERCENTS = (50, 90, 95, 99)
SHORTEST_S = 10.0
"""Run time below which the bounded slowdown takes a job for this long."""
INSTANT_S = 1e-9
"""Run time below which a job takes no time: it has no slowdown and no finish-time fairness."""
GPU_H = 3600.0

DONE, TIMED_OUT, RUNNING, QUEUED, REJECTED = range(5)
STATUSES = ("done", "timed_out", "running", "queued", "rejected")
"""How a job stood when the run ended: its position is its code."""

SIZE_CLASSES = MappingProxyType(
    {
        "1 GPU": 1,
        "2-4 GPUs": 2,
        "5-8 GPUs": 5,
        "9-16 GPUs": 9,
        "17-64 GPUs": 17,
        "65-512 GPUs": 65,
        "513+ GPUs": 513,
    }
)
"""Classes of job sizes with the least GPUs of each: parts of a usual node, a node, two, racks, a hall."""

UNITS: Mapping[str, str] = MappingProxyType(
    {f"{what}_{level}_s": "s" for what in ("wait", "jct") for level in ("mean", *(f"p{p}" for p in PERCENTS))}
    | dict.fromkeys(("slowdown_mean", "bounded_slowdown_mean"), "1")
    | dict.fromkeys(
        ("finish_time_fairness_mean", "finish_time_fairness_max", "jain_fairness", "jain_gpu_time"), "1"
    )
    | dict.fromkeys(("jobs", "jobs_done", "jobs_timed_out", "jobs_censored", "jobs_rejected"), "jobs")
    | dict.fromkeys(("occupancy", "utilisation", "fragmentation", "offered_load"), "fraction")
    | {f"cause_{cause}_share": "fraction" for cause in CAUSES}
    | dict.fromkeys(("queue_length_mean", "jobs_running_mean"), "jobs")
    | {"gpus_queued_mean": "GPUs"}
    | dict.fromkeys(
        ("goodput_gpu_h", "lost_preemption_gpu_h", "lost_time_limit_gpu_h", "restart_gpu_h"), "GPU h"
    )
    | {"gpu_h": "GPU h", "makespan_s": "s", "preemptions": "1", "moved_reservations": "1"}
    | dict.fromkeys(("failures", "interruptions"), "1")
    | dict.fromkeys(
        ("lost_failure_gpu_h", "checkpoint_gpu_h", "stalled_gpu_h", "contention_gpu_h", "down_gpu_h"), "GPU h"
    )
    | dict.fromkeys(("availability", "effective_time"), "fraction")
    | dict.fromkeys(("power_mean_kw", "power_p99_kw", "power_peak_kw", "rack_p99_kw", "rack_peak_kw"), "kW")
    | {"energy_mwh": "MWh", "carbon_t": "t"}
    | dict.fromkeys(("gpu_cost", "energy_cost", "cost_per_useful_gpu_h", "cost"), "money")
)
"""Every metric with its unit. Times are in seconds, GPU time in GPU hours."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is measured: from the end of the warm-up to the end of the run."""

    from_s: float
    until_s: float

    @property
    def length_s(self) -> float:
        """How long it is; 0 when the run ended before the warm-up."""
        return max(0.0, self.until_s - self.from_s)

    def overlap_s(self, from_s: Floats, until_s: Floats) -> Floats:
        """The part of each interval that lies in the window."""
        part: Floats = np.minimum(until_s, self.until_s) - np.maximum(from_s, self.from_s)
        return np.maximum(part, 0.0)


@dataclass(frozen=True, slots=True)
class Jobs:
    """Columns of jobs, one row each; times that a job does not have are NaN."""

    submit_s: Floats
    end_s: Floats
    duration_s: Floats
    gpus: Integers
    status: Integers
    wait_s: Floats
    run_s: Floats
    causes_s: Floats
    """Wait by cause: one row per job, one column per cause."""
    preemptions: Integers
    fairness: Floats
    """Finish-time fairness of jobs that are done."""

    def take(self, rows: NDArray[Any] | slice) -> Jobs:
        """Some of the jobs."""
        return Jobs(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which jobs did all their work."""
        done: NDArray[np.bool_] = self.status == DONE
        return done

    @property
    def jct_s(self) -> Floats:
        """Time from submission to the end, NaN for jobs that have not ended."""
        return self.end_s - self.submit_s


@dataclass(frozen=True, slots=True)
class Stays:
    """Columns of stays on the GPUs.

    First state is loaded, then comes kept work, then the time for checkpoints, all at once for simplicity,
    then work
    that is lost, and at last waiting for network and stores, and hanging.
    """

    start_s: Floats
    end_s: Floats
    work_s: Floats
    lost_s: Floats
    restart_s: Floats
    checkpoint_s: Floats
    """Time in which the job stopped to write checkpoints."""
    stalled_s: Floats
    """Time in which it waited for network or stores, or hung until a failure was noticed."""
    gpus: Integers
    killed: NDArray[np.bool_]
    """Stays of jobs that were killed at their time limit, so that all of their work came to nothing."""
    failed: NDArray[np.bool_]
    """Stays that ended as something under the job failed."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Columns of the GPUs of one stay on one node, or on several in a row that it holds whole."""

    node: Integers
    """The first node."""
    nodes: Integers
    """How many nodes."""
    gpus: Integers
    """GPUs on each of them."""
    start_s: Floats
    end_s: Floats


@dataclass(frozen=True, slots=True)
class Steps:
    """The fleet as step functions: each level holds from its time until the next."""

    time_s: Floats
    gpus_allocated: Integers
    jobs_running: Integers
    jobs_queued: Integers
    gpus_queued: Integers


def size_class(gpus: Integers) -> Integers:
    """Position in SIZE_CLASSES of jobs of so many GPUs."""
    return np.searchsorted(list(SIZE_CLASSES.values()), gpus, side="right").astype(np.int64) - 1


def by_group(jobs: Jobs, groups: Integers) -> Iterator[tuple[int, Numbers]]:
    """Metrics of each group of jobs, in order of the group's number; groups without a job are left out."""
    order = np.argsort(groups, kind="stable")
    ordered = jobs.take(order)
    codes, begins = np.unique(groups[order], return_index=True)
    ends = np.append(begins, groups.size)[1:]
    for code, begin, end in zip(codes.tolist(), begins.tolist(), ends.tolist(), strict=True):
        yield code, of_jobs(ordered.take(slice(begin, end)))


def of_jobs(jobs: Jobs) -> Numbers:
    """Metrics of a group of jobs."""
    counts = np.bincount(jobs.status, minlength=len(STATUSES))
    accepted = jobs.status != REJECTED
    done = jobs.take(jobs.done)
    lasting = done.duration_s >= INSTANT_S
    fairness = done.fairness[~np.isnan(done.fairness)]
    return {
        "jobs": float(counts.sum()),
        "jobs_done": float(counts[DONE]),
        "jobs_timed_out": float(counts[TIMED_OUT]),
        "jobs_censored": float(counts[RUNNING] + counts[QUEUED]),
        "jobs_rejected": float(counts[REJECTED]),
        **_distribution("wait", jobs.wait_s[accepted]),
        **_distribution("jct", done.jct_s),
        "slowdown_mean": _mean(done.jct_s[lasting] / done.duration_s[lasting]),
        "bounded_slowdown_mean": _mean(bounded_slowdown(done.jct_s, done.duration_s)),
        "finish_time_fairness_mean": _mean(fairness),
        "finish_time_fairness_max": float(fairness.max()) if fairness.size else None,
        "preemptions": float(jobs.preemptions.sum()),
        "gpu_h": float((jobs.run_s * jobs.gpus).sum()) / GPU_H,
        **causes(jobs.causes_s[accepted]),
    }


def _distribution(name: str, seconds: Floats) -> Numbers:
    """Mean and percentiles of a time."""
    sorted_s = np.sort(seconds)
    levels = {
        f"{name}_p{percent}_s": percentile(sorted_s, percent) if seconds.size else None
        for percent in PERCENTS
    }
    return {f"{name}_mean_s": _mean(seconds), **levels}


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None


def bounded_slowdown(flow_s: Floats, duration_s: Floats) -> Floats:
    """How many times longer than its run time a job was in the system, with run times of 10 s at least."""
    slowdown: Floats = np.maximum(1.0, flow_s / np.maximum(duration_s, SHORTEST_S))
    return slowdown


def causes(causes_s: Floats) -> Numbers:
    """Share of each cause in all the waiting of some jobs; 0 when nobody waited."""
    totals = causes_s.sum(axis=0)
    whole = float(totals.sum())
    return {
        f"cause_{cause}_share": float(total) / whole if whole else 0.0
        for cause, total in zip(CAUSES, totals, strict=True)
    }


def finish_time_fairness(jobs: Jobs, steps: Steps, fleet_gpus: int) -> Floats:
    """Completion time over the time alone on an equal share of the fleet; NaN where a job has none."""
    fairness = np.full(jobs.submit_s.size, np.nan)
    rows = np.flatnonzero(jobs.done & (jobs.duration_s >= INSTANT_S) & (jobs.end_s > jobs.submit_s))
    done = jobs.take(rows)
    present = steps.jobs_running + steps.jobs_queued
    until_end_s = running_integral(steps.time_s, present, done.end_s)
    until_submit_s = running_integral(steps.time_s, present, done.submit_s)
    sharers = (until_end_s - until_submit_s) / done.jct_s
    alone_s = done.duration_s * np.maximum(1.0, done.gpus * sharers / fleet_gpus)
    fairness[rows] = done.jct_s / alone_s
    return fairness


def of_fleet(stays: Stays, steps: Steps, window: Window, fleet_gpus: int, stranded_gpu_s: float) -> Numbers:
    """Metrics of the fleet over the window; all without a value when the window is empty.

    `stranded_gpu_s` is the free GPU time on partly held nodes (see `stranded`).
    """
    if window.length_s == 0.0:
        return dict.fromkeys(name for name in UNITS if name in _FLEET)
    spent = gpu_time(stays, window)
    capacity = fleet_gpus * window.length_s
    idle = max(0.0, capacity - spent["allocated"])
    return {
        "occupancy": spent["allocated"] / capacity,
        "utilisation": spent["kept"] / capacity,
        "fragmentation": min(1.0, stranded_gpu_s / idle) if idle > 0.0 else 0.0,
        "queue_length_mean": _level(steps, steps.jobs_queued, window),
        "gpus_queued_mean": _level(steps, steps.gpus_queued, window),
        "jobs_running_mean": _level(steps, steps.jobs_running, window),
        "goodput_gpu_h": spent["kept"] / GPU_H,
        "lost_preemption_gpu_h": spent["lost to preemption"] / GPU_H,
        "lost_time_limit_gpu_h": spent["lost at the time limit"] / GPU_H,
        "restart_gpu_h": spent["restart"] / GPU_H,
    }


_FLEET = (
    "occupancy",
    "utilisation",
    "fragmentation",
    "queue_length_mean",
    "gpus_queued_mean",
    "jobs_running_mean",
    "goodput_gpu_h",
    "lost_preemption_gpu_h",
    "lost_time_limit_gpu_h",
    "restart_gpu_h",
)


def gpu_time(stays: Stays, window: Window) -> dict[str, float]:
    """GPU-seconds in the window by use. Allocated is the sum of the others, up to rounding."""
    loaded_s = stays.start_s + stays.restart_s
    kept_s = np.minimum(loaded_s + stays.work_s, stays.end_s)
    worked_s = stays.end_s - stays.stalled_s
    everyone = np.ones_like(stays.killed)
    uses = {
        "allocated": (stays.start_s, stays.end_s, everyone),
        "restart": (stays.start_s, np.minimum(loaded_s, stays.end_s), everyone),
        "kept": (loaded_s, kept_s, ~stays.killed),
        "checkpoint": (kept_s, np.minimum(kept_s + stays.checkpoint_s, stays.end_s), ~stays.killed),
        "lost to preemption": (worked_s - stays.lost_s, worked_s, ~stays.killed & ~stays.failed),
        "lost to failures": (worked_s - stays.lost_s, worked_s, ~stays.killed & stays.failed),
        "stalled": (worked_s, stays.end_s, ~stays.killed),
        "lost at the time limit": (loaded_s, stays.end_s, stays.killed),
    }
    return {
        use: float((window.overlap_s(from_s, until_s) * stays.gpus * counted).sum())
        for use, (from_s, until_s, counted) in uses.items()
    }


def kept_by_job(stays: Stays, stay_job: Integers, window: Window, jobs: int) -> Floats:
    """GPU-seconds of kept work in the window, by job; ``stay_job`` is the job of each stay."""
    loaded_s = stays.start_s + stays.restart_s
    kept_s = window.overlap_s(loaded_s, np.minimum(loaded_s + stays.work_s, stays.end_s))
    return np.asarray(np.bincount(stay_job, kept_s * stays.gpus * ~stays.killed, jobs), dtype=np.float64)


def of_failures(
    stays: Stays, outages: Mapping[str, NDArray[Any]], window: Window, node_gpus: Integers
) -> Numbers:
    """What failures and checkpoints cost, where there are any.

    ``outages`` has the columns ``node``, ``from_s``, ``to_s`` and ``planned``. The effective time is that
    of kept work over all the time from a job's first start to its end, weighted by GPUs: goodput as
    operators of large trainings state it (Kokolis et al., arXiv 2410.21680, call it effective training time
    ratio).
    """
    spent = gpu_time(stays, window)
    gpus = node_gpus[outages["node"]]
    down_gpu_s = float((gpus * window.overlap_s(outages["from_s"], outages["to_s"])).sum())
    struck = (outages["from_s"] >= window.from_s) & ~outages["planned"]
    interrupted = stays.failed & (stays.end_s >= window.from_s)
    return {
        "failures": float(struck.sum()),
        "interruptions": float(interrupted.sum()),
        "lost_failure_gpu_h": spent["lost to failures"] / GPU_H,
        "checkpoint_gpu_h": spent["checkpoint"] / GPU_H,
        "stalled_gpu_h": spent["stalled"] / GPU_H,
        "down_gpu_h": down_gpu_s / GPU_H,
        "availability": 1.0 - down_gpu_s / (int(node_gpus.sum()) * window.length_s)
        if window.length_s
        else None,
    }


def effective_time(stays: Stays, stay_job: Integers, window: Window) -> float | None:
    """GPU time of kept work over that from each job's first start to its end; None if nothing ran."""
    if not stay_job.size:
        return None
    count = int(stay_job.max()) + 1
    first_s, last_s = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(first_s, stay_job, stays.start_s)
    np.maximum.at(last_s, stay_job, stays.end_s)
    waits_still = np.zeros(count, dtype=bool)
    waits_still[stay_job] = stays.failed  # of its last stay: stays are in order of time
    last_s[waits_still] = window.until_s
    gpus = np.zeros(count)
    gpus[stay_job] = stays.gpus
    ran = np.isfinite(first_s)
    there_s = window.overlap_s(first_s[ran], last_s[ran])
    whole = float((there_s * gpus[ran]).sum())
    return gpu_time(stays, window)["kept"] / whole if whole else None


def _level(steps: Steps, levels: Integers, window: Window) -> float:
    """Mean level of a step function over the window."""
    lasted_s = window.overlap_s(steps.time_s, np.append(steps.time_s[1:], window.until_s))
    return float((levels * lasted_s).sum()) / window.length_s


def stranded(pieces: Pieces, node_gpus: Integers, window: Window) -> float:
    """Free GPU-seconds in the window that lay on nodes of which a part, and not the whole, was held.

    It is our bug if a node ever holds more GPUs than it has. Several nodes in a row are held whole, so that
    nothing of them is stranded.
    """
    alone = pieces.nodes == 1
    node, gpus = pieces.node[alone], pieces.gpus[alone]
    where = np.concatenate([node, node])
    when = np.concatenate([pieces.start_s[alone], pieces.end_s[alone]])
    change = np.concatenate([gpus, -gpus])
    order = np.lexsort((change, when, where))
    where, when, held = where[order], when[order], np.cumsum(change[order])
    size = node_gpus[where]
    if (held > size).any():
        raise AssertionError(f"node {int(where[np.argmax(held > size)])} held more GPUs than it has")
    until_s = np.append(when[1:], window.until_s)
    partly = (held > 0) & (held < size)
    return float(((size - held)[partly] * window.overlap_s(when[partly], until_s[partly])).sum())


def of_run(jobs: Jobs, measured: Jobs, fleet_gpus: int) -> Numbers:
    """How long the whole run took, and how much was asked of the fleet while it was measured."""
    ended = jobs.end_s[~np.isnan(jobs.end_s)]
    makespan_s = float(ended.max() - jobs.submit_s.min()) if ended.size else None
    return {"makespan_s": makespan_s, "offered_load": offered_load(measured, fleet_gpus)}


def offered_load(jobs: Jobs, fleet_gpus: int) -> float | None:
    """GPU time that accepted jobs need over that of the fleet while they come; None if at one moment."""
    accepted = jobs.take(jobs.status != REJECTED)
    span_s = float(np.ptp(accepted.submit_s)) if accepted.submit_s.size else 0.0
    if span_s == 0.0:
        return None
    return float((accepted.duration_s * accepted.gpus).sum()) / (fleet_gpus * span_s)


def between_tenants(jobs: Jobs, tenants: Integers, weights: Floats, until_s: float) -> Numbers:
    """How evenly tenants fare, as Jain's index over those that submitted an accepted job.

    `jain_fairness` compares their mean bounded slowdowns: 1 when everybody's jobs are stretched alike,
    whatever they asked for; a job that has not ended counts with its time so far. `jain_gpu_time` compares
    the GPU time they received per unit of weight, which also tells who asked for little. `tenants` are
    positions in `weights`.
    """
    accepted = jobs.status != REJECTED
    asked, groups = jobs.take(accepted), tenants[accepted]
    flow_s = np.where(np.isnan(asked.end_s), until_s, asked.end_s) - asked.submit_s
    number = np.bincount(groups, minlength=weights.size)
    present = number > 0

    def total(column: Floats) -> Floats:
        sums: Floats = np.bincount(groups, column, weights.size)[present].astype(np.float64)
        return sums

    return {
        "jain_fairness": jain_index(total(bounded_slowdown(flow_s, asked.duration_s)) / number[present]),
        "jain_gpu_time": jain_index(total(asked.run_s * asked.gpus) / weights[present]),
    }
