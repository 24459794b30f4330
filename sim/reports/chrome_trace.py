"""The run as a timeline for Perfetto or chrome://tracing: what ran on which node, and the queue above it.

The format is the Trace Event Format of Chromium's tracing (JSON object form, times in microseconds). A node
is a process of the viewer; jobs that share a node at one time lie on separate lanes (threads) of it, because
slices of one thread must nest. The file is written as it is made and is bounded: a trace of a million slices
is of no use to a viewer.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import polars as pl

from sim.reports.facts import Facts
from sim.tables import node_by_node

if TYPE_CHECKING:
    from sim.results import Results

MOST_EVENTS = 100_000
"""Slices, and counter samples, that a viewer still opens with ease."""

_MICROSECONDS = 1e6
_FLEET_PROCESS = 1
_FIRST_NODE = 2


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the run that is written."""

    start_s: float
    end_s: float
    cut: bool


def render(
    results: Results,
    out: TextIO,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    most_events: int = MOST_EVENTS,
) -> None:
    """Write the runs that touch `[start_s, end_s)`; the metadata tells what `most_events` cut."""
    facts = Facts(results)
    slices = _slices(facts)
    window = _window(facts, slices, start_s, facts.end_s if end_s is None else end_s, most_events)
    out.write('{"displayTimeUnit":"ms","otherData":')
    out.write(json.dumps(_metadata(facts, window, slices), allow_nan=False))
    out.write(',"traceEvents":[\n')
    lines = (
        json.dumps(event, separators=(",", ":"), allow_nan=False) for event in _events(facts, slices, window)
    )
    out.write(next(lines))
    out.writelines(",\n" + line for line in lines)
    out.write("\n]}\n")


def _slices(facts: Facts) -> pl.DataFrame:
    """One row per run and node, or nodes in a row, by start: who held how many GPUs there, when."""
    tables = facts.tables
    places = tables["nodes"].select("node").with_row_index("node_place")
    return (
        tables["placements"]
        .rename({"gpus": "node_gpus"})
        .join(
            tables["runs"].select("job_id", "run", "start_s", "end_s", "gpus", "outcome"),
            on=["job_id", "run"],
        )
        .join(tables["jobs"].select("job_id", "tenant"), on="job_id")
        .join(places, on="node")
        .sort("start_s", "end_s", "node_place", "job_id", maintain_order=True)
    )


def _window(facts: Facts, slices: pl.DataFrame, start_s: float, end_s: float, most: int) -> Window:
    """The span wanted, ended early where the events in it become too many."""
    wanted = slices.filter((pl.col("start_s") < end_s) & (pl.col("end_s") >= start_s))
    times = facts.timeline.filter(pl.col("time_s").is_between(start_s, end_s, closed="left"))["time_s"]
    too_late = wanted.filter(pl.col("nodes").cum_sum() > most)["start_s"]
    ends = [float(column[at]) for column, at in ((too_late, 0), (times, most)) if len(column) > at]
    return Window(start_s, min([end_s, *ends]), cut=bool(ends))


def _metadata(facts: Facts, window: Window, slices: pl.DataFrame) -> dict[str, Any]:
    said = {
        "scenario": str(facts.scenario.name),
        "seed": facts.scenario.seed,
        "from_s": window.start_s,
        "to_s": window.end_s,
        "slices_of_the_whole_run": int(slices["nodes"].sum()),
    }
    return (
        said | {"cut": f"ends at {window.end_s} s of {facts.end_s} s to keep the file small"}
        if window.cut
        else said
    )


def _events(facts: Facts, slices: pl.DataFrame, window: Window) -> Iterator[dict[str, Any]]:
    yield _named("process_name", _FLEET_PROCESS, 0, "fleet")
    yield {
        "ph": "M",
        "name": "process_sort_index",
        "pid": _FLEET_PROCESS,
        "tid": 0,
        "args": {"sort_index": 0},
    }
    nodes = facts.tables["nodes"]["node"].to_list()
    for place, node in enumerate(nodes):
        yield _named("process_name", _FIRST_NODE + place, 0, str(node))
        yield {
            "ph": "M",
            "name": "process_sort_index",
            "pid": _FIRST_NODE + place,
            "tid": 0,
            "args": {"sort_index": 1 + place},
        }
    yield from _counters(facts, window)
    shown = slices.filter((pl.col("start_s") < window.end_s) & (pl.col("end_s") >= window.start_s))
    at, further = node_by_node(shown["nodes"].to_numpy())
    each = shown[at].with_columns(pl.col("node_place") + pl.Series(further))
    yield from _run_slices(each, len(nodes))


def _named(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def _counters(facts: Facts, window: Window) -> Iterator[dict[str, Any]]:
    """Allocated GPUs and the length of the queue, one sample per change."""
    inside = pl.col("time_s").is_between(window.start_s, window.end_s, closed="left")
    changes = facts.timeline.filter(inside).select("time_s", "gpus_allocated", "jobs_queued", "gpus_queued")
    for time_s, allocated, jobs, gpus in changes.iter_rows():
        at = {"ph": "C", "pid": _FLEET_PROCESS, "tid": 0, "ts": _us(time_s)}
        yield at | {"name": "GPUs allocated", "args": {"GPUs": allocated}}
        yield at | {"name": "queue", "args": {"jobs": jobs}}
        yield at | {"name": "GPUs asked for by the queue", "args": {"GPUs": gpus}}


def _run_slices(slices: pl.DataFrame, nodes: int) -> Iterator[dict[str, Any]]:
    """One slice per run and node, on the first lane of the node that is free by then."""
    free: list[list[int]] = [[] for _ in range(nodes)]
    ending: list[list[tuple[float, int]]] = [[] for _ in range(nodes)]
    lanes = [0] * nodes
    for row in slices.iter_rows(named=True):
        node, start_s, end_s = row["node_place"], row["start_s"], row["end_s"]
        while ending[node] and ending[node][0][0] <= start_s:
            heapq.heappush(free[node], heapq.heappop(ending[node])[1])
        if not free[node]:
            lanes[node] += 1
            heapq.heappush(free[node], lanes[node])
        lane = heapq.heappop(free[node])
        heapq.heappush(ending[node], (end_s, lane))
        yield {
            "ph": "X",
            "name": str(row["job_id"]),
            "cat": str(row["tenant"]),
            "pid": _FIRST_NODE + node,
            "tid": lane,
            "ts": _us(start_s),
            "dur": _us(end_s) - _us(start_s),
            "args": {
                "tenant": str(row["tenant"]),
                "GPUs here": row["node_gpus"],
                "GPUs": row["gpus"],
                "run": row["run"],
                "outcome": str(row["outcome"]),
            },
        }


def _us(seconds: float) -> int:
    return round(seconds * _MICROSECONDS)
