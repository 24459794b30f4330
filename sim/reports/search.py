"""A search of layouts as a page: step time against memory, and step time against GPUs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from sim import units, words
from sim.estimate import Search
from sim.reports import svg
from sim.reports.figures import captioned, table
from sim.reports.html import write_page
from sim.reports.svg import Axis, Markup, element, joined, share

HEIGHT = 420
MOST_POINTS = 2000
SHOWN = 20
GB = 1e9


def render(found: Sequence[Search]) -> str:
    """The page of a search over one fleet or several."""
    first = found[0].job
    page = io.StringIO()
    write_page(f"{first.model.name} on {first.gpu}: layouts", _body(found), page)
    return page.getvalue()


def _body(found: Sequence[Search]) -> Markup:
    first = found[0].job
    best = found[0]
    parts = [
        element("h1", svg.escaped(f"{first.model.name} on {first.gpu}")),
        element(
            "p",
            svg.escaped(
                f"{best.evaluated:,} layouts divide evenly over {words.count(first.gpus, 'GPU')} and"
                f" {len(best):,} fit; the fastest is {best.layouts.one(0).told()}, with"
                f" {units.human_duration(float(best.step_s[0]))} a step of {first.batch:,} samples."
            ),
        ),
        captioned(
            "Step time against memory",
            "Each dot is a layout that fits: left is fast, low leaves memory free; red ones are tight.",
            _dots(best),
        ),
    ]
    if len(found) > 1:
        parts.append(captioned("Step time against GPUs", "The fastest layout of each fleet.", _fleets(found)))
    rows = [
        (
            best.layouts.one(place).told(),
            units.human_duration(float(best.step_s[place])),
            f"{best.memory_bytes[place] / GB:,.0f} GB",
        )
        for place in range(min(SHOWN, len(best)))
    ]
    parts.append(captioned("The fastest", "", table({"layout": "name", "step": "n", "memory": "n"}, rows)))
    return joined(parts)


def _dots(found: Search) -> Markup:
    shown = min(MOST_POINTS, len(found))
    times, held = found.step_s[:shown], found.memory_bytes[:shown] / GB
    across = _labelled(svg.linear_axis(float(times.max()), float(times.min())), "s")
    up = _labelled(svg.linear_axis(float(held.max())), "GB")
    dots = [
        element(
            "circle",
            element(
                "title",
                svg.escaped(
                    f"{found.layouts.one(place).told()}: {units.human_duration(float(times[place]))},"
                    f" {held[place]:,.0f} GB"
                ),
            ),
            cx=share(across.place(float(times[place]))),
            cy=share(1 - up.place(float(held[place]))),
            r=3,
            class_="lost" if found.tight[place] else "kept",
        )
        for place in range(shown)
    ]
    return svg.plot(
        svg.level_lines(up), svg.time_marks(across), *dots, title="Step time against memory", height=HEIGHT
    )


def _labelled(axis: Axis, unit: str) -> Axis:
    return replace(axis, labels=tuple(f"{label} {unit}" for label in axis.labels))


def _fleets(found: Sequence[Search]) -> Markup:
    rows = [
        (
            f"{each.job.gpus:,}",
            each.layouts.one(0).told(),
            units.human_duration(float(each.step_s[0])),
            f"{each.job.step_tokens / float(each.step_s[0]) / each.job.gpus:,.0f}",
        )
        for each in sorted(found, key=lambda one: one.job.gpus)
    ]
    return table({"GPUs": "n", "layout": "name", "step": "n", "tokens/s a GPU": "n"}, rows)
