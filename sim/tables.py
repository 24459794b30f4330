"""From the facts of a run to its tables: jobs, runs, placements, waits, nodes and the timeline.

Tables are for people and for reports: names instead of row numbers, words instead of codes, empty cells where
there is nothing. Whatever cannot be true of a run is found here: a second that no cause accounts for, a job
that was lost, a GPU that was held twice. Such a thing is our bug and stops the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sim import metrics
from sim.cluster import Placement, WholeNodes, spans_of
from sim.log import CAUSES, RUN_COLUMNS, WAIT_COLUMNS, Log, Outcome
from sim.metrics import Integers, Jobs, Pieces, Stays, Steps
from sim.statistics import Floats

Tables: TypeAlias = dict[str, pl.DataFrame]
_Number = TypeVar("_Number", np.int64, np.float64)

NODES: Mapping[str, type[pl.DataType]] = {
    "node": pl.String,
    "pool": pl.String,
    "gpu": pl.String,
    "gpus": pl.Int64,
    "rack": pl.String,
    "virtual_cluster": pl.String,
}
"""The nodes of the fleet, in the order of their indexes in placements; `virtual_cluster` is empty for shared
ones."""

OUTCOMES = ("done", "preempted", "timed_out", "censored", "failed")
"""How a run ended, by the number of its `Outcome`."""

_RELATIVE = 1e-9
_CLOCK = 1e-12
"""Share of the clock's reading that a sum of differences of times may be off."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The log of a run as arrays, in order of the jobs, with what each job came to."""

    stays: Stays
    stay_job: Integers
    outcome: Integers
    pieces: Pieces
    piece_stay: Integers
    """The stay of each piece; pieces are in order of their stays."""
    wait_job: Integers
    waits: NDArray[np.float64]
    """One row per wait: from, to, and the five causes."""
    still_queued: Integers
    jobs: Jobs
    first_start_s: Floats
    reasons: Mapping[int, str]
    """Why jobs were rejected, by row."""
    submitted: NDArray[np.bool_]
    """Which rows of the arrivals came before the end of the run."""
    end_s: float


def facts(arrivals: pl.DataFrame, log: Log) -> Facts:
    """The log as arrays; AssertionError if it contradicts itself or the arrivals."""
    gpus = arrivals["gpus"].to_numpy()
    stay_job, outcome, numbers, placements = _runs(log)
    start_s, end_s, work_s, lost_s, restart_s, checkpoint_s, stalled_s = numbers
    reasons = dict(log.rejections)
    wait_job, waits, still_queued = _waits(log)
    status = _status(len(arrivals), stay_job, outcome, reasons)
    stays = Stays(
        start_s, end_s, work_s, lost_s, restart_s, checkpoint_s, stalled_s, gpus[stay_job],
        status[stay_job] == metrics.TIMED_OUT, outcome == Outcome.FAILED,
    )  # fmt: skip
    pieces, piece_stay = _pieces(stays, placements)
    jobs = _jobs(arrivals, status, stays, (stay_job, outcome), (wait_job, waits))
    first_start_s = np.full(gpus.size, np.inf)
    np.minimum.at(first_start_s, stay_job, start_s)
    first_start_s[np.isinf(first_start_s)] = np.nan
    untouched = (
        (status == metrics.QUEUED) & (jobs.wait_s == 0.0) & (jobs.run_s == 0.0) & np.isnan(first_start_s)
    )
    submitted = ~(untouched & (jobs.submit_s >= log.end_s))
    found = Facts(
        stays, stay_job, outcome, pieces, piece_stay, wait_job, waits, still_queued, jobs, first_start_s,
        reasons, submitted, log.end_s,
    )  # fmt: skip
    check(found)
    return found


def _runs(log: Log) -> tuple[Integers, Integers, NDArray[np.float64], list[Placement]]:
    """Job, outcome, numbers and placement of stays, by job, then by time."""
    job, outcome = (_column(log.runs, RUN_COLUMNS, name, np.int64) for name in ("job", "outcome"))
    names = ("start_s", "end_s", "work_s", "lost_s", "restart_s", "checkpoint_s", "stalled_s")
    numbers = np.array([_column(log.runs, RUN_COLUMNS, name, np.float64) for name in names])
    order = np.lexsort((numbers[1], numbers[0], job))
    place = RUN_COLUMNS.index("placement")
    return job[order], outcome[order], numbers[:, order], [log.runs[row][place] for row in order.tolist()]


def _waits(log: Log) -> tuple[Integers, NDArray[np.float64], Integers]:
    """Job, (from, to, causes) and whether it is still queued, of waits, by job, then by time."""
    job, still_queued = (_column(log.waits, WAIT_COLUMNS, name, np.int64) for name in ("job", "still_queued"))
    names = ("from_s", "to_s", *(f"{cause}_s" for cause in CAUSES))
    numbers = np.array([_column(log.waits, WAIT_COLUMNS, name, np.float64) for name in names])
    order = np.lexsort((numbers[0], job))
    return job[order], numbers[:, order].T, still_queued[order]


def _column(
    rows: Sequence[Sequence[Any]], names: Sequence[str], name: str, kind: type[_Number]
) -> NDArray[_Number]:
    """One column of the log, read straight into an array: a million rows make no million objects."""
    return np.fromiter(map(itemgetter(names.index(name)), rows), dtype=kind, count=len(rows))


def _status(jobs: int, stay_job: Integers, outcome: Integers, reasons: Mapping[int, str]) -> Integers:
    """How each job stood at the end: as its last stay ended, queued if it had none."""
    after = np.array([metrics.DONE, metrics.QUEUED, metrics.TIMED_OUT, metrics.RUNNING, metrics.QUEUED])
    status = np.full(jobs, metrics.QUEUED)
    last = np.append(stay_job[1:] != stay_job[:-1], True) if stay_job.size else np.zeros(0, dtype=np.bool_)
    status[stay_job[last]] = after[outcome[last]]
    status[np.array(list(reasons), dtype=np.int64)] = metrics.REJECTED
    return status


def _pieces(stays: Stays, placements: list[Placement]) -> tuple[Pieces, Integers]:
    """GPUs by stay and node, and the stay of each."""
    wide = {at: each for at, each in enumerate(placements) if isinstance(each, WholeNodes)}
    owner, first, end = spans_of(list(wide.values()))
    lengths = (0 if at in wide else len(each) for at, each in enumerate(placements))
    sizes = np.fromiter(lengths, dtype=np.int64, count=len(placements))
    rows = np.array(list(wide), dtype=np.int64)
    sizes[rows] = np.bincount(owner, minlength=rows.size)
    pairs = [pair for each in placements if not isinstance(each, WholeNodes) for pair in each]
    stay = np.repeat(np.arange(sizes.size), sizes)
    node, gpus = (np.empty(stay.size, dtype=np.int64) for _ in range(2))
    nodes = np.ones(stay.size, dtype=np.int64)
    is_wide = np.zeros(len(placements), dtype=np.bool_)
    is_wide[rows] = True
    alone = ~is_wide[stay]
    node[alone], gpus[alone] = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    if wide:
        node[~alone], nodes[~alone] = first, end - first
        gpus[~alone] = np.array([each.gpus_per_node for each in wide.values()])[owner]
    return Pieces(node, nodes, gpus, stays.start_s[stay], stays.end_s[stay]), stay


def node_by_node(nodes: Integers) -> tuple[Integers, Integers]:
    """For pieces of so many nodes: the piece of each node, and how far on from its first node it is.

    >>> [each.tolist() for each in node_by_node(np.array([1, 3]))]
    [[0, 1, 1, 1], [0, 0, 1, 2]]
    """
    piece = np.repeat(np.arange(nodes.size), nodes)
    begins = np.cumsum(nodes) - nodes
    return piece, np.arange(piece.size) - begins[piece]


def _jobs(
    arrivals: pl.DataFrame,
    status: Integers,
    stays: Stays,
    runs: tuple[Integers, Integers],
    waits: tuple[Integers, NDArray[np.float64]],
) -> Jobs:
    """What each job came to, in the order of the arrivals; its fairness is not known yet."""
    (stay_job, outcome), (wait_job, spans) = runs, waits
    count = status.size
    ended = (outcome == Outcome.DONE) | (outcome == Outcome.TIMED_OUT)
    end_s = np.full(count, np.nan)
    end_s[stay_job[ended]] = stays.end_s[ended]
    causes_s = [np.bincount(wait_job, spans[:, column], count) for column in range(2, 2 + len(CAUSES))]
    return Jobs(
        submit_s=arrivals["submit_s"].to_numpy(),
        end_s=end_s,
        duration_s=arrivals["duration_s"].to_numpy(),
        gpus=arrivals["gpus"].to_numpy(),
        status=status,
        wait_s=np.bincount(wait_job, spans[:, 1] - spans[:, 0], count).astype(np.float64),
        run_s=np.bincount(stay_job, stays.end_s - stays.start_s, count).astype(np.float64),
        causes_s=np.array(causes_s, dtype=np.float64).T,
        preemptions=np.bincount(stay_job[outcome == Outcome.PREEMPTED], minlength=count).astype(np.int64),
        fairness=np.full(count, np.nan),
    )


def check(found: Facts) -> None:
    """What every run conserves: seconds of waits, of stays, of lives and of work, and the width of gangs."""
    stays, jobs = found.stays, found.jobs
    slack_s = _CLOCK * max(1.0, found.end_s)
    waited_s = found.waits[:, 1] - found.waits[:, 0]
    _equal("causes of wait", found.waits[:, 2:].sum(axis=1), waited_s, slack_s)
    uses_s = stays.work_s + stays.lost_s + stays.restart_s + stays.checkpoint_s + stays.stalled_s
    _equal("uses of a stay", uses_s, stays.end_s - stays.start_s, slack_s)
    slacks_s = slack_s * (1.0 + np.bincount(found.stay_job, minlength=jobs.status.size))
    worked_s = np.bincount(found.stay_job, stays.work_s, jobs.status.size)
    _equal("work of done jobs", worked_s, np.where(jobs.done, jobs.duration_s, worked_s), slacks_s)
    present_s = jobs.wait_s + jobs.run_s
    life_s = np.where(np.isnan(jobs.end_s), found.end_s, jobs.end_s) - jobs.submit_s
    lived = found.submitted & (jobs.status != metrics.REJECTED)
    _equal("lives of jobs", present_s, np.where(lived, life_s, present_s), slacks_s)
    held = np.bincount(found.piece_stay, found.pieces.gpus * found.pieces.nodes, stays.gpus.size)
    _equal("GPUs of a gang", held, stays.gpus, 0.0)


def _equal(what: str, found: NDArray[Any], expected: NDArray[Any], slack: NDArray[Any] | float) -> None:
    wrong = np.flatnonzero(np.abs(found - expected) > _RELATIVE * np.abs(expected) + slack)
    if wrong.size:
        row = int(wrong[0])
        raise AssertionError(
            f"{what}: {found[row]} instead of {expected[row]} in row {row}, {wrong.size} in all"
        )


def steps(found: Facts) -> Steps:
    """The whole fleet over time, from 0 to the end of the run."""
    stays, waiting = found.stays, found.waits
    return _steps(
        (stays.start_s, stays.end_s, stays.gpus, found.outcome == Outcome.CENSORED),
        (waiting[:, 0], waiting[:, 1], found.jobs.gpus[found.wait_job], found.still_queued == 1),
        found.end_s,
    )


_Spans: TypeAlias = tuple[Floats, Floats, Integers, NDArray[np.bool_]]
"""Intervals with their GPUs, and which of them go on past the end of the run."""


def _steps(running: _Spans, queued: _Spans, end_s: float) -> Steps:
    """Levels at each moment of change; a span that goes on is still there at the end."""
    edges: list[NDArray[np.float64]] = [np.array([0.0, end_s])]
    changes: list[NDArray[np.int64]] = [np.zeros((2, 4), dtype=np.int64)]
    for place, (from_s, to_s, gpus, goes_on) in enumerate((running, queued)):
        change = np.zeros((from_s.size, 4), dtype=np.int64)
        change[:, place] = gpus
        change[:, 2 + place] = 1
        edges += [from_s, to_s[~goes_on]]
        changes += [change, -change[~goes_on]]
    times, at = np.unique(np.concatenate(edges), return_inverse=True)
    change = np.concatenate(changes)
    levels = [
        np.cumsum(np.bincount(at, change[:, column], times.size).astype(np.int64)) for column in range(4)
    ]
    moved = np.append(True, np.any([np.diff(level) != 0 for level in levels], axis=0))
    moved[-1] = True
    held, waiting, running_jobs, queued_jobs = (level[moved] for level in levels)
    return Steps(times[moved], held, running_jobs, queued_jobs, waiting)


def build(
    arrivals: pl.DataFrame, found: Facts, fleet: Steps, nodes: pl.DataFrame, clusters: Mapping[str, str]
) -> Tables:
    """All tables of a run. `fleet` are its `steps`; `clusters` has the virtual cluster of tenants in one."""
    ids = arrivals["job_id"]
    visit = _visit(found.stay_job)
    return {
        "jobs": _jobs_table(arrivals, found, nodes["node"]),
        "runs": _runs_table(ids, found, visit),
        "placements": pl.DataFrame(
            {
                "job_id": ids.gather(found.stay_job[found.piece_stay]),
                "run": visit[found.piece_stay],
                "node": nodes["node"].gather(found.pieces.node),
                "nodes": found.pieces.nodes,
                "gpus": found.pieces.gpus,
            }
        ),
        "waits": pl.DataFrame(
            {
                "job_id": ids.gather(found.wait_job),
                "from_s": found.waits[:, 0],
                "to_s": found.waits[:, 1],
                **{f"{cause}_s": found.waits[:, 2 + place] for place, cause in enumerate(CAUSES)},
                "still_queued": found.still_queued,
            }
        ),
        "nodes": nodes,
        "timeline": pl.concat(
            [_level_rows(fleet, None), *_cluster_rows(arrivals, found, nodes, clusters)]
        ).rechunk(),
    }


def outages(log: Log, names: pl.Series) -> pl.DataFrame:
    """Nodes that something failed on or that were taken out, in order of time."""
    rows = sorted(
        (from_s, node, min(to_s, log.end_s), what, hit) for node, from_s, to_s, what, hit in log.outages
    )
    rows = [row for row in rows if row[0] < log.end_s]
    return pl.DataFrame(
        {
            "node": names.gather([row[1] for row in rows]),
            "from_s": pl.Series([row[0] for row in rows], dtype=pl.Float64),
            "to_s": pl.Series([row[2] for row in rows], dtype=pl.Float64),
            "component": pl.Series([row[3] for row in rows], dtype=pl.String),
            "jobs_hit": pl.Series([row[4] for row in rows], dtype=pl.Int64),
        }
    )


def links(log: Log) -> pl.DataFrame:
    """What jobs shared: cards, leaves and stores, with what they carried and what jobs lost on them."""
    names, rates, carried, lost_gpu_s = zip(*log.links, strict=True) if log.links else ((), (), (), ())
    table = pl.DataFrame(
        {
            "name": pl.Series(names, dtype=pl.String),
            "bytes_per_s": pl.Series(rates, dtype=pl.Float64),
            "carried_bytes": pl.Series(carried, dtype=pl.Float64),
            "lost_gpu_h": pl.Series(lost_gpu_s, dtype=pl.Float64) / metrics.GPU_H,
        }
    )
    most = pl.col("bytes_per_s") * log.end_s
    return table.with_columns(
        utilisation=pl.when(most > 0).then(pl.col("carried_bytes") / most).otherwise(None)
    )


def with_stalls(jobs: pl.DataFrame, log: Log, submitted: NDArray[np.bool_]) -> pl.DataFrame:
    """The table of jobs with the seconds that each lost by going slower than it could, by what held it up."""
    lost_s = np.zeros((len(submitted), 3))
    for row, seconds in log.stalls.items():
        lost_s[row] = seconds
    of_jobs = lost_s[submitted]
    names = ("network_stall_s", "store_stall_s", "power_stall_s")
    return jobs.with_columns([pl.Series(name, of_jobs[:, at]) for at, name in enumerate(names)])


MOST_METERED = 40
"""Resources whose use over time is kept: those on which most was lost, then the fullest."""


def links_over_time(log: Log, links: pl.DataFrame) -> pl.DataFrame:
    """What was in use of shared ways, stores and power, step by step until each time."""
    kept = links.sort(["lost_gpu_h", "utilisation"], descending=True, nulls_last=True)
    times_s, names, used = zip(*log.metered, strict=True) if log.metered else ((), (), ())
    table = pl.DataFrame(
        {
            "until_s": pl.Series(times_s, dtype=pl.Float64),
            "name": pl.Series(names, dtype=pl.String),
            "used": pl.Series(used, dtype=pl.Float64).clip(0.0, 1.0),
        }
    )
    shared = kept.filter(pl.col("name").is_in(table["name"].unique().implode()))["name"].head(MOST_METERED)
    return table.filter(pl.col("name").is_in(shared.implode()))


def _visit(stay_job: Integers) -> Integers:
    """The number of each stay of a job, from 0."""
    begins = (
        np.flatnonzero(np.append(True, stay_job[1:] != stay_job[:-1]))
        if stay_job.size
        else np.zeros(0, np.int64)
    )
    lengths = np.diff(begins, append=stay_job.size)
    return np.arange(stay_job.size) - np.repeat(begins, lengths)


def _runs_table(ids: pl.Series, found: Facts, visit: Integers) -> pl.DataFrame:
    stays = found.stays
    return pl.DataFrame(
        {
            "job_id": ids.gather(found.stay_job),
            "run": visit,
            "start_s": stays.start_s,
            "end_s": stays.end_s,
            "outcome": pl.Series(OUTCOMES).gather(found.outcome),
            "work_s": stays.work_s,
            "lost_s": stays.lost_s,
            "restart_s": stays.restart_s,
            "gpus": stays.gpus,
            "checkpoint_s": stays.checkpoint_s,
            "stalled_s": stays.stalled_s,
        }
    )


def _jobs_table(arrivals: pl.DataFrame, found: Facts, names: pl.Series) -> pl.DataFrame:
    """One row per submitted job, in order of submission."""
    jobs, count = found.jobs, len(arrivals)
    visits = np.bincount(found.stay_job, minlength=count)
    table = arrivals.select("job_id", "tenant", "kind", "gpus", "submit_s").with_columns(
        start_s=_or_empty(found.first_start_s),
        end_s=_or_empty(jobs.end_s),
        wait_s=jobs.wait_s,
        run_s=jobs.run_s,
        preemptions=jobs.preemptions,
        restarts=np.maximum(visits - 1, 0),
        nodes=_last_nodes(found, names, count),
        status=pl.Series(metrics.STATUSES).gather(jobs.status),
        gpu_kind=arrivals["gpu_kind"],
        duration_s=arrivals["duration_s"],
        jct_s=_or_empty(jobs.jct_s),
        **{f"wait_{cause}_s": jobs.causes_s[:, place] for place, cause in enumerate(CAUSES)},
        lost_s=np.bincount(found.stay_job, found.stays.lost_s, count),
        restart_s=np.bincount(found.stay_job, found.stays.restart_s, count),
        checkpoint_s=np.bincount(found.stay_job, found.stays.checkpoint_s, count),
        stalled_s=np.bincount(found.stay_job, found.stays.stalled_s, count),
        failures=np.bincount(found.stay_job[found.stays.failed], minlength=count),
        reason=pl.Series([None], dtype=pl.String)
        .new_from_index(0, count)
        .scatter(list(found.reasons), list(found.reasons.values())),
    )
    return table.filter(pl.Series(found.submitted))


def _or_empty(seconds: Floats) -> pl.Series:
    return pl.Series(seconds).fill_nan(None)


def _last_nodes(found: Facts, names: pl.Series, count: int) -> pl.Series:
    """The nodes of each job's last stay, separated by blanks; empty text for a job that never ran."""
    last_stay = np.full(count, -1)
    last_stay[found.stay_job] = np.arange(found.stay_job.size)
    job = found.stay_job[found.piece_stay]
    of_last = last_stay[job] == found.piece_stay
    piece, further = node_by_node(found.pieces.nodes[of_last])
    job, node = job[of_last][piece], found.pieces.node[of_last][piece] + further
    wide = np.bincount(job, minlength=count)[job] > 1
    listed = (
        pl.DataFrame({"job": job[wide], "node": names.gather(node[wide])})
        .group_by("job", maintain_order=True)
        .agg(pl.col("node").str.join(" "))
    )
    nodes = pl.Series("nodes", [""]).new_from_index(0, count).scatter(job[~wide], names.gather(node[~wide]))
    return nodes.scatter(listed["job"], listed["node"])


def _cluster_rows(
    arrivals: pl.DataFrame, found: Facts, nodes: pl.DataFrame, clusters: Mapping[str, str]
) -> Iterator[pl.DataFrame]:
    """Levels of each virtual cluster, by name; those of the whole fleet name none."""
    names = nodes["virtual_cluster"].drop_nulls().unique().sort().to_list()
    if not names:
        return
    own = arrivals["tenant"].replace_strict(dict(clusters), default=None, return_dtype=pl.String)
    first_piece = np.searchsorted(found.piece_stay, np.arange(found.stay_job.size))
    ran_in = nodes["virtual_cluster"].gather(found.pieces.node[first_piece])
    waited_in = own.gather(found.wait_job)
    for name in names:
        yield _level_rows(_steps_of(found, ran_in == name, waited_in == name), name)


def _steps_of(found: Facts, ran: pl.Series, waited: pl.Series) -> Steps:
    """The levels of one virtual cluster."""
    here, queued = ran.fill_null(value=False).to_numpy(), waited.fill_null(value=False).to_numpy()
    stays, waits = found.stays, found.waits[queued]
    return _steps(
        (stays.start_s[here], stays.end_s[here], stays.gpus[here], found.outcome[here] == Outcome.CENSORED),
        (waits[:, 0], waits[:, 1], found.jobs.gpus[found.wait_job[queued]], found.still_queued[queued] == 1),
        found.end_s,
    )


def _level_rows(levels: Steps, virtual_cluster: str | None) -> pl.DataFrame:
    rows: dict[str, Any] = {name: getattr(levels, name) for name in Steps.__slots__}
    return pl.DataFrame(rows).with_columns(virtual_cluster=pl.lit(virtual_cluster, dtype=pl.String))
