"""Can this log be trusted, and does it fit the fleet? What to know before simulating a trace.

Released traces contradict themselves: demand above the capacity that is said to have run it, jobs wider
than the machine, times that run backwards. A replay of such a log gives figures all the same, so this says
what is wrong first, how much of the jobs and of the GPU time it touches, and on which lines.

Offered load is work per capacity, in GPU-seconds over GPU-seconds: above 1 the queue grows as long as it
lasts. ``arriving_load`` books all the work of a job when it is submitted; ``demand_load`` spreads it over
the time the job would run if it started at once, which is what an unlimited fleet would see.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from sim import units, words
from sim.traces import TraceRead

Severity = Literal["warning", "note"]
Times: TypeAlias = npt.NDArray[np.float64]

DAY_S = 86_400.0
SHOWN_LINES = 5
ROUNDING_S = 1.0
"""Logs in whole seconds round the start, the end and the duration each for itself."""
FEWEST_AT_ONCE, SHARE_AT_ONCE = 100, 0.01
LONGEST_LOG_S = 10 * 365 * DAY_S
_SEVERITIES: tuple[Severity, ...] = ("warning", "note")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the log is checked against: GPUs by kind, by virtual cluster, and on one node.

    ``gpus`` has one entry per GPU kind; the key None stands for GPUs whose kind is not told. ``partitions``
    has the GPUs of each virtual cluster, if these are walls; other tenants may use the whole fleet.
    """

    gpus: Mapping[str | None, int]
    partitions: Mapping[str, int]
    gpus_per_node: int | None

    @property
    def total(self) -> int:
        """All GPUs of the fleet."""
        return sum(self.gpus.values())


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about the log: how often it happens and how much of the log it touches.

    ``count`` is in jobs unless ``unit`` says otherwise; ``jobs_share`` and ``gpu_time_share`` are fractions
    of the jobs and of their GPU time, ``time_share`` one of the span of the log, None where they mean
    nothing. ``lines`` are the first lines of the file where it happens.
    """

    name: str
    severity: Severity
    count: int
    explanation: str
    unit: str = "jobs"
    jobs_share: float | None = None
    gpu_time_share: float | None = None
    time_share: float | None = None
    lines: tuple[int, ...] = ()

    @property
    def extent(self) -> str:
        """How often it happens: ``1 job``, ``2 jobs``."""
        return words.count(self.count, self.unit.removesuffix("s"), self.unit)


@dataclass(frozen=True, slots=True)
class TraceCheck:
    """What a log holds, how it loads the fleet, and what is wrong with it.

    ``span_s`` is the time from the first submission to the last, ``gpu_s`` the GPU-seconds asked for.
    ``load`` has one row per bucket of time and group: scope (fleet, gpu_kind or tenant), name, from_s, to_s,
    arriving_gpu_s, demand_gpu_s, capacity_gpus, arriving_load, demand_load; ``totals`` has one row per group
    over the whole span, with jobs, widest_gpus and longest_s. Loads are null where no capacity is known.
    """

    path: str
    format: str
    origin: str
    rows: int
    jobs: int
    left_out: Mapping[str, int]
    notes: tuple[str, ...]
    span_s: float
    gpu_s: float
    capacity_gpus: int | None
    offered_load: float | None
    load: pl.DataFrame
    totals: pl.DataFrame
    findings: tuple[Finding, ...]

    def sentences(self) -> list[str]:
        """What a capacity engineer needs to know first, in a few sentences."""
        return list(_sentences(self))


@dataclass(frozen=True, slots=True)
class _Log:
    """The jobs beside what was recorded of them, and the fleet to check them against."""

    frame: pl.DataFrame
    fleet: Fleet | None
    gap_s: float
    span_s: float

    @property
    def gpu_s(self) -> float:
        """GPU-seconds that all jobs ask for."""
        return float(self.frame["gpu_s"].sum())


@dataclass(frozen=True, slots=True)
class _Group:
    """Jobs that share a capacity, and that capacity if it is known."""

    scope: str
    name: str | None
    jobs: pl.DataFrame
    gpus: int | None


def check(
    read: TraceRead,
    capacity: Mapping[str | None, int] | None = None,
    *,
    partitions: Mapping[str, int] | None = None,
    gpus_per_node: int | None = None,
    bucket_s: float = DAY_S,
    gap_s: float = DAY_S,
) -> TraceCheck:
    """Check a log against itself and, if ``capacity`` is given (GPUs by kind), against a fleet.

    ``partitions`` gives the GPUs of each virtual cluster, ``gpus_per_node`` the size of the largest node.
    ``bucket_s`` is the width of the load over time; the last bucket ends with the last submission. A time of
    ``gap_s`` or more without a submission is a gap.
    """
    fleet = None if capacity is None else Fleet(capacity, partitions or {}, gpus_per_node)
    log = _log(read, fleet, gap_s)
    load = _load(log, bucket_s)
    totals = _totals(log)
    return TraceCheck(
        path=read.path,
        format=read.format,
        origin=read.origin,
        rows=read.rows,
        jobs=read.jobs.height,
        left_out=read.left_out,
        notes=read.notes,
        span_s=log.span_s,
        gpu_s=log.gpu_s,
        capacity_gpus=None if fleet is None else fleet.total,
        offered_load=totals["arriving_load"][0],
        load=load,
        totals=totals,
        findings=tuple(_findings(log, load, totals)),
    )


def _log(read: TraceRead, fleet: Fleet | None, gap_s: float) -> _Log:
    """The columns that the checks look at, side by side."""
    submit = read.jobs["submit_s"]
    frame = pl.concat([read.jobs, read.recorded], how="horizontal").with_columns(
        gpu_s=pl.col("gpus") * pl.col("duration_s")
    )
    return _Log(frame, fleet, gap_s, float(submit[-1] - submit[0]))


def _load(log: _Log, bucket_s: float) -> pl.DataFrame:
    """Offered load in each bucket of time, for the fleet, each GPU kind and each tenant."""
    first_s = float(log.frame["submit_s"][0])
    buckets = max(1, math.ceil(log.span_s / bucket_s))
    edges_s = np.minimum(first_s + np.arange(buckets + 1) * bucket_s, first_s + log.span_s)
    return pl.concat(_load_of(group, edges_s) for group in _groups(log))


def _totals(log: _Log) -> pl.DataFrame:
    """Offered load over the whole span, with the jobs, the widest and the longest of each group."""
    first_s = float(log.frame["submit_s"][0])
    edges_s = np.array([first_s, first_s + log.span_s])
    return pl.concat(
        _load_of(group, edges_s).with_columns(
            jobs=pl.lit(group.jobs.height, pl.Int64),
            widest_gpus=pl.lit(group.jobs["gpus"].max(), pl.Int64),
            longest_s=pl.lit(group.jobs["duration_s"].max()),
        )
        for group in _groups(log)
    )


def _groups(log: _Log) -> Iterator[_Group]:
    """The jobs that share a capacity: all, those of a GPU kind, those of a tenant."""
    fleet = log.fleet or Fleet({}, {}, None)
    yield _Group("fleet", None, log.frame, fleet.total or None)
    of_a_kind = log.frame.filter(pl.col("gpu_kind").is_not_null())
    for (kind,), jobs in of_a_kind.group_by("gpu_kind", maintain_order=True):
        yield _Group("gpu_kind", str(kind), jobs, fleet.gpus.get(str(kind)))
    for (tenant,), jobs in log.frame.group_by("tenant", maintain_order=True):
        yield _Group("tenant", str(tenant), jobs, fleet.partitions.get(str(tenant)))


def _load_of(group: _Group, edges_s: Times) -> pl.DataFrame:
    """Work that arrives, and work that would run if all started at once, between each two edges."""
    place = np.searchsorted(edges_s[1:-1], group.jobs["submit_s"].to_numpy(), side="right")
    arriving = np.bincount(place, weights=group.jobs["gpu_s"].to_numpy(), minlength=len(edges_s) - 1)
    width_s = np.diff(edges_s)
    capacity = pl.col("capacity_gpus") * pl.Series(width_s)
    return pl.DataFrame(
        {
            "scope": [group.scope] * len(width_s),
            "name": pl.Series([group.name] * len(width_s), dtype=pl.String),
            "from_s": edges_s[:-1],
            "to_s": edges_s[1:],
            "arriving_gpu_s": arriving,
            "demand_gpu_s": np.diff(_demand_until(group.jobs, edges_s)),
            "capacity_gpus": pl.Series([group.gpus] * len(width_s), dtype=pl.Int64),
        }
    ).with_columns(
        arriving_load=pl.when(capacity > 0).then(pl.col("arriving_gpu_s") / capacity),
        demand_load=pl.when(capacity > 0).then(pl.col("demand_gpu_s") / capacity),
    )


def _demand_until(jobs: pl.DataFrame, moments_s: Times) -> Times:
    """GPU-seconds that jobs have used by each moment if every job starts when it is submitted.

    A job that holds g GPUs from a to b has used g (t - a) - g (t - b) by a time t after both.
    """
    gpus = jobs["gpus"].to_numpy().astype(np.float64)
    submit_s = jobs["submit_s"].to_numpy()
    return _ramps(submit_s, gpus, moments_s) - _ramps(
        submit_s + jobs["duration_s"].to_numpy(), gpus, moments_s
    )


def _ramps(from_s: Times, slopes: Times, moments_s: Times) -> Times:
    """The sum of slope x (t - from) over all ramps that began before each moment t."""
    order = np.argsort(from_s, kind="stable")
    begun = np.searchsorted(from_s[order], moments_s, side="right")
    slope = np.concatenate(([0.0], np.cumsum(slopes[order])))[begun]
    offset = np.concatenate(([0.0], np.cumsum(slopes[order] * from_s[order])))[begun]
    return slope * moments_s - offset


def _findings(log: _Log, load: pl.DataFrame, totals: pl.DataFrame) -> list[Finding]:
    """All that was found, the most severe first."""
    found = [
        *_overloads(load, totals),
        *_misfits(log),
        *_contradictions(log),
        *_repeats(log),
        *_oddities(log),
        *_gaps(log),
        *_strange_times(log),
    ]
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))


def _about(log: _Log, name: str, severity: Severity, where: pl.Expr, explanation: str) -> Iterator[Finding]:
    """A finding about the jobs that meet a condition, if there are any."""
    touched = log.frame.filter(where.fill_null(value=False))
    if touched.height:
        yield Finding(
            name,
            severity,
            touched.height,
            explanation,
            jobs_share=touched.height / log.frame.height,
            gpu_time_share=float(touched["gpu_s"].sum()) / log.gpu_s if log.gpu_s else 0.0,
            lines=tuple(touched["line"].head(SHOWN_LINES)),
        )


def _overloads(load: pl.DataFrame, totals: pl.DataFrame) -> Iterator[Finding]:
    """Groups whose jobs bring more work than their GPUs can do, over the whole span and in parts of it."""
    for total in totals.filter(pl.col("arriving_load").is_not_null()).iter_rows(named=True):
        who = total["name"] or "the fleet"
        same = pl.col("scope").eq(total["scope"]) & pl.col("name").eq_missing(
            pl.lit(total["name"], pl.String)
        )
        buckets = load.filter(same)
        over = _full(buckets).filter(pl.col("arriving_load") > 1)
        whole = total["arriving_load"] > 1
        if not whole and over.is_empty():
            continue
        worst = max([*_full(buckets)["arriving_load"], total["arriving_load"]])
        consequence = "the queue grows to the end" if whole else "the queue grows then, and drains later"
        gpus = words.count(total["capacity_gpus"], "GPU")
        verdict = (
            f"{_scope(total['scope'])}{who} is offered {words.percent(total['arriving_load'])} of its {gpus} "
            f"over the whole log and {words.percent(worst)} at most"
        )
        yield Finding(
            "offered load above 1" if whole else "offered load above 1 for a time",
            "warning" if whole else "note",
            over.height,
            f"{verdict}: {consequence}",
            unit="times",
            time_share=_width_s(over) / _width_s(buckets),
        )


def _full(buckets: pl.DataFrame) -> pl.DataFrame:
    """The buckets of full width: the load of a short last one is noise."""
    width_s = buckets["to_s"] - buckets["from_s"]
    return buckets.filter(width_s > width_s[0] / 2)


def _width_s(buckets: pl.DataFrame) -> float:
    """Seconds in all of the buckets together."""
    return float(buckets.select((pl.col("to_s") - pl.col("from_s")).sum()).item())


def _scope(scope: str) -> str:
    return {"fleet": "", "gpu_kind": "GPU kind ", "tenant": "virtual cluster "}[scope]


def _misfits(log: _Log) -> Iterator[Finding]:
    """Jobs that this fleet can never start."""
    fleet = log.fleet
    if fleet is None:
        return
    gpus = pl.col("gpus")
    yield from _about(
        log,
        "wider than the fleet",
        "warning",
        gpus > fleet.total,
        f"more than the {words.count(fleet.total, 'GPU')} of the fleet: rejected in a run",
    )
    walls = pl.col("tenant").replace_strict(dict(fleet.partitions), default=None, return_dtype=pl.Int64)
    yield from _about(
        log,
        "wider than their virtual cluster",
        "warning",
        gpus > walls,
        "more GPUs than the virtual cluster has: rejected in a run",
    )
    kinds = {kind: count for kind, count in fleet.gpus.items() if kind is not None}
    if kinds and None not in fleet.gpus:
        of_kind = pl.col("gpu_kind").replace_strict(kinds, default=0, return_dtype=pl.Int64)
        named = pl.col("gpu_kind").is_not_null()
        yield from _about(
            log,
            "GPU kind not in the fleet",
            "warning",
            named & (of_kind == 0),
            "no pool has the GPU kind that is asked for: rejected in a run",
        )
        yield from _about(
            log,
            "wider than their GPU kind",
            "warning",
            named & (of_kind > 0) & (gpus > of_kind),
            "more GPUs of a kind than the fleet has: rejected in a run",
        )
    if fleet.partitions:
        yield from _about(
            log,
            "tenant without a virtual cluster",
            "note",
            ~pl.col("tenant").is_in(list(fleet.partitions)),
            "virtual clusters are given, but none for every tenant",
        )


def _contradictions(log: _Log) -> Iterator[Finding]:
    """Jobs whose own columns cannot all be true."""
    start, end = pl.col("start_s"), pl.col("end_s")
    conditions: list[tuple[str, pl.Expr, str]] = [
        ("end before start", end < start, "in the log the end is earlier than the start"),
        (
            "start before submission",
            start < pl.col("submit_s"),
            "in the log the start is earlier than the submission",
        ),
        (
            "longer than from start to end",
            (end >= start) & (pl.col("duration_s") > end - start + ROUNDING_S),
            "in the log the run time is longer than from the start to the end",
        ),
        (
            "longer than their limit",
            pl.col("duration_s") > pl.col("estimate_s"),
            "longer than the limit that the user gave; schedulers allow a short grace, not more",
        ),
        ("more nodes than GPUs", pl.col("nodes") > pl.col("gpus"), "some nodes would hold no GPU"),
    ]
    if log.fleet is not None and log.fleet.gpus_per_node is not None:
        most = pl.col("nodes") * log.fleet.gpus_per_node
        why = f"more than {words.count(log.fleet.gpus_per_node, 'GPU')} on each node that is asked for"
        conditions.append(("too few nodes for their GPUs", most < pl.col("gpus"), why))
    for name, where, explanation in conditions:
        yield from _about(log, name, "warning", where, explanation)


def _repeats(log: _Log) -> Iterator[Finding]:
    """Ids that name several jobs, and jobs that are the same in all but the id."""
    base = pl.col("job_id").str.replace(r"#\d+$", "")
    again = (pl.col("job_id") != base) & base.is_duplicated()
    yield from _about(
        log, "repeated id", "warning", again, "another job has the same id: called id#2, id#3 and so on"
    )
    same = pl.struct("submit_s", "duration_s", "gpus", "tenant", "gpu_kind", "nodes")
    yield from _about(
        log,
        "identical jobs",
        "note",
        ~same.is_first_distinct(),
        "another job has the same submission time, duration, GPUs and tenant: a sweep, or rows written twice",
    )


def _oddities(log: _Log) -> Iterator[Finding]:
    """Jobs that are possible and still worth knowing about."""
    yield from _about(
        log,
        "zero duration",
        "note",
        pl.col("duration_s") == 0,
        "start and end at once, without any GPU time",
    )
    yield from _about(
        log,
        "part of a GPU",
        "note",
        pl.col("gpus") != pl.col("gpu_fraction"),
        "part of a GPU is asked for, and whole ones are held here",
    )
    yield from _about(
        log,
        "longer than the log",
        "note",
        (pl.col("duration_s") > log.span_s) & (log.span_s > 0),
        "longer than the time from the first submission to the last",
    )


def _gaps(log: _Log) -> Iterator[Finding]:
    """Times without any submission: a holiday, an outage, or rows that are missing."""
    between_s = log.frame["submit_s"].diff().drop_nulls()
    long_s = between_s.filter(between_s >= log.gap_s)
    if len(long_s):
        longest_s = float(long_s.max())  # type: ignore[arg-type]
        yield Finding(
            "gaps",
            "note",
            len(long_s),
            f"nothing is submitted for {units.human_duration(log.gap_s)} or more; the longest gap lasts "
            f"{units.human_duration(longest_s)}. An outage, or missing rows?",
            unit="gaps",
            time_share=float(long_s.sum()) / log.span_s,
        )


def _strange_times(log: _Log) -> Iterator[Finding]:
    """Clocks that look wrong: one instant with very many jobs, a clock in whole minutes, jobs years apart."""
    busiest = log.frame["submit_s"].value_counts(sort=True).row(0, named=True)
    if busiest["count"] >= max(FEWEST_AT_ONCE, SHARE_AT_ONCE * log.frame.height):
        yield from _about(
            log,
            "many jobs at one instant",
            "note",
            pl.col("submit_s") == busiest["submit_s"],
            "submitted at the very same moment: a batch, or a default where the time was unknown",
        )
    for step_s, name in ((3600, "hours"), (60, "minutes")):
        if log.span_s > 0 and bool((log.frame["submit_s"] % step_s == 0).all()):
            why = f"all submissions are whole {name} apart: bursts are coarser than they were"
            yield Finding("coarse clock", "note", log.frame.height, why)
            break
    if log.span_s > LONGEST_LOG_S:
        why = f"the log spans {units.human_duration(log.span_s)}: a wrong unit, or a time that was not set?"
        yield Finding("implausibly long span", "warning", log.frame.height, why)


def _sentences(found: TraceCheck) -> Iterator[str]:
    """The opening of the report."""
    out = found.rows - found.jobs
    of_all = f"of {found.rows:,} rows"
    left_out = words.count(out, f"{of_all} was", f"{of_all} were") if out else "no row was"
    yield (
        f"{words.count(found.jobs, 'GPU job')} in {units.human_duration(found.span_s)} "
        f"{'asks' if found.jobs == 1 else 'ask'} for {words.gpu_hours(found.gpu_s / 3600)}; "
        f"{left_out} left out{_reasons(found.left_out)}."
    )
    if found.span_s > 0:
        yield f"That is the work of {words.in_unit(found.gpu_s / found.span_s, 'GPUs')} busy all the time."
    if found.offered_load is not None and found.capacity_gpus is not None:
        verdict = "more than it can do" if found.offered_load > 1 else "within what it can do"
        offer = f"{words.percent(found.offered_load)} of its capacity: {verdict}"
        yield f"A fleet of {words.count(found.capacity_gpus, 'GPU')} is offered {offer}."
    for finding in found.findings:
        if finding.severity != "note":
            yield f"{finding.name[0].upper()}{finding.name[1:]}: {_extent(finding)}: {finding.explanation}."
    if not any(finding.severity != "note" for finding in found.findings):
        yield "Nothing in the log contradicts itself."


def _extent(finding: Finding) -> str:
    """How much of the log a finding touches, in words."""
    shares = [
        f"{words.percent(share)} of {what}"
        for share, what in (
            (finding.jobs_share, "the jobs"),
            (finding.gpu_time_share, "their GPU time"),
            (finding.time_share, "the time"),
        )
        if share is not None
    ]
    return finding.extent + (f" ({', '.join(shares)})" if shares else "")


def _reasons(left_out: Mapping[str, int]) -> str:
    """Why rows were left out, each reason with its number."""
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in left_out.items())
    return f": {reasons}" if reasons else ""
