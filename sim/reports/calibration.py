"""A calibration as a page: measured against predicted, and where the model is good and where not.

Every figure is of configurations that the fit behind the prediction had not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

import numpy as np

from sim import words
from sim.calibration.measured import Measured, batch_of, network_of, seconds
from sim.perf.step_time import parts_s
from sim.reports import svg
from sim.reports.figures import captioned, table
from sim.reports.html import unbroken, write_page
from sim.reports.svg import Markup, element, joined, share

if TYPE_CHECKING:
    from sim.calibration.fit import LeftOut
    from sim.calibration.of_profile import Kind, ProfileFit

GOOD = 0.05
POOR = 0.15
HEIGHT = 420


def render(found: ProfileFit, out: TextIO) -> None:
    """Write the report of one calibration."""
    write_page(f"{found.device.name}: calibration", _body(found), out)


def sentences(found: ProfileFit) -> list[str]:
    """What to know of a calibration: how wrong it is, for what it is good and for what not."""
    told = []
    for kind, tried in found.left_out.items():
        for one in tried:
            quality = one.quality()
            told.append(
                f"In {_named(kind)}, with {quality.left_out} left out, step times are wrong by "
                f"{words.percent(quality.mape)} on average and by {words.percent(quality.p90)} or less in "
                f"nine of ten of {words.count(quality.n, 'configuration')}; "
                f"{words.percent(float(one.inside.mean()))} lie in the interval that should hold 80 %."
            )
        if tried:
            told += _good_and_poor(kind, tried[0])
    return told or ["There were too few networks to leave any out: the device has no known error."]


def _good_and_poor(kind: Kind, tried: LeftOut) -> list[str]:
    """For which networks the predictions are good, and for which poor."""
    sizes = {
        name: float(np.abs(tried.errors[which]).mean()) for name, which in _groups(tried.rows, network_of)
    }
    good = [name for name, size in sizes.items() if size <= GOOD]
    poor = [f"{name} ({words.percent(size)})" for name, size in sizes.items() if size > POOR]
    told = []
    if good:
        told.append(f"In {_named(kind)} it is good, within {words.percent(GOOD)}, for {words.listed(good)}.")
    if poor:
        told.append(f"In {_named(kind)} do not rely on it for networks like {words.listed(poor)}.")
    return told


def _named(kind: Kind) -> str:
    return f"{kind[0]} {kind[1]}{' compiled' if kind[2] else ''}"


def _groups(rows: Sequence[Measured], key: Callable[[Measured], str]) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        found.setdefault(key(row), []).append(place)
    return sorted(found.items(), key=lambda group: (int(group[0]) if group[0].isdecimal() else 0, group[0]))


def _body(found: ProfileFit) -> Markup:
    first, *rest = sentences(found)
    figures = [
        part for kind, tried in found.left_out.items() if tried for part in _setting(kind, tried[0], found)
    ]
    return joined(
        [
            element("p", "Calibration", class_="over"),
            element("h1", found.device.name),
            element("p", found.device.source, class_="about"),
            element("p", unbroken(first), class_="lead"),
            element("div", *(element("p", unbroken(told)) for told in rest), class_="told"),
            *figures,
            _notes(found.notes),
        ]
    )


def _setting(kind: Kind, tried: LeftOut, found: ProfileFit) -> list[Markup]:
    setting = found.device.setting(kind[0], kind[1], compiled=kind[2])
    largest = [_largest_part(row, setting.logarithms) for row in tried.rows]
    by_part = {id(row): name for row, name in zip(tried.rows, largest, strict=True)}
    return [
        captioned(
            f"Predicted against measured, {_named(kind)}",
            "Each mark is a configuration, predicted by a fit without its network; the bar is the interval "
            "that should hold 80 %. On the line, prediction and measurement agree.",
            _scatter(tried),
        ),
        captioned(
            f"Errors, {_named(kind)}",
            "Mean of the relative errors with their sign, and of their absolute values.",
            element(
                "div",
                _errors("network", tried, network_of),
                _errors("batch", tried, batch_of),
                _errors("most time goes into", tried, lambda row: by_part[id(row)]),
                class_="pair",
            ),
        ),
    ]


def _largest_part(row: Measured, logarithms: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    parts = parts_s(logarithms, row.step)
    return max(parts, key=lambda name: parts[name]).replace("_", " ")


def _errors(noun: str, tried: LeftOut, key: Callable[[Measured], str]) -> Markup:
    rows = [
        (
            name,
            str(len(which)),
            f"{100 * tried.errors[which].mean():+.1f} %",
            words.percent(float(np.abs(tried.errors[which]).mean())),
        )
        for name, which in _groups(tried.rows, key)
    ]
    return element("section", table({noun: "", "n": "n", "error": "n", "absolute": "n"}, rows))


def _scatter(tried: LeftOut) -> Markup:
    measured = seconds(tried.rows)
    axis = svg.log_time_axis(
        float(min(measured.min(), tried.low_s.min())), float(max(measured.max(), tried.high_s.max()))
    )
    marks = [
        element("line", x1="0%", y1="100%", x2="100%", y2="0%", class_="base"),
        svg.level_lines(axis),
        svg.time_marks(axis),
    ]
    for place, row in enumerate(tried.rows):
        across = share(axis.place(float(measured[place])))
        up, low, high = (
            share(1 - axis.place(float(values[place])))
            for values in (tried.predicted_s, tried.low_s, tried.high_s)
        )
        text = (
            f"{row.name}, batch {row.step.batch}: measured {words.short_duration(float(measured[place]))}, "
            f"predicted {words.short_duration(float(tried.predicted_s[place]))}"
        )
        marks.append(element("line", x1=across, x2=across, y1=low, y2=high, class_="grid"))
        marks.append(
            element("circle", element("title", text), cx=across, cy=up, r=3.5,
                    class_="kept" if tried.inside[place] else "lost")
        )  # fmt: skip
    return svg.plot(*marks, title="predicted against measured step times", height=HEIGHT)


def _notes(notes: Sequence[str]) -> Markup:
    if not notes:
        return Markup("")
    return element(
        "footer",
        element("h3", "To bear in mind"),
        element("ul", *(element("li", f"{note}.") for note in notes)),
        class_="methods",
    )
