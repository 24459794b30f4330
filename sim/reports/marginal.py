"""What one more of each thing would buy, as a table, what helps jobs most first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from sim import words
from sim.grids import grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sim.marginal import Bought, Gain

_NOTHING = "-"
_LEAST = 0.005
"""Changes of less than this share are told as none."""


def ranked(found: Sequence[Bought]) -> list[Bought]:
    """Those first that make the mean job end earliest."""
    return sorted(found, key=lambda each: _moved(each.gain("jct_mean_s")))


def _moved(gain: Gain | None) -> float:
    return 0.0 if gain is None else gain.after - gain.before


def sentences(found: Sequence[Bought]) -> list[str]:
    """What buys most, and what nothing."""
    best, *others = ranked(found)
    gain = best.gain("jct_mean_s")
    if gain is None:
        return ["No job ended, so nothing can be compared."]
    saved = gain.before - gain.after
    if saved <= _LEAST * gain.before:
        return [f"None of these makes jobs end earlier: the mean job takes {words.duration(gain.before)}."]
    name = f"{best.name[0].upper()}{best.name[1:]}"
    said = [
        (
            f"{name} would help most: the mean job would take {words.duration(gain.after)} from its"
            f" submission to its end instead of {words.duration(gain.before)}."
        )
    ]
    kept = best.gain("goodput_gpu_h")
    if kept is not None and kept.after > kept.before * (1 + _LEAST):
        said.append(f"{words.gpu_hours(kept.after - kept.before)} more work would be done in the same time.")
    idle = [each.name for each in others if abs(_moved(each.gain("jct_mean_s"))) <= _LEAST * gain.before]
    if idle:
        said.append(f"Next to nothing would come of {words.listed(idle)}.")
    return said


def render(found: Sequence[Bought], out: Console) -> None:
    """Print the answer and the table."""
    first, *rest = sentences(found)
    out.print(Text(first, style="bold"))
    for sentence in rest:
        out.print(Text(sentence))
    out.print()
    columns = ("", "mean job takes", "mean wait", "work, GPU h", "lost, GPU h")
    base = found[0]
    rows = [("as it is", *(_value(base.gain(name)) for name in _SHOWN))]
    rows += [(each.name, *(_change(each.gain(name)) for name in _SHOWN)) for each in ranked(found)]
    out.print(grid("One more of each", columns, rows, texts=1))


_SHOWN = ("jct_mean_s", "wait_mean_s", "goodput_gpu_h", "contention_gpu_h")


def _value(gain: Gain | None) -> str:
    if gain is None:
        return _NOTHING
    return words.duration(gain.before) if gain.metric.endswith("_s") else words.significant(gain.before)


def _change(gain: Gain | None) -> str:
    """By how much it moved, with the interval of that where there are several replications."""
    if gain is None:
        return _NOTHING
    moved = gain.after - gain.before
    if abs(moved) <= _LEAST * abs(gain.before):
        return "as before"
    if gain.low is not None and gain.high is not None:
        if gain.low <= 0.0 <= gain.high:
            return f"{_said(moved, gain.metric)}, unsure"
        return (
            f"{_said(moved, gain.metric)} ({_said(gain.low, gain.metric)} to {_said(gain.high, gain.metric)})"
        )
    return _said(moved, gain.metric)


def _said(moved: float, metric: str) -> str:
    size = words.duration(abs(moved)) if metric.endswith("_s") else words.significant(abs(moved))
    return f"{'-' if moved < 0 else '+'}{size}"
