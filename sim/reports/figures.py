"""The figures of the HTML report: each turns the facts of a run into markup that stretches with the page."""

# ruff: noqa: PLR2004 - a drawing is made of numbers

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from sim import tables, words
from sim.log import CAUSES
from sim.reports import steps, svg
from sim.reports.facts import CAUSE_MEANINGS, CAUSE_NAMES, Facts
from sim.reports.svg import Markup, element, joined

_USES = {
    "goodput_gpu_h": ("work kept", "kept"),
    "lost_preemption_gpu_h": ("work lost to preemption", "lost"),
    "lost_time_limit_gpu_h": ("spent on jobs stopped at their limit", "limit"),
    "restart_gpu_h": ("restarts", "restart"),
    "checkpoint_gpu_h": ("checkpoints", "restart"),
    "lost_failure_gpu_h": ("work lost to failures", "lost"),
    "stalled_gpu_h": ("waited for network and stores, or hung", "limit"),
}
"""What GPU time goes into, by metric: its name, and its class in the style sheet."""

_TIME_COLUMNS = 320
_HOVER_COLUMNS = 80
_HEAT_COLUMNS = 120
_HEAT_ROWS = 64
_HEAT_LEVELS = 8
_CURVE_POINTS = 240
_BROAD, _BROAD_ON_A_PHONE = 0.07, 0.2
"""A piece of a bar narrower than this has no room for its own label."""


def captioned(heading: str, caption: str, *drawing: str) -> Markup:
    """A figure under a heading that says what it shows and a caption that says how to read it."""
    return element("section", element("h2", heading), element("p", caption, class_="caption"), *drawing)


# Where the GPU time went


def gpu_time(facts: Facts) -> Markup:
    """All GPU time of the fleet as one bar: kept work, lost work, restarts, idle."""
    pieces = [(name, hours, class_) for name, hours, class_ in _gpu_time(facts) if hours > 0.0]
    total = sum(hours for _, hours, _ in pieces)
    if total == 0.0:
        return Markup("")
    bar = _stack(
        [
            (name, hours / total, class_, f"{name}: {words.gpu_hours(hours)}, {words.percent(hours / total)}")
            for name, hours, class_ in pieces
        ]
    )
    labels = [
        element(
            "li",
            element("i", class_=f"swatch {class_}"),
            f"{name} ",
            element("b", words.percent(hours / total)),
            element("small", f" {words.gpu_hours(hours)}"),
        )
        for name, hours, class_ in pieces
    ]
    gpus, span = words.count(facts.gpus, "GPU"), words.duration(facts.end_s - facts.start_s)
    caption = f"All {words.gpu_hours(facts.capacity_gpu_h)} that {gpus} had in {span}."
    return captioned("Where the GPU time went", caption, bar, element("ul", *labels, class_="key"))


def _gpu_time(facts: Facts) -> list[tuple[str, float, str]]:
    """GPU hours by use: name, hours, class. Together they are all GPU time there was."""
    spent = [(what, facts.value(name), class_) for name, (what, class_) in _USES.items()]
    return [*spent, ("idle", max(0.0, facts.capacity_gpu_h - sum(hours for _, hours, _ in spent)), "idle")]


def _stack(
    pieces: Sequence[tuple[str, float, str, str]], height: int = 26, *, labelled: bool = False
) -> Markup:
    """Shares of a whole side by side: (name, share, class, tooltip)."""
    drawn, left = [], 0.0
    for _, share, class_, tooltip in pieces:
        drawn.append(
            element(
                "rect",
                element("title", tooltip),
                x=svg.share(left),
                y="0",
                width=svg.share(share),
                height="100%",
                class_=class_,
            )
        )
        if labelled and share >= _BROAD:
            aside = " aside" if share < _BROAD_ON_A_PHONE else ""
            drawn.append(
                element(
                    "text",
                    words.percent(share),
                    x=svg.share(left),
                    y="50%",
                    dx=6,
                    dy=4,
                    class_=f"inside {class_}{aside}",
                )
            )
        left += share
    title = "; ".join(tooltip for *_, tooltip in pieces)
    return element("svg", *drawn, class_="bar", role="img", aria_label=title, width="100%", height=height)


# Occupancy and queue over time


def over_time(facts: Facts) -> Markup:
    """Allocated GPUs and queued jobs on one time axis."""
    timeline, span = facts.timeline, (facts.start_s, facts.end_s)
    if timeline.is_empty() or span[0] >= span[1]:
        return Markup("")
    times = timeline["time_s"].to_numpy()
    columns = min(_TIME_COLUMNS, max(40, len(times)))
    held = steps.columns_of(times, timeline["gpus_allocated"].to_numpy().astype(float), *span, columns)
    queued = steps.columns_of(times, timeline["jobs_queued"].to_numpy().astype(float), *span, columns)
    most = max(2.0, float(queued.high.max()))
    caption = (
        "Line: mean in each column of time. Band: lowest to highest level within the column. "
        f"The fleet has {words.count(facts.gpus, 'GPU')}."
    )
    return captioned(
        "How busy the fleet was, and who queued",
        caption,
        _band(held, svg.capacity_axis(facts.gpus), "GPUs allocated", 190, "busy"),
        _band(queued, svg.linear_axis(most, ticks=3), "jobs in the queue", 110, "queue"),
    )


def _band(columns: steps.Columns, axis: svg.Axis, unit: str, height: int, class_: str) -> Markup:
    """One quantity over time, under its name."""
    time = svg.time_axis(float(columns.edges_s[0]), float(columns.edges_s[-1]))
    across = time.places(columns.edges_s)
    mean = axis.places(columns.mean)
    curve = svg.step_path(across, np.append(mean, mean[-1]))
    shapes = svg.stretched(
        element(
            "path",
            d=svg.band_path(across, axis.places(columns.low), axis.places(columns.high)),
            class_=f"band {class_}",
        ),
        element("path", d=f"{curve}V1000H0Z", class_=f"under {class_}"),
        element("path", d=curve, class_=f"curve {class_}"),
    )
    told = _band_titles(columns, unit)
    drawing = svg.plot(
        shapes,
        svg.level_lines(axis),
        svg.time_marks(time),
        svg.hover(told),
        title=f"{unit} over time",
        height=height,
    )
    return joined([element("h3", unit, class_="unit"), drawing])


def _band_titles(columns: steps.Columns, unit: str) -> list[str]:
    """What a pointer on a column is told: when, and the mean, lowest and highest level."""
    shown = min(_HOVER_COLUMNS, len(columns.mean))
    bounds = np.linspace(0, len(columns.mean), shown + 1).astype(int)
    told = []
    for first, last in pairwise(bounds):
        span = f"from {words.duration(columns.edges_s[first])} to {words.duration(columns.edges_s[last])}"
        mean, low, high = (
            words.significant(float(level))
            for level in (
                columns.mean[first:last].mean(),
                columns.low[first:last].min(),
                columns.high[first:last].max(),
            )
        )
        told.append(f"{span}: {mean} {unit} on average, {low} to {high}")
    return told


# Waits


def wait_by_size(facts: Facts) -> Markup:
    """Median, p95 and p99 of the wait for every class of job sizes, on one logarithmic axis."""
    rows = [size for size in facts.size_classes if facts.metric("wait_p95_s", size_class=size)]
    most = max((facts.value("wait_p99_s", size_class=size) for size in rows), default=0.0)
    if most <= 0.0:
        return Markup("")
    least = min(facts.value("wait_p50_s", size_class=size) for size in rows)
    axis = svg.log_time_axis(max(1.0, least), max(most, 10.0))
    body = [_wait_row(facts, axis, "all jobs", None), *(_wait_row(facts, axis, size, size) for size in rows)]
    marks = element("svg", svg.time_marks(axis, every=2), class_="axis", width="100%", height=20)
    head = element(
        "tr",
        element("th", "size"),
        element("th", marks, class_="plotted"),
        *(
            element("th", name, class_=class_)
            for name, class_ in (("median", "n"), ("95 %", "n"), ("mean", "n aside"))
        ),
    )
    caption = (
        "Dot: half of the jobs waited no longer. Thick end: 95 % waited no longer. Thin end: 99 %. "
        "Logarithmic; what is shorter lies at the left edge."
    )
    return captioned("How long jobs waited, by size", caption, _table(head, body))


def _wait_row(facts: Facts, axis: svg.Axis, name: str, size: str | None) -> Markup:
    middle, high, most, mean = (
        facts.value(f"wait_{what}_s", size_class=size) for what in ("p50", "p95", "p99", "mean")
    )
    at = [svg.share(axis.place(max(value, axis.low))) for value in (middle, high, most)]
    said = [words.duration(value) for value in (middle, high, most)]
    tooltip = f"{name}: median {said[0]}, 95 % within {said[1]}, 99 % within {said[2]}"
    ticks = [svg.share(axis.place(tick)) for tick in axis.ticks]
    drawing = element(
        "svg",
        element("title", tooltip),
        *(element("line", x1=tick, x2=tick, y1="0", y2="100%", class_="grid") for tick in ticks),
        element("line", x1=at[1], x2=at[2], y1="50%", y2="50%", class_="whisker"),
        element("line", x1=at[0], x2=at[1], y1="50%", y2="50%", class_="range"),
        element("circle", cx=at[0], cy="50%", r=5, class_="middle"),
        class_="bar",
        width="100%",
        height=24,
    )
    numbers = (
        element("td", words.duration(value), class_=class_)
        for value, class_ in ((middle, "n"), (high, "n"), (mean, "n aside"))
    )
    return element(
        "tr",
        element("th", name),
        element("td", drawing, class_="plotted"),
        *numbers,
        class_="all" if size is None else "",
    )


def wait_curve(facts: Facts) -> Markup:
    """Share of the jobs that started within a given wait."""
    waits = np.sort(facts.accepted["wait_s"].to_numpy())
    if len(waits) == 0 or waits[-1] <= 0.0:
        return Markup("")
    axis, up = svg.log_time_axis(1.0, max(float(waits[-1]), 10.0)), svg.share_axis()
    spots = np.geomspace(axis.low, axis.high, _CURVE_POINTS)
    shares = np.searchsorted(waits, spots, side="right") / len(waits)
    shape = svg.stretched(element("path", d=svg.step_path(axis.places(spots), shares), class_="curve wait"))
    pointed = np.geomspace(axis.low, axis.high, _HOVER_COLUMNS)
    told = [
        f"{words.percent(float(share))} of jobs waited {words.duration(float(spot))} or less"
        for spot, share in zip(
            pointed, np.searchsorted(waits, pointed, side="right") / len(waits), strict=True
        )
    ]
    drawing = svg.plot(
        shape,
        svg.level_lines(up),
        svg.time_marks(axis),
        _percentiles(facts, axis),
        svg.hover(told),
        title="share of jobs by wait",
        height=240,
    )
    at_once = words.percent(facts.started_at_once)
    caption = f"Share of jobs that waited no longer than the time below. {at_once} started at once."
    return captioned("From the typical wait to the longest", caption, drawing)


def _percentiles(facts: Facts, axis: svg.Axis) -> Markup:
    """Dots on the curve where people ask, each with its wait on the side where a rising curve leaves room."""
    drawn = []
    for level in (50, 90, 99):
        wait = facts.metric(f"wait_p{level}_s")
        if wait is None or wait.value <= axis.low:
            continue
        across, up = axis.place(wait.value), level / 100
        drawn.append(element("circle", cx=svg.share(across), cy=svg.share(1 - up), r=4, class_="middle"))
        left = across > 0.5
        label = f"{level} % within {words.duration(wait.value)}"
        drawn.append(
            svg.word(
                label,
                across,
                up,
                class_="label",
                anchor="end" if left else "start",
                right=-8.0 if left else 8.0,
                down=-6.0 if left else 18.0,
            )
        )
    return joined(drawn)


def causes(facts: Facts) -> Markup:
    """Why jobs waited, for all jobs, by size and by tenant."""
    if not facts.causes:
        return Markup("")
    shown = [cause for cause, share in facts.causes.items() if share > 0.0]
    groups = [
        ("all", "all jobs", facts.accepted),
        *(("", name, jobs) for name, jobs in _by_size(facts)),
        *(("" if order else "group", name, jobs) for order, (name, jobs) in enumerate(_by_tenant(facts))),
    ]
    body = [
        _cause_row(name, jobs, shown, class_) for class_, name, jobs in groups if jobs["wait_s"].sum() > 0
    ]
    key = [
        element(
            "li",
            element("i", class_=f"swatch {cause}"),
            CAUSE_NAMES[cause],
            element("b", f" {words.percent(facts.causes[cause])}"),
            title=CAUSE_MEANINGS[cause],
        )
        for cause in shown
    ]
    head = element(
        "tr",
        element("th", ""),
        element("th", "share of the waiting time", class_="plotted"),
        element("th", "waited, job h", class_="n"),
    )
    caption = "Every second of every wait has one cause; the causes add up to the wait."
    return captioned("Why jobs waited", caption, element("ul", *key, class_="key"), _table(head, body))


def _by_size(facts: Facts) -> list[tuple[str, pl.DataFrame]]:
    classes = facts.size_class_of_jobs
    return [(size, facts.accepted.filter(classes == size)) for size in facts.size_classes]


def _by_tenant(facts: Facts, most: int = 8) -> list[tuple[str, pl.DataFrame]]:
    """The tenants who waited most; one tenant alone says nothing that "all jobs" does not."""
    if len(facts.tenants) < 2:
        return []
    waited = (
        facts.accepted.group_by("tenant")
        .agg(pl.col("wait_s").sum())
        .sort(["wait_s", "tenant"], descending=[True, False])
    )
    return [(name, facts.accepted.filter(pl.col("tenant") == name)) for name in waited["tenant"].head(most)]


def _cause_row(name: str, jobs: pl.DataFrame, shown: Sequence[str], class_: str) -> Markup:
    waited_s = float(jobs["wait_s"].sum())
    totals = {cause: float(jobs[f"wait_{cause}_s"].sum()) for cause in CAUSES}
    pieces = [
        (
            CAUSE_NAMES[cause],
            totals[cause] / waited_s,
            cause,
            f"{name}: {words.percent(totals[cause] / waited_s)} {CAUSE_NAMES[cause]}",
        )
        for cause in shown
        if totals[cause] > 0.0
    ]
    return element(
        "tr",
        element("th", name, title=name),
        element("td", _stack(pieces, 22, labelled=True), class_="plotted"),
        element("td", words.significant(waited_s / 3600.0), class_="n"),
        class_=class_,
    )


# Nodes


def heat_map(facts: Facts) -> Markup:
    """Share of the GPUs allocated, for each node or rack and each span of time."""
    names, row_of_node, gpus = heat_rows(facts.tables["nodes"])
    what = "node" if len(names) == facts.nodes else "group of nodes"
    return _use_over_time(
        facts,
        names,
        row_of_node,
        gpus,
        f"Which nodes were used: {words.count(facts.nodes, 'node')}",
        f"One row per {what}; the stronger the colour, the larger the share of its GPUs allocated.",
    )


def pools_over_time(facts: Facts) -> Markup:
    """Share of the GPUs of each pool allocated over time, where there are several pools."""
    nodes = facts.tables["nodes"]
    pools = nodes.group_by("pool", maintain_order=True).agg(pl.col("gpus").sum()).with_row_index("row")
    if len(pools) < 2:
        return Markup("")
    row_of_node = nodes.join(
        pools.select("pool", pl.col("row").cast(pl.Int64)), on="pool", maintain_order="left"
    )
    return _use_over_time(
        facts,
        [str(name) for name in pools["pool"]],
        row_of_node.select("node", "row"),
        pools["gpus"].to_numpy().astype(np.float64),
        f"How full each pool was: {words.count(len(pools), 'pool')}",
        "One row per pool; the stronger the colour, the larger the share of its GPUs allocated.",
    )


def _use_over_time(
    facts: Facts, names: list[str], row_of_node: pl.DataFrame, gpus: steps.Floats, title: str, caption: str
) -> Markup:
    stays = facts.tables["runs"].select("job_id", "run", "start_s", "end_s")
    held = by_row(facts.tables["placements"], row_of_node).join(
        stays, on=["job_id", "run"], maintain_order="left"
    )
    if held.is_empty() or facts.start_s >= facts.end_s:
        return Markup("")
    cells = steps.held_by_row(held, len(names), facts.start_s, facts.end_s, _HEAT_COLUMNS) / gpus[:, None]
    time = svg.time_axis(facts.start_s, facts.end_s)
    height = max(60, len(names) * (14 if len(names) <= 24 else 8 if len(names) <= 48 else 6))
    drawing = svg.plot(
        svg.stretched(*_heat_paths(cells), width=_HEAT_COLUMNS, height=len(names)),
        _heat_titles(names, cells),
        svg.time_marks(time),
        title="share of GPUs allocated over time",
        height=height,
    )
    scale = [element("i", class_=f"swatch h{level}") for level in range(_HEAT_LEVELS + 1)]
    key = element("p", "idle ", *scale, " all GPUs allocated", class_="scale")
    return captioned(
        title,
        caption,
        key,
        element("div", _heat_labels(names), drawing, class_="heat"),
    )


def by_row(placements: pl.DataFrame, row_of_node: pl.DataFrame) -> pl.DataFrame:
    """GPUs of each stay in each row: nodes in a row of the fleet that a stay holds may lie in several."""
    places = placements.join(row_of_node.with_row_index("place"), on="node", maintain_order="left")
    row_of_place = row_of_node["row"].to_numpy()
    ends = np.append(np.flatnonzero(np.diff(row_of_place)) + 1, len(row_of_place))
    starts = np.append(0, ends[:-1])
    first = places["place"].to_numpy().astype(np.int64)
    last = first + places["nodes"].to_numpy()
    from_stretch = np.searchsorted(ends, first, side="right")
    stretches = np.searchsorted(ends, last, side="left") - from_stretch + 1
    at, further = tables.node_by_node(stretches)
    stretch = from_stretch[at] + further
    nodes = np.minimum(last[at], ends[stretch]) - np.maximum(first[at], starts[stretch])
    return places[at].select(
        "job_id", "run", pl.Series("row", row_of_place[starts[stretch]]), pl.col("gpus") * pl.Series(nodes)
    )


def heat_rows(
    nodes: pl.DataFrame,
) -> tuple[list[str], pl.DataFrame, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """The rows of the heat map: nodes if they are few, else racks, else groups of neighbouring racks.

    Gives the rows' names, a table from `node` to `row`, and the GPUs of each row.
    """
    keyed = nodes.with_row_index("place")
    if len(nodes) > _HEAT_ROWS:
        racks = (
            keyed.group_by("pool", "rack", maintain_order=True)
            .agg(pl.col("place").min().alias("first"))
            .with_row_index("rack_place")
        )
        per_row = math.ceil(len(racks) / _HEAT_ROWS)
        keyed = keyed.join(racks, on=["pool", "rack"], nulls_equal=True, maintain_order="left").with_columns(
            (pl.col("rack_place") // per_row).alias("row")
        )
        first, last = pl.col("rack").first(), pl.col("rack").last()
        rows = (
            keyed.group_by("row")
            .agg(
                first.cast(pl.String).alias("name"), last.cast(pl.String).alias("last"), pl.col("gpus").sum()
            )
            .sort("row")
        )
        rows = rows.with_columns(
            pl.when(pl.col("name") == pl.col("last"))
            .then("name")
            .otherwise(pl.format("{} to {}", "name", "last"))
            .alias("name")
        )
    else:
        keyed = keyed.with_columns(pl.col("place").alias("row"))
        rows = keyed.select("row", pl.col("node").alias("name"), "gpus")
    mapping = keyed.select("node", pl.col("row").cast(pl.Int64))
    return [str(name) for name in rows["name"]], mapping, rows["gpus"].to_numpy().astype(np.float64)


def _heat_paths(cells: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[Markup]:
    """One path per level, with equal neighbours in a row drawn as one."""
    levels = np.ceil(np.clip(cells, 0.0, 1.0) * _HEAT_LEVELS - 1e-6).astype(int)
    found: dict[int, tuple[list[int], list[int], list[int]]] = {
        level: ([], [], []) for level in range(_HEAT_LEVELS + 1)
    }
    for row, line in enumerate(levels):
        starts = np.flatnonzero(np.diff(line, prepend=-1))
        for first, after in pairwise([*starts.tolist(), len(line)]):
            columns, rows, lengths = found[int(line[first])]
            columns.append(first)
            rows.append(row)
            lengths.append(after - first)
    return [
        element("path", d=svg.cells_path(*runs), class_=f"h{level}")
        for level, runs in found.items()
        if runs[0]
    ]


def _heat_titles(names: Sequence[str], cells: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Markup:
    """What a pointer on a row is told."""
    tall = 100.0 / len(names)
    return joined(
        element(
            "rect",
            element("title", f"{name}: {words.percent(float(line.mean()))} of GPU time allocated"),
            class_="hover",
            x="0",
            width="100%",
            y=f"{svg.number(row * tall)}%",
            height=f"{svg.number(tall)}%",
        )
        for row, (name, line) in enumerate(zip(names, cells, strict=True))
    )


def _heat_labels(names: Sequence[str]) -> Markup:
    """Names beside the rows, as many as can be read."""
    every = max(1, math.ceil(len(names) / 24))
    return element("div", *(element("span", name) for name in names[::every]), class_="rows")


# Tables


def _table(head: str, body: Sequence[str]) -> Markup:
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="wide")


def table(columns: Mapping[str, str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table of words and numbers: `columns` maps a heading to its class, `n` for numbers."""
    head = element("tr", *(element("th", name, class_=class_) for name, class_ in columns.items()))
    body = [
        element(
            "tr",
            *(element("td", cell, class_=class_) for cell, class_ in zip(row, columns.values(), strict=True)),
        )
        for row in rows
    ]
    return _table(head, body)


_TENANT_COLUMNS = {
    "tenant": "name",
    "jobs": "n",
    "GPU h used": "n",
    "share": "small",
    "": "n",
    "quota, GPUs": "n",
    "mean wait": "n",
    "95 % within": "n",
    "preempted": "n",
}


def tenants(facts: Facts, most: int = 40) -> Markup:
    """What each tenant got, and how long it waited for it; of very many, those that used most."""
    if len(facts.tenants) < 2:
        return Markup("")
    held = facts.accepted.group_by("tenant").agg(
        pl.len().alias("jobs"),
        (pl.col("run_s") * pl.col("gpus")).sum().alias("gpu_s"),
        pl.col("preemptions").sum(),
    )
    total = float(held["gpu_s"].sum()) or 1.0
    quotas = {tenant.name: tenant.quota for tenant in facts.scenario.tenants if tenant.quota is not None}
    shown = held.sort(["gpu_s", "tenant"], descending=[True, False]).head(most)
    rows = []
    for name, jobs, gpu_s, preempted in shown.rows():
        share = gpu_s / total
        bar = _stack([(name, share, "kept", f"{name}: {words.percent(share)} of the GPU time used")], 12)
        quota = words.count(quotas[name]) if name in quotas else "-"
        used = (name, words.count(jobs), words.significant(gpu_s / 3600.0), bar, words.percent(share), quota)
        rows.append((*used, *_tenant_waits(facts, name), words.count(preempted)))
    more = f" Shown are the {most} of {len(held):,} that used most." if len(held) > most else ""
    return captioned("Who got what", _fairness(facts) + more, table(_TENANT_COLUMNS, rows))


def links_over_time(facts: Facts, most: int = 4) -> Markup:
    """The use of what jobs lost most on, or else of what was fullest, over time."""
    table_ = facts.tables.get("links_over_time")
    span = (facts.start_s, facts.end_s)
    if table_ is None or table_.is_empty() or span[0] >= span[1]:
        return Markup("")
    kept = set(table_["name"].unique())
    names = [name for name, *_ in facts.links(len(facts.tables["links"])) if name in kept][:most]
    bands = []
    for name in names:
        own = table_.filter(pl.col("name") == name)
        until_s = own["until_s"].to_numpy()
        begun_s = np.concatenate(([span[0]], until_s[:-1]))
        columns = min(_TIME_COLUMNS, max(40, len(until_s)))
        used = steps.columns_of(begun_s, own["used"].to_numpy(), *span, columns)
        bands.append(_band(used, svg.share_axis(), f"{name}, share in use", 110, "busy"))
    caption = "Line: mean share in use in each column of time. Band: lowest to highest within the column."
    return captioned("How full links, stores and power were", caption, *bands)


def links(facts: Facts, most: int = 16) -> Markup:
    """What jobs shared, and what they lost on it."""
    rows = facts.link_rows(most)
    if not rows:
        return Markup("")
    caption = (
        f"Up to {most} of the network cards, leaves and stores, those first on which jobs lost most time."
    )
    columns = {"what jobs shared": "", "carries": "n", "in use": "n", "GPU h lost on it": "n"}
    return captioned("Network and stores", caption, table(columns, rows))


def failures(facts: Facts) -> Markup:
    """What failed, how often, and what that did to nodes and jobs."""
    rows = facts.failures
    if not rows:
        return Markup("")
    caption = "Failures of nodes that were away already do not count; those that only interrupt take no time."
    columns = {"component": "", "failures": "n", "nodes taken": "n", "mean time away": "n", "jobs hit": "n"}
    return captioned("What failed", caption, table(columns, rows))


def _tenant_waits(facts: Facts, name: str) -> list[str]:
    metrics = (facts.metric(f"wait_{what}_s", tenant=name) for what in ("mean", "p95"))
    return ["-" if metric is None else metric.said() for metric in metrics]


def _fairness(facts: Facts) -> str:
    jain, worst = facts.metric("jain_fairness"), facts.metric("finish_time_fairness_max")
    said = []
    if jain:
        said.append(
            f"Jain's fairness index is {jain.said()} (1: the jobs of all tenants are stretched alike)."
        )
    if worst:
        said.append(
            f"The worst finish-time fairness is {worst.said()} (1: as fast as alone on an equal share)."
        )
    return " ".join(said)
