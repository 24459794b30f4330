"""Several runs side by side: their metrics, who is best, and what happened to each job.

When two runs met the same arrivals, every job is its own control: the difference of a job between the runs
owes nothing to the luck of the draw. Neighbouring jobs still wait for one another, so the interval of the
mean difference goes through batch means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import polars as pl
from rich.console import Console
from rich.text import Text

from sim import words
from sim.errors import PlanError
from sim.grids import grid
from sim.reports import figures, html, svg
from sim.reports.facts import Facts, Metric
from sim.reports.svg import Markup, element, joined
from sim.statistics import BATCHES, Interval, batch_means

if TYPE_CHECKING:
    from sim.results import Results

SHOWN = {
    "offered_load": "offered load",
    "occupancy": "occupancy",
    "utilisation": "utilisation",
    "wait_mean_s": "mean wait",
    "wait_p50_s": "median wait",
    "wait_p95_s": "95 % waited at most",
    "wait_p99_s": "99 % waited at most",
    "jct_mean_s": "mean completion time",
    "jct_p95_s": "95 % completed within",
    "bounded_slowdown_mean": "mean bounded slowdown",
    "makespan_s": "makespan",
    "goodput_gpu_h": "work done",
    "lost_preemption_gpu_h": "lost to preemption",
    "lost_time_limit_gpu_h": "lost at time limits",
    "restart_gpu_h": "spent on restarts",
    "lost_failure_gpu_h": "lost to failures",
    "checkpoint_gpu_h": "spent on checkpoints",
    "contention_gpu_h": "lost waiting for network and stores",
    "stalled_gpu_h": "waited or hung",
    "down_gpu_h": "out of service",
    "interruptions": "interruptions by failures",
    "effective_time": "time that was work",
    "power_peak_kw": "peak power of nodes",
    "energy_mwh": "energy of the building",
    "cost_per_useful_gpu_h": "cost of a useful GPU h",
    "preemptions": "preemptions",
    "jain_fairness": "Jain's fairness index",
    "finish_time_fairness_max": "worst finish-time fairness",
    "jobs_done": "jobs done",
    "jobs_timed_out": "jobs stopped at a time limit",
    "jobs_censored": "jobs not finished",
    "jobs_rejected": "jobs rejected",
}
"""Metrics of the comparison, with what a reader calls them."""

_RANKED_BY = ("jct_mean_s", "wait_mean_s")
_SAME_WORK = 0.99
"""Runs that did less than this share of the most work are not ranked: short times are no merit of theirs."""
_UNDONE = {
    "jobs_timed_out": "stopped at a time limit",
    "jobs_censored": "not finished",
    "jobs_rejected": "rejected",
}
_SAME_S = 1e-6
"""Completion times closer than this are the same."""


@dataclass(frozen=True, slots=True)
class Paired:
    """What happened to each job in one run, against the first run."""

    name: str
    against: str
    jobs: int
    """Jobs that ended in both."""
    better: float
    """Share of them that completed sooner."""
    worse: float
    mean_s: float
    """Mean difference of the completion times; negative is sooner."""
    interval: Interval | None
    """Of the mean difference; None where there are too few jobs for one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several runs by name, in the order given; differences are against the first."""

    names: tuple[str, ...]
    metrics: Mapping[str, tuple[Metric | None, ...]]
    """Metric by name: its value in each run. Only metrics that at least two runs have."""
    ranked_by: str
    ranking: tuple[str, ...]
    """Runs from best to worst: those that did as much work as any."""
    less_work: tuple[str, ...]
    """Runs that did more than 1 % less work than the run that did most."""
    paired: tuple[Paired, ...]
    different_arrivals: tuple[str, ...]
    """Runs whose arrivals differ from those of the first, so that their jobs cannot be paired."""


def compare(runs: Mapping[str, Results]) -> Comparison:
    """Set runs side by side.

    Raises PlanError if there are fewer than two, or if they have no metric in common.
    """
    if len(runs) < 2:  # noqa: PLR2004 - one run has nothing beside it
        raise PlanError("a comparison needs at least two runs")
    facts = {name: Facts(results) for name, results in runs.items()}
    metrics = {name: tuple(each.metric(name) for each in facts.values()) for name in SHOWN}
    metrics = {
        name: values for name, values in metrics.items() if sum(value is not None for value in values) > 1
    }
    if not metrics:
        raise PlanError(
            f"{words.listed(list(runs))} have no metric in common, so there is nothing to compare"
        )
    less_work = _less_work(tuple(runs), metrics)
    ranked_by, ranking = _ranking(tuple(runs), metrics)
    (first, base), *others = facts.items()
    different = tuple(name for name, each in others if not same_arrivals(base, each))
    return Comparison(
        names=tuple(runs),
        metrics=metrics,
        ranked_by=ranked_by,
        ranking=tuple(name for name in ranking if name not in less_work),
        less_work=less_work,
        paired=tuple(_paired(first, base, name, each) for name, each in others if name not in different),
        different_arrivals=different,
    )


def _ranking(
    names: Sequence[str], metrics: Mapping[str, Sequence[Metric | None]]
) -> tuple[str, tuple[str, ...]]:
    """Runs from best to worst by the mean completion time, or by the wait where nothing completed."""
    for by in _RANKED_BY:
        values = dict(zip(names, metrics.get(by, ()), strict=False))
        known = {name: metric.value for name, metric in values.items() if metric is not None}
        if len(known) == len(names):
            return by, tuple(sorted(known, key=lambda name: known[name]))
    return "", ()


def _less_work(names: Sequence[str], metrics: Mapping[str, Sequence[Metric | None]]) -> tuple[str, ...]:
    """Runs whose kept GPU time is clearly below the most that any run kept."""
    done = {
        name: metric.value
        for name, metric in zip(names, metrics.get("goodput_gpu_h", ()), strict=False)
        if metric is not None
    }
    most = max(done.values(), default=0.0)
    return tuple(name for name, gpu_h in done.items() if gpu_h < _SAME_WORK * most)


def same_arrivals(first: Facts, second: Facts) -> bool:
    """Whether two runs were given the same jobs at the same times."""
    columns = ["job_id", "submit_s", "duration_s", "gpus", "tenant"]
    return first.tables["jobs"].select(columns).equals(second.tables["jobs"].select(columns))


def _paired(against: str, base: Facts, name: str, other: Facts) -> Paired:
    """Differences of the completion times of the jobs that ended in both runs, in order of submission."""
    start_s = max(base.start_s, other.start_s)
    both = pl.DataFrame(
        {
            "submit_s": base.tables["jobs"]["submit_s"],
            "first_s": base.tables["jobs"]["jct_s"],
            "second_s": other.tables["jobs"]["jct_s"],
        }
    ).filter(pl.col("submit_s") >= start_s)
    difference = both.drop_nulls().select((pl.col("second_s") - pl.col("first_s")).alias("s"))["s"]
    jobs = len(difference)
    return Paired(
        name=name,
        against=against,
        jobs=jobs,
        better=float((difference < -_SAME_S).sum()) / max(jobs, 1),
        worse=float((difference > _SAME_S).sum()) / max(jobs, 1),
        mean_s=float(difference.sum()) / max(jobs, 1),
        interval=batch_means(difference.to_numpy()) if jobs >= 2 * BATCHES else None,
    )


def sentences(comparison: Comparison) -> list[str]:
    """Which run is best and by how much, and whether that is more than chance."""
    said = (
        [_best(comparison)]
        if comparison.ranking
        else ["No run has completed a job, so the runs cannot be ranked."]
    )
    said += _undone(comparison)
    said += [_difference(paired) for paired in comparison.paired]
    said += _cut_off(comparison)
    if comparison.different_arrivals:
        names = words.listed(comparison.different_arrivals)
        were = "was" if len(comparison.different_arrivals) == 1 else "were"
        said.append(
            f"{names} {were} given other jobs than {comparison.names[0]}: the metrics stand "
            "side by side, but part of the difference is the jobs and not the fleet or the policy."
        )
    return said


def _cut_off(comparison: Comparison) -> list[str]:
    """A mean over finished jobs flatters a run in which the long ones did not finish; say so."""
    values = comparison.metrics.get("jobs_censored", ())
    cut = [(name, metric.value) for name, metric in zip(comparison.names, values, strict=False) if metric]
    if not any(number for _, number in cut):
        return []
    numbers = words.listed([f"{number:,.0f} in {name}" for name, number in cut])
    return [f"Jobs not finished when their run ended ({numbers}) have no completion time and are not in it."]


def _best(comparison: Comparison) -> str:
    by = dict(zip(comparison.names, comparison.metrics[comparison.ranked_by], strict=True))
    best, *others = comparison.ranking
    value, what = by[best], SHOWN[comparison.ranked_by]
    assert value is not None  # noqa: S101 - a ranking has values only
    if not others:
        return f"{best} did the most work, so no run is ranked beside it."
    last = by[others[-1]]
    assert last is not None  # noqa: S101 - as above
    if value.value == last.value:
        runs = f"{words.listed(comparison.ranking)} have" if comparison.less_work else "All runs have"
        return f"{runs} the same {what}, {value.said()}."
    others_said = words.listed([f"{name} ({_said(by[name])})" for name in others])
    return f"{best} has the shortest {what}, {value.said()}, before {others_said}."


def _undone(comparison: Comparison) -> list[str]:
    """Which runs did less work than the one that did most, by how much, and which jobs that may be."""
    done = {
        name: metric.value
        for name, metric in zip(comparison.names, comparison.metrics.get("goodput_gpu_h", ()), strict=False)
        if metric is not None
    }
    if not comparison.less_work:
        return []
    most = max(done, key=lambda name: done[name])
    said = []
    for name in comparison.less_work:
        less = words.percent(1.0 - done[name] / done[most])
        amounts = f"{words.gpu_hours(done[name])} and not {words.gpu_hours(done[most])}"
        more = _more_undone(comparison, name, most)
        jobs = f"; {more}" if more else ""
        said.append(
            f"{name} did {less} less work than {most} ({amounts}{jobs}), so its times are not ranked."
        )
    return said


def _more_undone(comparison: Comparison, name: str, most: str) -> str:
    """Jobs that one run left undone beyond those of another, by what became of them."""
    here, there = comparison.names.index(name), comparison.names.index(most)
    counts = {
        what: (values[here], values[there])
        for metric, what in _UNDONE.items()
        if (values := comparison.metrics.get(metric))
    }
    more = [
        f"{words.in_unit(mine.value, 'jobs')} {what}, not {words.significant(other.value)}"
        for what, (mine, other) in counts.items()
        if mine is not None and other is not None and mine.value > other.value
    ]
    return words.listed(more)


def _said(metric: Metric | None) -> str:
    return "no value" if metric is None else metric.said()


def _difference(paired: Paired) -> str:
    """What changing from the first run to this one did to the jobs."""
    pair = f"With {paired.name} instead of {paired.against}"
    if paired.jobs == 0:
        return f"{pair}, no job ended in both runs, so nothing can be paired."
    jobs = words.count(paired.jobs, "job")
    if paired.better == paired.worse == 0.0:
        return f"{pair}, each of the {jobs} that ended in both completed at the same time."
    better, worse = words.percent(paired.better), words.percent(paired.worse)
    shares = f"{better} of the {jobs} that ended in both completed sooner and {worse} later"
    change = "sooner" if paired.mean_s < 0.0 else "later"
    mean = f"the mean job {words.duration(abs(paired.mean_s))} {change}"
    if paired.interval is None:
        return f"{pair}, {shares}; {mean}, of too few jobs for an interval."
    low, high = sorted((paired.interval.low, paired.interval.high))
    interval = f"95 % interval of the difference {_signed(low)} to {_signed(high)}"
    unclear = ", so chance alone could explain it" if 0.0 in paired.interval else ""
    return f"{pair}, {shares}; {mean} ({interval}{unclear})."


def _signed(seconds: float) -> str:
    """A difference with its sign.

    >>> _signed(90.0), _signed(-90.0)
    ('+1 min 30 s', '-1 min 30 s')
    """
    return f"+{words.duration(seconds)}" if seconds > 0.0 else words.duration(seconds)


def render(comparison: Comparison, out: Console) -> None:
    """Print the comparison: the answer, the metrics, the jobs."""
    first, *rest = sentences(comparison)
    out.print(Text(first, style="bold"))
    for sentence in rest:
        out.print(Text(sentence))
    out.print()
    rows = [(SHOWN[name], *(_cell(value) for value in values)) for name, values in _telling(comparison)]
    out.print(grid("Runs side by side", ("metric", *comparison.names), rows))
    if comparison.paired:
        out.print()
        columns = (
            f"against {comparison.names[0]}",
            "jobs",
            "sooner",
            "later",
            "mean difference",
            "95 % interval",
        )
        out.print(grid("The same jobs", columns, [_paired_row(paired) for paired in comparison.paired]))


def _telling(comparison: Comparison) -> list[tuple[str, tuple[Metric | None, ...]]]:
    """Metrics that say something: what is 0 in every run is left out."""
    return [
        (name, values)
        for name, values in comparison.metrics.items()
        if any(value is not None and value.value for value in values)
    ]


def _cell(metric: Metric | None) -> str:
    return "-" if metric is None else metric.said().replace("95 % interval ", "")


def _paired_row(paired: Paired) -> tuple[str, ...]:
    interval = paired.interval
    return (
        paired.name,
        words.count(paired.jobs),
        words.percent(paired.better),
        words.percent(paired.worse),
        _signed(paired.mean_s),
        "-" if interval is None else f"{_signed(interval.low)} to {_signed(interval.high)}",
    )


def render_html(comparison: Comparison, out: TextIO) -> None:
    """Write the comparison as one self-contained page."""
    first, *rest = sentences(comparison)
    body = joined(
        [
            element("p", "Comparison of runs", class_="over"),
            element("h1", words.listed(comparison.names)),
            element("p", html.unbroken(first), class_="lead"),
            element("div", *(element("p", html.unbroken(sentence)) for sentence in rest), class_="told"),
            _metric_bars(comparison),
            _paired_table(comparison),
        ]
    )
    html.write_page(f"{words.listed(comparison.names)}: comparison", body, out)


def _metric_bars(comparison: Comparison) -> Markup:
    """Every metric of every run, with a bar as long as its value against the largest of the row."""
    rows = []
    for name, values in _telling(comparison):
        most = max((abs(value.value) for value in values if value is not None), default=0.0)
        cells = [_bar_cell(value, most) for value in values]
        rows.append((SHOWN[name], *cells))
    columns = {"metric": "name"} | dict.fromkeys(comparison.names, "compared")
    caption = "In each row the longest bar is the largest value; whether large is good depends on the metric."
    return figures.captioned("Runs side by side", caption, figures.table(columns, rows))


def _bar_cell(metric: Metric | None, most: float) -> Markup:
    if metric is None:
        return element("span", "-")
    length = abs(metric.value) / most if most else 0.0
    bar = element(
        "svg",
        element("rect", x="0", y="0", width=svg.share(length), height="100%", class_="kept"),
        class_="bar",
        width="100%",
        height=6,
        aria_hidden="true",
    )
    return joined([element("span", _cell(metric)), bar])


def _paired_table(comparison: Comparison) -> Markup:
    if not comparison.paired:
        return Markup("")
    columns = {
        f"against {comparison.names[0]}": "name",
        "jobs": "n",
        "sooner": "n",
        "later": "n",
        "mean difference": "n",
        "95 % interval": "n",
    }
    caption = "Completion time of each job that ended in both runs; negative: sooner than in the first run."
    rows = [_paired_row(paired) for paired in comparison.paired]
    return figures.captioned("The same jobs", caption, figures.table(columns, rows))
