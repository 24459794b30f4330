"""The capacity report for a terminal or a pipe: the answer in sentences, then the tables behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim import words
from sim.grids import grid
from sim.reports.answer import sentences
from sim.reports.facts import CAUSE_NAMES, Facts, Metric
from sim.reports.objective import objective_text

if TYPE_CHECKING:
    from sim.results import Results

_NONE = "-"
_MOST_TENANTS = 20
_MOST_REASONS = 10


def render(results: Results, out: Console) -> None:
    """Print the report of one run; without colour and line by line where `out` is no terminal."""
    facts = Facts(results)
    first, *rest = sentences(results)
    out.print(Text(first, style="bold"))
    for sentence in rest:
        out.print(Text(sentence))
    for made in (
        _fleet(facts),
        _tenants(facts),
        _sizes(facts),
        _causes(facts),
        _links(facts),
        _failures(facts),
        _objectives(facts),
        _left_out(facts),
    ):
        if made is not None:
            out.print()
            out.print(made)


def _fleet(facts: Facts) -> Table:
    """What there was, by pool, and how much of it was used."""
    nodes = facts.tables["nodes"]
    pools = nodes.group_by("pool", maintain_order=True).agg(
        pl.col("gpu").first(), pl.len(), pl.col("gpus").sum()
    )
    used = (
        facts.tables["placements"]
        .join(facts.tables["runs"].select("job_id", "run", "start_s", "end_s"), on=["job_id", "run"])
        .join(nodes.select("node", "pool"), on="node")
        .with_columns(
            (pl.col("end_s") - pl.col("start_s").clip(lower_bound=facts.start_s))
            .clip(lower_bound=0.0)
            .alias("held_s")
        )
        .group_by("pool")
        .agg((pl.col("held_s") * pl.col("gpus") * pl.col("nodes")).sum().alias("gpu_s"))
    )
    held = dict(used.select("pool", "gpu_s").iter_rows())
    span_s = facts.end_s - facts.start_s
    rows = [
        (
            str(pool),
            "not stated" if gpu is None else str(gpu),
            words.count(number),
            words.count(gpus),
            words.percent(held.get(pool, 0.0) / (gpus * span_s)) if span_s else _NONE,
        )
        for pool, gpu, number, gpus in pools.rows()
    ]
    return grid("Fleet", ("pool", "GPU", "nodes", "GPUs", "allocated"), rows, texts=2)


def _said(metric: Metric | None) -> str:
    """A metric for a cell; the interval is given as a half-width where it is even enough to be one."""
    if metric is None:
        return _NONE
    if metric.interval is None:
        return words.in_unit(metric.value, metric.unit)
    low, high = metric.interval
    return f"{words.in_unit(metric.value, metric.unit)} ± {words.in_unit((high - low) / 2.0, metric.unit)}"


_WAIT_COLUMNS = ("jobs", "mean wait", "median", "95 %", "99 %", "mean JCT")


def _wait_row(
    facts: Facts, jobs: int, *, tenant: str | None = None, size_class: str | None = None
) -> list[str]:
    names = ("wait_mean_s", "wait_p50_s", "wait_p95_s", "wait_p99_s", "jct_mean_s")
    return [
        words.count(jobs),
        *(_said(facts.metric(name, tenant=tenant, size_class=size_class)) for name in names),
    ]


def _tenants(facts: Facts) -> Table | None:
    """Who waited, tenant by tenant, those with most jobs first."""
    counted = facts.accepted.group_by("tenant").len().sort(["len", "tenant"], descending=[True, False]).rows()
    if len(counted) <= 1:
        return None
    rows = [[name, *_wait_row(facts, jobs, tenant=name)] for name, jobs in counted[:_MOST_TENANTS]]
    if len(counted) > _MOST_TENANTS:
        rows.append([f"and {len(counted) - _MOST_TENANTS} more", *[""] * len(_WAIT_COLUMNS)])
    return grid("Tenants", ("tenant", *_WAIT_COLUMNS), rows)


def _sizes(facts: Facts) -> Table:
    """Who waited, by GPUs of the job."""
    jobs = dict(facts.size_class_of_jobs.value_counts().iter_rows())
    rows = [["all", *_wait_row(facts, len(facts.accepted))]]
    rows += [[size, *_wait_row(facts, jobs.get(size, 0), size_class=size)] for size in facts.size_classes]
    return grid("Waits by size", ("size", *_WAIT_COLUMNS), rows)


def _causes(facts: Facts) -> Table | None:
    """Why jobs waited."""
    if not facts.causes:
        return None
    rows = [
        (CAUSE_NAMES[cause], words.percent(share), words.significant(share * facts.waited_s / 3600.0))
        for cause, share in facts.causes.items()
        if share > 0.0
    ]
    return grid("Causes of waiting", ("cause", "share", "job h"), rows)


def _links(facts: Facts, most: int = 8) -> Table | None:
    """Where jobs waited for network and stores."""
    columns = ("what jobs shared", "carries", "in use", "GPU h lost on it")
    return grid("Network and stores", columns, facts.link_rows(most)) if facts.links(1) else None


def _failures(facts: Facts) -> Table | None:
    """What failed, how often, and what that did."""
    columns = ("component", "failures", "nodes", "mean time away", "jobs hit")
    return grid("What failed", columns, facts.failures) if facts.failures else None


def _objectives(facts: Facts) -> Table | None:
    """What was wanted and what was reached."""
    if not facts.objectives:
        return None
    rows = [
        ("met" if objective["met"] else "MISSED", objective_text(objective)) for objective in facts.objectives
    ]
    return grid("Objectives", ("", "objective"), rows, texts=2)


def _left_out(facts: Facts) -> Table | None:
    """What is not in the numbers, and why."""
    rows = [(reason, words.count(number)) for reason, number in facts.left_out.items() if number]
    rejected = facts.rejections
    rows += [(f"rejected: {reason}", words.count(number)) for reason, number in rejected[:_MOST_REASONS]]
    if len(rejected) > _MOST_REASONS:
        others = sum(number for _, number in rejected[_MOST_REASONS:])
        rows.append((f"rejected for {len(rejected) - _MOST_REASONS} other reasons", words.count(others)))
    warm_up = len(facts.tables["jobs"]) - len(facts.jobs)
    if warm_up:
        rows.append((f"submitted in the warm-up of {words.duration(facts.start_s)}", words.count(warm_up)))
    rows += [(note, "") for note in facts.notes]
    return grid("Left out, and notes", ("what", "number"), rows) if rows else None
