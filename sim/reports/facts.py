"""What a run's tables say, ready to be worded or drawn; every report reads a run through this file.

Nothing is simulated and nothing is guessed: a number is a metric of the summary where there is one (it then
may carry an interval over replications), and otherwise a sum over the tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sim import units, words
from sim.log import CAUSES
from sim.metrics import SIZE_CLASSES, size_class

if TYPE_CHECKING:
    from sim.results import Results

CAUSE_NAMES: Mapping[str, str] = {
    "capacity": "too few GPUs free",
    "fragmentation": "enough GPUs free, but scattered",
    "quota": "the tenant's quota was used up",
    "order": "the order of the queue",
    "preemption": "requeued after a preemption or a failure",
}

CAUSE_MEANINGS: Mapping[str, str] = {
    "capacity": "fewer GPUs were free than the job needs",
    "fragmentation": "enough GPUs were free, but not on nodes where the job could use them together",
    "quota": "the tenant already held all the GPUs it may hold",
    "order": "the free GPUs would do, but the queue's order or a reservation kept them for another job",
    "preemption": "the job had been running, lost its GPUs to another or to a failure, and was queued again",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of the summary, with its interval when the run was replicated."""

    name: str
    value: float
    unit: str
    interval: tuple[float, float] | None = None

    def said(self) -> str:
        """The value with its unit, and the interval where there is one.

        >>> Metric("occupancy", 0.62, "fraction", (0.6, 0.64)).said()
        '62 % (95 % interval 60 % to 64 %)'
        """
        value = words.in_unit(self.value, self.unit)
        if self.interval is None:
            return value
        low, high = (words.in_unit(end, self.unit) for end in self.interval)
        return f"{value} (95 % interval {low} to {high})"


class Facts:
    """One run: its jobs after the warm-up, its fleet, its metrics by name, and its causes of waiting."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.scenario = results.scenario
        self.tables: Mapping[str, pl.DataFrame] = results.tables
        self.metrics = _metrics(results.summary)

    def metric(self, name: str, *, tenant: str | None = None, size_class: str | None = None) -> Metric | None:
        """A number of the summary, or None where the run has none (no job finished, no job of that size)."""
        return self.metrics.get((name, tenant, size_class))

    def value(self, name: str, *, tenant: str | None = None, size_class: str | None = None) -> float:
        """A number of the summary; 0 where there is none, which is right for counts and sums only."""
        metric = self.metric(name, tenant=tenant, size_class=size_class)
        return 0.0 if metric is None else metric.value

    def links(self, most: int) -> list[tuple[str, float, float, float]]:
        """What jobs shared, with most lost on it first: name, bytes a second, use, GPU hours lost."""
        table = self.tables.get("links")
        if table is None:
            return []
        shown = table.filter((pl.col("lost_gpu_h") > 0) | (pl.col("carried_bytes") > 0)).sort(
            ["lost_gpu_h", "utilisation", "name"], descending=[True, True, False]
        )
        rows = shown.head(most).select("name", "bytes_per_s", "utilisation", "lost_gpu_h").rows()
        return [(name, rate, used or 0.0, lost) for name, rate, used, lost in rows]

    @cached_property
    def contention(self) -> dict[str, float]:
        """GPU hours lost by kind of what jobs waited for, the most first."""
        found: dict[str, float] = {}
        for name, _, _, lost in self.links(len(self.tables.get("links", ()))):
            if lost > 0.0:
                kind = _kind_of_link(name)
                found[kind] = found.get(kind, 0.0) + lost
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def link_rows(self, most: int) -> list[tuple[str, ...]]:
        """The same as text."""
        return [
            (
                name,
                carries(name, rate),
                words.percent(used),
                words.significant(lost),
            )
            for name, rate, used, lost in self.links(most)
        ]

    @cached_property
    def failures(self) -> list[tuple[str, ...]]:
        """By component, most frequent first: failures, nodes taken, mean time away, jobs hit; as text."""
        outages = self.tables.get("outages")
        if outages is None or outages.is_empty():
            return []
        outages = outages.filter(pl.col("to_s") >= self.start_s)
        strikes = outages.group_by("component", "from_s").agg(
            pl.len().alias("nodes"),
            pl.col("jobs_hit").max(),
            (pl.col("to_s") - pl.col("from_s")).mean().alias("away_s"),
        )
        by_component = strikes.group_by("component").agg(
            pl.len().alias("failures"),
            pl.col("nodes").sum(),
            pl.col("away_s").mean(),
            pl.col("jobs_hit").sum(),
        )
        return [
            (name, words.count(failures), words.count(nodes), words.duration(away_s), words.count(hit))
            for name, failures, nodes, away_s, hit in by_component.sort(
                ["failures", "component"], descending=[True, False]
            ).rows()
        ]

    @cached_property
    def start_s(self) -> float:
        """When measuring starts: the end of the warm-up."""
        return float(self.results.summary["window"]["from_s"])

    @cached_property
    def end_s(self) -> float:
        """When the run ended."""
        return max(self.start_s, float(self.results.summary["window"]["until_s"]))

    @cached_property
    def jobs(self) -> pl.DataFrame:
        """Jobs that count: submitted after the warm-up."""
        return self.tables["jobs"].filter(pl.col("submit_s") >= self.start_s)

    @cached_property
    def accepted(self) -> pl.DataFrame:
        """Jobs that could start at all."""
        return self.jobs.filter(pl.col("status") != "rejected")

    @cached_property
    def gpus(self) -> int:
        """GPUs of the whole fleet."""
        return int(self.tables["nodes"]["gpus"].sum())

    @cached_property
    def nodes(self) -> int:
        """Nodes of the whole fleet."""
        return len(self.tables["nodes"])

    @cached_property
    def capacity_gpu_h(self) -> float:
        """GPU time that the fleet had while it was measured."""
        return self.gpus * (self.end_s - self.start_s) / 3600.0

    @cached_property
    def tenants(self) -> tuple[str, ...]:
        """Tenants that submitted jobs, in the order of their names."""
        return tuple(sorted(self.jobs["tenant"].unique().to_list()))

    @cached_property
    def size_classes(self) -> tuple[str, ...]:
        """Classes of job sizes, smallest first."""
        found = {size for _, _, size in self.metrics if size is not None}
        return tuple(size for size in SIZE_CLASSES if size in found)

    @cached_property
    def size_class_of_jobs(self) -> pl.Series:
        """The size class of every accepted job."""
        names = np.array(list(SIZE_CLASSES))
        return pl.Series("size_class", names[size_class(self.accepted["gpus"].to_numpy())], dtype=pl.String)

    @cached_property
    def timeline(self) -> pl.DataFrame:
        """Allocated GPUs and queue of the whole fleet: one row per change."""
        timeline = self.tables["timeline"]
        return (
            timeline.filter(pl.col("virtual_cluster").is_null())
            if "virtual_cluster" in timeline.columns
            else timeline
        )

    @cached_property
    def waited_s(self) -> float:
        """Seconds that all jobs waited together."""
        return float(self.accepted["wait_s"].sum())

    @cached_property
    def causes(self) -> dict[str, float]:
        """Share of all waiting by cause, largest first; empty when nobody waited."""
        if self.waited_s == 0.0:
            return {}
        totals = {cause: float(self.accepted[f"wait_{cause}_s"].sum()) / self.waited_s for cause in CAUSES}
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    @cached_property
    def cause_shares(self) -> dict[str, Metric]:
        """Share of all waiting by cause as the summary has it, over all replications; the largest first."""
        found = {cause: self.metric(f"cause_{cause}_share") for cause in CAUSES}
        shares = {
            cause: metric for cause, metric in found.items() if metric is not None and metric.value > 0.0
        }
        return dict(sorted(shares.items(), key=lambda item: -item[1].value))

    @cached_property
    def replicated(self) -> bool:
        """Whether the metrics are means of several runs, while the tables are those of the first."""
        return len(self.results.seeds) > 1

    @cached_property
    def started_at_once(self) -> float:
        """Share of the accepted jobs that never waited."""
        return float((self.accepted["wait_s"] == 0.0).sum()) / max(len(self.accepted), 1)

    @cached_property
    def rejections(self) -> list[tuple[str, int]]:
        """Reasons for which jobs were rejected, with their numbers, most frequent first."""
        rejected = self.jobs.filter(pl.col("status") == "rejected").select(
            pl.col("reason").fill_null("no reason given")
        )
        counted = rejected.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
        return [(str(reason), int(number)) for reason, number in counted.rows()]

    def with_status(self, *statuses: str) -> int:
        """How many counted jobs ended in one of these states."""
        return int(self.jobs["status"].is_in(statuses).sum())

    @cached_property
    def left_out(self) -> Mapping[str, int]:
        """Rows of the workload that were never submitted, by reason."""
        return dict(self.results.arrivals.left_out)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Remarks of the readers and of the run."""
        said = [*self.results.arrivals.notes, *self.results.notes, *self.results.summary["notes"]]
        return tuple(dict.fromkeys(str(note) for note in said))

    @cached_property
    def objectives(self) -> tuple[Mapping[str, Any], ...]:
        """Objectives of the scenario with what was reached."""
        return tuple(self.results.summary["objectives"])


def _metrics(summary: Mapping[str, Any]) -> dict[tuple[str, str | None, str | None], Metric]:
    """The summary's metrics by name, tenant and size class; a metric without a value is left out."""
    found = {}
    for row in summary["metrics"]:
        if row["value"] is None:
            continue
        interval = _interval(row)
        found[row["name"], row["tenant"], row["size_class"]] = Metric(
            row["name"], float(row["value"]), str(row["unit"]), interval
        )
    return found


def _interval(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """An interval without what cannot be: below 0, and above 1 for shares of a whole."""
    if row["interval"] is None:
        return None
    most = 1.0 if row["unit"] == "fraction" and row["name"] != "offered_load" else math.inf
    low, high = (min(most, max(0.0, end)) for end in row["interval"])
    return low, high


def _kind_of_link(name: str) -> str:
    """What a link or store is one of, as the subject of a sentence about many."""
    first, _, last = name.rpartition(" ")
    if last in ("up", "down"):
        return _WAYS_UP.get(first.partition(" ")[0], f"the way above {first}")
    if first.startswith("group ") or name.startswith("stores to group"):
        return "the links between groups"
    if " to " in name:
        return f"the link from {name}"
    if name.startswith("power "):
        return name if name in ("power of the hall", "power cap of GPUs") else "power of racks"
    if last == "requests":
        return f"requests to {first}"
    if last in ("reading", "writing"):
        way, (where, _, store) = ("from" if last == "reading" else "to"), first.rpartition(" ")
        return f"{last} {way} {store}{' in nodes' if where else ''}"
    kinds = {
        "in": "the network cards of nodes", "out": "the network cards of nodes",
        "scale-up": "the links inside scale-up domains",
    }  # fmt: skip
    return kinds.get(last, "what a store gives one node")


_WAYS_UP = {
    "leaf": "the ways between leaves and spine", "rails": "the ways between rails and spine",
    "pod": "the ways between pods and core",
}  # fmt: skip


def carries(name: str, rate: float) -> str:
    """What a resource gives in a second, in its own unit."""
    if not rate:
        return "-"
    if name.startswith("power of"):
        return f"{words.significant(rate / 1e3)} kW"
    if name.endswith(" requests"):
        return f"{rate:,.0f}/s"
    return f"{units.human_size(rate)}/s"
