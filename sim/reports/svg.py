"""Markup and plots without a library: safe elements, axes with round ticks, paths for step functions.

Figures stretch with the page: a plot's curves live in a box of 1000 x 1000 units that the browser scales
freely (`preserveAspectRatio="none"`), while its words are placed in percent and so keep their size on a
phone.
"""

# ruff: noqa: PLR2004 - a drawing is made of numbers

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim import units, words

Floats = npt.NDArray[np.float64]

BOX = 1000.0
"""Width and height of the box in which curves are drawn."""

_TIME_STEPS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
    86400, 172800, 432000, 604800, 1209600, 2592000, 5184000, 7776000, 15552000, 31536000,
)  # fmt: skip
_VOID = {"br", "meta", "hr", "img", "link", "wbr"}


class Markup(str):
    """Text that is already markup; any other text is escaped where it is put into an element."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Text made harmless, unless it is markup already.

    >>> escaped("<b>"), escaped(Markup("<b>"))
    ('&lt;b&gt;', '<b>')
    """
    return text if isinstance(text, Markup) else Markup(html.escape(_printable(text), quote=True))


def _printable(text: str) -> str:
    """Without the control characters that no HTML or SVG parser accepts."""
    return "".join(mark if mark >= " " or mark in "\n\t" else "\N{REPLACEMENT CHARACTER}" for mark in text)


def joined(parts: Iterable[str]) -> Markup:
    """Several pieces in a row, each escaped if it needs to be."""
    return Markup("".join(escaped(part) for part in parts))


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """One element; `class_` is the attribute class, and underscores become hyphens.

    >>> element("td", "<vision>", class_="name")
    '<td class="name">&lt;vision&gt;</td>'
    >>> element("rect", x=1.5, stroke_width=2)
    '<rect x="1.5" stroke-width="2"></rect>'
    """
    opened = "".join(f' {_attribute_name(name)}="{_attribute(value)}"' for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{opened}>")
    return Markup(f"<{tag}{opened}>{joined(children)}</{tag}>")


def _attribute_name(name: str) -> str:
    return name if name in ("viewBox", "preserveAspectRatio") else name.rstrip("_").replace("_", "-")


def _attribute(value: str | float) -> str:
    return html.escape(_printable(value), quote=True) if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """A coordinate in as few characters as it needs.

    >>> number(1.0), number(2.345), number(-0.001)
    ('1', '2.35', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


@dataclass(frozen=True, slots=True)
class Axis:
    """A quantity along one side of a plot, as a place between 0 and 1, with the values worth a label."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, from 0 (low end) to 1; beyond the ends it is held at the end."""
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(max(value, low))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def places(self, values: Floats) -> Floats:
        """Where many values lie."""
        low, high = (math.log(self.low), math.log(self.high)) if self.logarithmic else (self.low, self.high)
        at = np.log(np.maximum(values, self.low)) if self.logarithmic else values
        return np.asarray(np.clip((at - low) / (high - low), 0.0, 1.0), dtype=np.float64)


def linear_axis(high: float, low: float = 0.0, ticks: int = 4, most: float = math.inf) -> Axis:
    """Round steps from zero to just above the largest value; `most` is an end that must not be passed.

    >>> linear_axis(37.0).ticks, linear_axis(192.0, most=192.0).high
    ((0.0, 10.0, 20.0, 30.0, 40.0), 192.0)
    """
    span = max(high - low, 1e-9)
    step = _round_step(span / ticks)
    top = min(most, math.ceil(high / step - 1e-9) * step) if high > low else low + step
    values = tuple(low + step * place for place in range(int((top - low) / step + 1e-9) + 1))
    return Axis(low, max(top, low + 1e-9), values, tuple(words.compact(value) for value in values))


def capacity_axis(limit: int) -> Axis:
    """From nothing to everything there is, in quarters where they are whole.

    >>> capacity_axis(192).labels, capacity_axis(3).labels
    (('0', '48', '96', '144', '192'), ('0', '1', '2', '3'))
    """
    parts = next(parts for parts in (4, 3, 5, 2, 1) if limit % parts == 0)
    values = tuple(float(limit * part // parts) for part in range(parts + 1))
    return Axis(0.0, float(limit), values, tuple(f"{value:,.0f}" for value in values))


def _round_step(rough: float) -> float:
    """The next of 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(mark for mark in (1.0, 2.0, 2.5, 5.0, 10.0) if mark * power >= rough * (1 - 1e-9))


def share_axis() -> Axis:
    """From nothing to all, in quarters."""
    values = (0.0, 0.25, 0.5, 0.75, 1.0)
    return Axis(0.0, 1.0, values, tuple(words.percent(value) for value in values))


def time_axis(start_s: float, end_s: float, ticks: int = 8) -> Axis:
    """Time since the start of the run, marked in whole minutes, hours or days.

    >>> time_axis(0.0, 86400.0).labels
    ('0', '3 h', '6 h', '9 h', '12 h', '15 h', '18 h', '21 h', '1 d')
    """
    span_s = max(end_s - start_s, 1e-9)
    step_s = next(
        (step for step in _TIME_STEPS_S if step * ticks >= span_s),
        31536000.0 * math.ceil(span_s / ticks / 31536000.0),
    )
    first = math.ceil(start_s / step_s - 1e-9)
    values = tuple(step_s * mark for mark in range(first, int(end_s / step_s + 1e-9) + 1))
    return Axis(start_s, start_s + span_s, values, tuple(_clock(value, step_s, end_s) for value in values))


def _clock(seconds: float, step_s: float, end_s: float) -> str:
    """A time of the run in the unit of its axis: "1.5 d" beside "2 d" in a run of days."""
    if seconds == 0:
        return "0"
    if step_s >= 43200.0 or (end_s >= 172800.0 and step_s >= 21600.0) or seconds % 86400.0 == 0:
        return f"{words.significant(seconds / 86400.0, 4)} d"
    if step_s >= 3600.0 or seconds % 3600.0 == 0:
        return f"{words.significant(seconds / 3600.0, 4)} h"
    return units.human_duration(seconds)


_LOG_TIMES_S = (
    0.001,
    0.01,
    0.1,
    1.0,
    10.0,
    60.0,
    600.0,
    3600.0,
    21600.0,
    86400.0,
    604800.0,
    2592000.0,
    31536000.0,
)


def log_time_axis(low_s: float, high_s: float) -> Axis:
    """Spans of time from seconds to months on one axis, marked where people count.

    >>> log_time_axis(2.0, 5000.0).labels
    ('1 s', '10 s', '1 min', '10 min', '1 h', '6 h')
    """
    low = max((mark for mark in _LOG_TIMES_S if mark <= low_s), default=_LOG_TIMES_S[0])
    high = min((mark for mark in _LOG_TIMES_S if mark >= high_s and mark > low), default=max(high_s, 2 * low))
    values = tuple(mark for mark in _LOG_TIMES_S if low <= mark <= high)
    return Axis(low, high, values, tuple(words.short_duration(value) for value in values), logarithmic=True)


def step_path(across: Floats, up: Floats) -> str:
    """A step curve in places from 0 to 1: each level lasts until the next place."""
    if len(across) == 0:
        return ""
    x, y = np.round(across * BOX, 1), np.round((1.0 - up) * BOX, 1)
    moves = [f"M{number(x[0])} {number(y[0])}"]
    for place in range(1, len(x)):
        moves.append(f"H{number(x[place])}")
        if y[place] != y[place - 1]:
            moves.append(f"V{number(y[place])}")
    return "".join(moves)


def band_path(edges: Floats, low: Floats, high: Floats) -> str:
    """The area between two step functions over the same columns; `edges` has one entry more."""
    x = np.round(edges * BOX, 1)
    top, bottom = np.round((1.0 - high) * BOX, 1), np.round((1.0 - low) * BOX, 1)
    forth = [f"V{number(top[place])}H{number(x[place + 1])}" for place in range(len(top))]
    back = [f"V{number(bottom[place])}H{number(x[place])}" for place in reversed(range(len(bottom)))]
    return f"M{number(x[0])} {number(bottom[0])}{''.join(forth)}{''.join(back)}Z" if len(top) else ""


def cells_path(columns: Sequence[int], rows: Sequence[int], lengths: Sequence[int]) -> str:
    """Runs of equal cells of a heat map as one path, one unit per cell."""
    return "".join(f"M{x} {y}h{n}v1h-{n}z" for x, y, n in zip(columns, rows, lengths, strict=True))


def stretched(*shapes: str, width: float = BOX, height: float = BOX) -> Markup:
    """A box of curves that fills the plot, whatever its shape."""
    return element(
        "svg",
        *shapes,
        class_="plot",
        width="100%",
        height="100%",
        viewBox=f"0 0 {number(width)} {number(height)}",
        preserveAspectRatio="none",
    )


def share(place: float) -> str:
    """A place from 0 to 1 as SVG writes it.

    >>> share(0.25)
    '25%'
    """
    return f"{number(place * 100.0)}%"


def word(
    text: str,
    across: float,
    up: float,
    *,
    class_: str = "",
    anchor: str = "start",
    right: float = 0.0,
    down: float = 0.0,
) -> Markup:
    """A label at a place of the plot, moved by so many pixels."""
    return element(
        "text", text, x=share(across), y=share(1.0 - up), dx=right, dy=down, text_anchor=anchor, class_=class_
    )


def level_lines(axis: Axis) -> Markup:
    """Thin lines across the plot at each tick, each with its value above its left end."""
    pieces = []
    for value, label in zip(axis.ticks, axis.labels, strict=True):
        at = axis.place(value)
        pieces.append(
            element(
                "line", x1="0", x2="100%", y1=share(1 - at), y2=share(1 - at), class_="grid" if at else "base"
            )
        )
        pieces.append(word(label, 0.0, at, class_="tick", down=-4.0) if at else Markup(""))
    return joined(pieces)


def time_marks(axis: Axis, every: int = 1) -> Markup:
    """Ticks below the plot, one of `every`; of these every second one steps aside on a narrow page."""
    pieces = []
    for order, (value, label) in enumerate(list(zip(axis.ticks, axis.labels, strict=True))[::every]):
        at = axis.place(value)
        anchor = "start" if at < 0.03 else "end" if at > 0.97 else "middle"
        aside = " aside" if order % 2 else ""
        pieces.append(
            element("line", x1=share(at), x2=share(at), y1="100%", y2="100%", class_="mark" + aside)
        )
        pieces.append(word(label, at, 0.0, class_="tick" + aside, anchor=anchor, down=16.0))
    return joined(pieces)


def plot(*parts: str, title: str, height: int) -> Markup:
    """A figure as wide as its column and so many pixels high; `title` is what a screen reader says."""
    return element("svg", *parts, class_="figure", role="img", aria_label=title, width="100%", height=height)


def hover(columns: Sequence[str]) -> Markup:
    """Invisible columns that say their text when the pointer rests on them."""
    width = 100.0 / max(len(columns), 1)
    return joined(
        element(
            "rect",
            element("title", text),
            class_="hover",
            x=f"{number(place * width)}%",
            y="0",
            width=f"{number(width)}%",
            height="100%",
        )
        for place, text in enumerate(columns)
    )
