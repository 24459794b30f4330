"""Numbers as a person says them: the one place where reports round.

A rounded number must not say more than the exact one: 99.97 % is "over 99.9 %", never "100 %", and a small
loss is "under 0.1 %", never "0 %".
"""

# ruff: noqa: PLR2004 - how numbers are rounded is a matter of numbers

from __future__ import annotations

import math
from collections.abc import Sequence

from sim import units

_DURATIONS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0))
_ROUNDED_S = ((864000.0, 86400.0), (36000.0, 3600.0), (600.0, 60.0), (10.0, 1.0))
"""From ten of a unit on, spans are rounded to it: the next smaller unit would be noise."""
_PREFIXES = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def percent(fraction: float) -> str:
    """A share, rounded but never to a false "0 %" or "100 %".

    >>> percent(0.6234), percent(0.0312), percent(0.00012), percent(0.9997), percent(1.0), percent(1.342)
    ('62 %', '3.1 %', 'under 0.1 %', 'over 99.9 %', '100 %', '134 %')
    """
    points = fraction * 100.0
    if 0.0 < points < 0.1:
        return "under 0.1 %"
    if 99.9 < points < 100.0:
        return "over 99.9 %"
    if points in (0.0, 100.0):
        return f"{points:.0f} %"
    return f"{points:.1f} %" if points < 9.95 or 99.0 <= points < 100.0 else f"{points:,.0f} %"


def duration(seconds: float) -> str:
    """A span of time for reading: two units where the smaller still matters, otherwise one.

    >>> duration(0.0), duration(42.4), duration(7500.0), duration(51700.0), duration(1906.0)
    ('0 s', '42 s', '2 h 5 min', '14 h', '32 min')
    """
    step_s = next((step for least, step in _ROUNDED_S if abs(seconds) >= least), 0.0)
    rounded = round(seconds / step_s) * step_s if step_s else float(f"{seconds:.2g}")
    return units.human_duration(rounded)


def short_duration(seconds: float) -> str:
    """A span in one unit, for axes and narrow columns.

    >>> short_duration(0), short_duration(90.0), short_duration(5400.0), short_duration(950400.0)
    ('0', '1.5 min', '1.5 h', '11 d')
    """
    if seconds == 0:
        return "0"
    for name, size_s in _DURATIONS:
        if seconds >= 2 * size_s or seconds in (size_s, 1.5 * size_s):
            return f"{significant(seconds / size_s, 2)} {name}"
    return f"{significant(seconds, 2)} s"


def significant(value: float, digits: int = 3) -> str:
    """A number to so many significant digits, plain and with thousands separated.

    >>> significant(0.012345), significant(1234567.0), significant(3.0), significant(99.96)
    ('0.0123', '1,234,567', '3', '100')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(number: int, noun: str = "", plural: str = "") -> str:
    """How many of something.

    >>> count(1, "job"), count(1234, "job"), count(0, "GPU"), count(2, "is", "are")
    ('1 job', '1,234 jobs', '0 GPUs', '2 are')
    """
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def compact(number: float) -> str:
    """A large number in three digits, for axes.

    >>> compact(950), compact(12500), compact(3_200_000)
    ('950', '12.5k', '3.2M')
    """
    for prefix, size in _PREFIXES:
        if abs(number) >= size:
            return f"{significant(number / size)}{prefix}"
    return significant(number)


def gpu_hours(hours: float) -> str:
    """GPU time in hours.

    >>> gpu_hours(0.5), gpu_hours(123456.7)
    ('0.5 GPU h', '123,457 GPU h')
    """
    return f"{significant(hours)} GPU h"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def in_unit(value: float, unit: str) -> str:
    """A metric's value with its unit as the summary names it.

    >>> in_unit(7500.0, "s"), in_unit(0.5, "fraction"), in_unit(12.0, "GPU h"), in_unit(1.0, "jobs")
    ('2 h 5 min', '50 %', '12 GPU h', '1 job')
    """
    if unit == "s":
        return duration(value)
    if unit == "fraction":
        return percent(value)
    if unit in ("1", "money"):
        return significant(value)
    if value == 1.0:
        return f"1 {unit.removesuffix('s')}"
    return f"{significant(value)} {unit}"


def beside(value: float, bound: float, unit: str) -> str:
    """A value next to a bound that it must not seem to meet by rounding.

    >>> beside(44357.0, 43200.0, "s"), beside(43201.0, 43200.0, "s"), beside(0.5996, 0.6, "fraction")
    ('12 h 19 min', 'just over 12 h', 'just under 60 %')
    >>> beside(43200.0, 43200.0, "s"), beside(7500.0, 43200.0, "s")
    ('12 h', '2 h 5 min')
    """
    text, limit = in_unit(value, unit), in_unit(bound, unit)
    if value == bound or text != limit:
        return text
    finer = units.human_duration(value) if unit == "s" else text
    if finer != limit:
        return finer
    return f"just {'over' if value > bound else 'under'} {limit}"
