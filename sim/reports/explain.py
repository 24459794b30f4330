"""Why one job waited: its causes second by second, who overtook it, and who held the GPUs meanwhile.

All of that is read from the tables of the run, so a job of last month's run folder can be explained without
simulating again. What a job did while it ran is too much to keep of every job: where network, stores or
power are shared, the run is played again for it.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.text import Text

from sim import units, words
from sim.courses import WORKS
from sim.errors import PlanError
from sim.grids import grid
from sim.log import CAUSES
from sim.reports import steps
from sim.reports.facts import CAUSE_NAMES, Facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.courses import Line
    from sim.results import Results

_TOP = 5
_SHOWN_INTERVALS = 12
_NAMED = 4
"""Nodes of a stay that are named."""
_NEAREST = 3
_WORTH_A_WORD = 0.01
"""Share of a time below which what took it is not told."""


@dataclass(frozen=True, slots=True)
class Holding:
    """GPU time that one tenant or job held in the partition while the job waited."""

    name: str
    gpu_s: float
    share: float
    """Of the partition's GPU time during the wait."""


@dataclass(frozen=True, slots=True)
class QueueStay:
    """One stay in the queue, with the seconds of each cause; they add up to its length."""

    from_s: float
    to_s: float
    causes: dict[str, float]
    free_gpus_at_start: int
    free_gpus_mean: float
    free_gpus_most: int


@dataclass(frozen=True, slots=True)
class Run:
    """One stay on the GPUs."""

    start_s: float
    end_s: float
    outcome: str
    nodes: tuple[str, ...]
    """Some of its nodes, the first ones."""
    node_count: int
    """How many it has."""
    lost_s: float
    restart_s: float


@dataclass(frozen=True, slots=True)
class Course:
    """What a job did while it held GPUs, piece by piece, and the ways that its work took."""

    lines: tuple[Line, ...]
    path: dict[str, float]
    """Share of each resource that its work needs at full speed."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the time from the first start of a job: what it did, and what held it up most."""

    from_s: float
    to_s: float
    worked_s: float
    """At full speed it would have taken so long."""
    waited_s: dict[str, float]
    """Seconds lost, by what held it up."""
    besides_s: dict[str, float]
    """Seconds of all else that it did: loading, writing, and so on."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything a run's tables say about one job."""

    job_id: str
    tenant: str
    gpus: int
    status: str
    reason: str | None
    submit_s: float
    start_s: float | None
    end_s: float | None
    wait_s: float
    causes: dict[str, float]
    """Seconds waited by cause, the largest first; they add up to `wait_s`."""
    stays: tuple[QueueStay, ...]
    runs: tuple[Run, ...]
    preemptions: int
    failures: int
    partition: str
    partition_gpus: int
    started_meanwhile: int
    """Jobs of the partition that started while this one waited."""
    overtook: int
    """Those of them that were submitted later."""
    tenants_meanwhile: tuple[Holding, ...]
    jobs_meanwhile: tuple[Holding, ...]
    spans: tuple[Span, ...] = ()
    path: dict[str, float] = field(default_factory=dict)


def explain(results: Results, job_id: str, course: Course | None = None) -> Explanation:
    """Why this job waited, and where its time on the GPUs went if its course is known.

    Raises PlanError, with the nearest ids, if the run has no such job.
    """
    facts = Facts(results)
    job = _job(facts.tables["jobs"], job_id)
    nodes = _partition(facts, job)
    held = _held(facts, nodes)
    stays = facts.tables["waits"].filter(pl.col("job_id") == job_id).sort("from_s")
    gpus = int(nodes["gpus"].sum())
    free = _free(held, gpus)
    started, overtook = _started_meanwhile(facts, job, stays, held)
    causes = {cause: float(job[f"wait_{cause}_s"]) for cause in CAUSES}
    return Explanation(
        job_id=job_id,
        tenant=job["tenant"],
        gpus=job["gpus"],
        status=job["status"],
        reason=job["reason"],
        submit_s=job["submit_s"],
        start_s=job["start_s"],
        end_s=job["end_s"],
        wait_s=job["wait_s"],
        causes=dict(sorted(causes.items(), key=lambda item: -item[1])),
        stays=tuple(_stay(row, *free) for row in stays.iter_rows(named=True)),
        runs=_runs(facts, job_id),
        preemptions=job["preemptions"],
        failures=job["failures"],
        partition=_partition_name(nodes, facts),
        partition_gpus=gpus,
        started_meanwhile=started,
        overtook=overtook,
        tenants_meanwhile=_holdings(held, stays, gpus, "tenant"),
        jobs_meanwhile=_holdings(held, stays, gpus, "job_id"),
        spans=() if course is None else _spans(course.lines),
        path={} if course is None else dict(sorted(course.path.items(), key=lambda item: -item[1])[:_TOP]),
    )


def _spans(lines: Sequence[Line]) -> tuple[Span, ...]:
    """The time from the first line to the last in equal parts, or each line where there are few."""
    if not lines:
        return ()
    edges = [lines[0].from_s, *(line.to_s for line in lines)]
    if len(lines) > _SHOWN_INTERVALS:
        edges = np.linspace(edges[0], edges[-1], _SHOWN_INTERVALS + 1).tolist()
    found = []
    for from_s, to_s in pairwise(edges):
        worked_s, waited_s, besides_s = 0.0, defaultdict[str, float](float), defaultdict[str, float](float)
        for line in lines:
            inside_s = min(line.to_s, to_s) - max(line.from_s, from_s)
            if inside_s <= 0:
                continue
            if line.phase == WORKS:
                worked_s += line.pace * inside_s
                if line.held_by is not None:
                    waited_s[line.held_by] += (1 - line.pace) * inside_s
            else:
                besides_s[line.phase] += inside_s
        found.append(Span(from_s, to_s, worked_s, dict(waited_s), dict(besides_s)))
    return tuple(found)


def _job(jobs: pl.DataFrame, job_id: str) -> dict[str, Any]:
    found = jobs.filter(pl.col("job_id") == job_id)
    if not found.is_empty():
        return found.row(0, named=True)
    near = difflib.get_close_matches(job_id, _candidates(jobs["job_id"], job_id), n=_NEAREST, cutoff=0.5)
    hint = f"; the nearest are {words.listed(near)}" if near else _example(jobs)
    raise PlanError(f'no job "{job_id}" in this run of {words.count(len(jobs), "job")}{hint}')


def _example(jobs: pl.DataFrame) -> str:
    """How ids of the run look, and where all of them are."""
    return (
        ""
        if jobs.is_empty()
        else f'; ids look like "{jobs["job_id"][0]}", and jobs.csv of the run lists them'
    )


def _candidates(ids: pl.Series, wanted: str, most: int = 2000) -> list[str]:
    """Ids that may be meant: those with the same beginning, so that a million ids need not be compared."""
    for length in range(len(wanted), 0, -1):
        alike = ids.filter(ids.str.starts_with(wanted[:length]))
        if len(alike) >= _NEAREST:
            return [str(job_id) for job_id in alike.head(most)]
    return [str(job_id) for job_id in ids.head(most)]


def _partition(facts: Facts, job: dict[str, Any]) -> pl.DataFrame:
    """Nodes on which the job could run: those of its tenant's virtual cluster and of its kind of GPU."""
    nodes = facts.tables["nodes"]
    cluster = _virtual_cluster(facts, job["tenant"])
    nodes = nodes.filter(pl.col("virtual_cluster").eq_missing(pl.lit(cluster, dtype=pl.String)))
    kind = job["gpu_kind"]
    return nodes if kind is None else nodes.filter(pl.col("gpu") == kind)


def _virtual_cluster(facts: Facts, tenant: str) -> str | None:
    """The virtual cluster stated for the tenant, or the one that has the tenant's own name, or none."""
    stated = {spec.name: spec.virtual_cluster for spec in facts.scenario.tenants}.get(tenant)
    if stated is not None:
        return str(stated)
    return tenant if (facts.tables["nodes"]["virtual_cluster"] == tenant).any() else None


def _partition_name(nodes: pl.DataFrame, facts: Facts) -> str:
    if len(nodes) == facts.nodes:
        return "the fleet"
    cluster = nodes["virtual_cluster"].drop_nulls().unique().to_list()
    pools = nodes["pool"].unique().sort().to_list()
    return (
        f"virtual cluster {cluster[0]}"
        if cluster
        else f"pool {words.listed(pools)}"
        if pools
        else "no partition"
    )


def _held(facts: Facts, nodes: pl.DataFrame) -> pl.DataFrame:
    """GPUs held in the partition: one row per run and job."""
    return (
        facts.tables["placements"]
        .join(nodes.select("node"), on="node", how="semi")
        .group_by("job_id", "run", maintain_order=True)
        .agg((pl.col("gpus") * pl.col("nodes")).sum())
        .join(
            facts.tables["runs"].select("job_id", "run", "start_s", "end_s"),
            on=["job_id", "run"],
            maintain_order="left",
        )
        .join(facts.tables["jobs"].select("job_id", "tenant", "submit_s"), on="job_id", maintain_order="left")
    )


def _free(held: pl.DataFrame, gpus: int) -> tuple[steps.Floats, steps.Floats]:
    """Free GPUs of the partition as a step function: times, and the level from each on."""
    changes = (
        pl.concat(
            [
                held.select(pl.col("start_s").alias("time_s"), pl.col("gpus").alias("change")),
                held.select(pl.col("end_s").alias("time_s"), (-pl.col("gpus")).alias("change")),
            ]
        )
        .group_by("time_s")
        .agg(pl.col("change").sum())
        .sort("time_s")
    )
    levels = gpus - np.cumsum(changes["change"].to_numpy()).astype(np.float64)
    return np.concatenate(([-np.inf], changes["time_s"].to_numpy())), np.concatenate(([float(gpus)], levels))


def _stay(row: dict[str, Any], times: steps.Floats, levels: steps.Floats) -> QueueStay:
    """One stay in the queue beside the GPUs that were free in the partition."""
    from_s, to_s = float(row["from_s"]), float(row["to_s"])
    at_start = int(np.searchsorted(times, from_s, side="right")) - 1
    until = int(np.searchsorted(times, to_s, side="left"))
    times, levels = times[at_start:until].copy(), levels[at_start:until]
    times[0] = from_s
    free = steps.columns_of(times, levels, from_s, to_s, 1)
    return QueueStay(
        from_s=from_s,
        to_s=to_s,
        causes={cause: float(row[f"{cause}_s"]) for cause in CAUSES if row[f"{cause}_s"] > 0.0},
        free_gpus_at_start=int(levels[0]),
        free_gpus_mean=float(free.mean[0]),
        free_gpus_most=int(free.high[0]),
    )


def _started_meanwhile(
    facts: Facts, job: dict[str, Any], stays: pl.DataFrame, held: pl.DataFrame
) -> tuple[int, int]:
    """Other jobs that started in the partition while this one queued, and how many were submitted later.

    A job that starts at the very moment at which this one joins the queue counts only if it was submitted
    later.
    """
    order = facts.tables["jobs"].select("job_id", pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
    own = int(order.filter(pl.col("job_id") == job["job_id"])["place"][0])
    later, started = pl.col("place") > own, pl.lit(value=False)
    for from_s, to_s in stays.select("from_s", "to_s").iter_rows():
        started |= pl.col("start_s").is_between(from_s, to_s, closed="none") | (
            later & (pl.col("start_s") == from_s)
        )
    others = held.join(order, on="job_id").filter(started & (pl.col("place") != own)).unique("job_id")
    return len(others), int(others.select(later.sum()).item())


def _holdings(held: pl.DataFrame, stays: pl.DataFrame, gpus: int, by: str) -> tuple[Holding, ...]:
    """Who held most of the partition's GPU time during the stays in the queue."""
    waited_s = float((stays["to_s"] - stays["from_s"]).sum())
    if waited_s <= 0.0 or gpus == 0:
        return ()
    overlap = pl.lit(0.0)
    for from_s, to_s in stays.select("from_s", "to_s").iter_rows():
        overlap += (pl.col("end_s").clip(upper_bound=to_s) - pl.col("start_s").clip(lower_bound=from_s)).clip(
            lower_bound=0.0
        )
    used = (
        held.with_columns((overlap * pl.col("gpus")).alias("gpu_s")).group_by(by).agg(pl.col("gpu_s").sum())
    )
    top = used.filter(pl.col("gpu_s") > 0.0).sort(["gpu_s", by], descending=[True, False]).head(_TOP)
    return tuple(Holding(str(name), gpu_s, gpu_s / (gpus * waited_s)) for name, gpu_s in top.rows())


def _runs(facts: Facts, job_id: str) -> tuple[Run, ...]:
    nodes = (
        facts.tables["placements"]
        .filter(pl.col("job_id") == job_id)
        .group_by("run", maintain_order=True)
        .agg(pl.col("node").head(_NAMED), pl.col("nodes").head(_NAMED), pl.col("nodes").sum().alias("count"))
    )
    names = facts.tables["nodes"]["node"]
    place = {name: at for at, name in enumerate(names)}
    runs = (
        facts.tables["runs"].filter(pl.col("job_id") == job_id).join(nodes, on="run", how="left").sort("run")
    )
    return tuple(
        Run(
            row["start_s"],
            row["end_s"],
            str(row["outcome"]),
            tuple(
                names[place[first] + further]
                for first, nodes in zip(row["node"] or (), row["nodes"] or (), strict=True)
                for further in range(min(nodes, _NAMED))
            )[:_NAMED],
            row["count"] or 0,
            row["lost_s"],
            row["restart_s"],
        )
        for row in runs.iter_rows(named=True)
    )


def sentences(explanation: Explanation) -> list[str]:
    """The explanation in plain words."""
    job = explanation
    what = (
        f"Job {job.job_id} of {job.tenant} asked for {words.count(job.gpus, 'GPU')} at {_exact(job.submit_s)}"
    )
    if job.status == "rejected":
        return [f"{what} and was rejected: {job.reason}."]
    if job.wait_s == 0.0:
        return [f"{what} and started at once.", *_course(job), *_end(job)]
    never = "" if job.start_s is not None else ", and it had not started when the run ended"
    said = [f"{what} and waited {_exact(job.wait_s)}{never}."]
    said += [
        f"{_exact(seconds)} of that ({words.percent(seconds / job.wait_s)}): {CAUSE_NAMES[cause]}."
        for cause, seconds in job.causes.items()
        if seconds > 0.0
    ]
    first = job.stays[0] if job.stays else None
    if first is not None:
        there, free = f"{words.count(job.partition_gpus, 'GPU')} of {job.partition}", first.free_gpus_at_start
        said.append(
            f"Of the {there}, {words.count(free, 'was', 'were')} free when it joined the queue, "
            f"{words.significant(first.free_gpus_mean)} on average until it left, and "
            f"{first.free_gpus_most:,} at most; it needed {job.gpus:,}."
        )
    return [*said, _overtaken(job), *_meanwhile(job), *_course(job), *_end(job)]


def _exact(seconds: float) -> str:
    return units.human_duration(seconds)


def _overtaken(job: Explanation) -> str:
    if job.started_meanwhile == 0:
        return "No other job started there while it waited."
    started = f"{words.count(job.started_meanwhile, 'other job')} started there while it waited"
    if job.overtook == 0:
        return f"{started}, none of them submitted later."
    if job.overtook == job.started_meanwhile:
        return (
            f"{started}; submitted later, {'it' if job.overtook == 1 else 'all of them'} overtook this one."
        )
    were = "was" if job.overtook == 1 else "were"
    return f"{started}; {job.overtook:,} of them {were} submitted later and overtook it."


def _meanwhile(job: Explanation) -> list[str]:
    if not job.tenants_meanwhile:
        return []
    most = job.tenants_meanwhile[0]
    share = words.percent(most.share)
    if len(job.tenants_meanwhile) == 1:
        return [f"Meanwhile {most.name} held {share} of the GPU time there."]
    return [f"Meanwhile {most.name} held {share} of the GPU time there, more than any other tenant."]


def _end(job: Explanation) -> list[str]:
    times = "once" if job.preemptions == 1 else words.count(job.preemptions, "time")
    preempted = f"It was preempted {times}." if job.preemptions else ""
    often = "once" if job.failures == 1 else words.count(job.failures, "time")
    failed = f"Failures stopped it {often}." if job.failures else ""
    ended = (
        f"It ended at {_exact(job.end_s)} ({job.status.replace('_', ' ')})."
        if job.end_s is not None
        else f"It was {job.status} when the run ended."
    )
    return [text for text in (preempted, failed, ended) if text]


def render(explanation: Explanation, out: Console) -> None:
    """Print why the job waited: sentences, then the stays in the queue and on the GPUs."""
    first, *rest = sentences(explanation)
    out.print(Text(first, style="bold"))
    for sentence in rest:
        out.print(Text(sentence))
    if explanation.stays:
        out.print()
        out.print(_stays_table(explanation))
    if explanation.jobs_meanwhile:
        out.print()
        rows = [
            (holding.name, words.gpu_hours(holding.gpu_s / 3600.0), words.percent(holding.share))
            for holding in explanation.jobs_meanwhile
        ]
        out.print(grid("Jobs that held most meanwhile", ("job", "GPU time", "share"), rows))
    if explanation.runs:
        out.print()
        out.print(_runs_table(explanation))
    if explanation.spans:
        out.print()
        out.print(_spans_table(explanation.spans))


def _stays_table(job: Explanation) -> Any:  # noqa: ANN401 - a rich table
    rows = [
        (
            _exact(stay.from_s),
            _exact(stay.to_s),
            _exact(stay.to_s - stay.from_s),
            words.significant(stay.free_gpus_mean),
            words.listed([f"{cause} {_exact(seconds)}" for cause, seconds in stay.causes.items()]),
        )
        for stay in job.stays[:_SHOWN_INTERVALS]
    ]
    more = len(job.stays) - _SHOWN_INTERVALS
    title = (
        f"In the queue (first {_SHOWN_INTERVALS} of {len(job.stays)} stays)" if more > 0 else "In the queue"
    )
    return grid(title, ("from", "to", "waited", "mean free GPUs", "because"), rows, texts=0)


def _runs_table(job: Explanation) -> Any:  # noqa: ANN401 - a rich table
    rows = [
        (
            _exact(run.start_s),
            _exact(run.end_s),
            run.outcome.replace("_", " "),
            _exact(run.lost_s),
            _exact(run.restart_s),
            _node_list(run),
        )
        for run in job.runs[:_SHOWN_INTERVALS]
    ]
    more = len(job.runs) - _SHOWN_INTERVALS
    title = f"On the GPUs (first {_SHOWN_INTERVALS} of {len(job.runs)} stays)" if more > 0 else "On the GPUs"
    return grid(title, ("from", "to", "ended", "lost", "restart", "nodes"), rows, texts=0)


def _spans_table(spans: Sequence[Span]) -> Any:  # noqa: ANN401 - a rich table
    """Times in which it did about the same as one row."""
    rows: list[tuple[float, float, str, str]] = []
    for span in spans:
        whole_s = span.to_s - span.from_s
        lost = [(lost_s, f"lost on {name}") for name, lost_s in span.waited_s.items()]
        lost += [(took_s, phase) for phase, took_s in span.besides_s.items()]
        told = sorted((each for each in lost if each[0] >= _WORTH_A_WORD * whole_s), reverse=True)
        said = words.listed([f"{words.percent(took_s / whole_s)} {what}" for took_s, what in told]) or "-"
        at_work = words.percent(span.worked_s / whole_s)
        if rows and rows[-1][2:] == (at_work, said):
            rows[-1] = (rows[-1][0], span.to_s, at_work, said)
        else:
            rows.append((span.from_s, span.to_s, at_work, said))
    shown = [(_exact(from_s), _exact(to_s), at_work, said) for from_s, to_s, at_work, said in rows]
    return grid("What it did", ("from", "to", "at work", "else"), shown, texts=0)


def _course(job: Explanation) -> list[str]:
    """Where the time went that is not work, and which way its work needs most of."""
    if not job.spans:
        return []
    worked_s = sum(span.worked_s for span in job.spans)
    lost_s, besides_s = defaultdict[str, float](float), defaultdict[str, float](float)
    for span in job.spans:
        for name, each_s in span.waited_s.items():
            lost_s[name] += each_s
        for phase, each_s in span.besides_s.items():
            besides_s[phase] += each_s
    whole_s = worked_s + sum(lost_s.values()) + sum(besides_s.values())
    said = [f"On its GPUs it was at work {words.percent(worked_s / whole_s)} of the time."]
    if lost_s:
        most = max(lost_s, key=lambda name: lost_s[name])
        share = words.percent(lost_s[most] / sum(lost_s.values()))
        said.append(
            f"It lost {_exact(sum(lost_s.values()))} by going slower than it could, {share} of it on {most}."
        )
    if besides_s:
        parts = [f"{_DOING[phase]} {_exact(each_s)}" for phase, each_s in besides_s.items()]
        said.append(f"Besides, it spent {words.listed(parts)}.")
    if job.path:
        needs = [f"{words.percent(share)} of {name}" for name, share in job.path.items()]
        said.append(f"At full speed its work needs {words.listed(needs)}.")
    return said


_DOING = {
    "fetches": "fetching its image", "restarts": "starting its processes", "loads": "loading its state",
    "writes": "writing checkpoints", "waits": "waiting for room to write",
}  # fmt: skip


def _node_list(run: Run) -> str:
    shown = " ".join(run.nodes)
    more = run.node_count - len(run.nodes)
    return f"{shown} and {more} more" if more else shown
