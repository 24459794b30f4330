"""A profile as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from rich import box
from rich.table import Table

from sim.profile import Phase
from sim.units import human_duration

if TYPE_CHECKING:
    from rich.console import Console

    from sim.profile import Profile, Row, TrainingRow
    from sim.profile.rows import ModelRow

Line = dict[str, str]
"""Texts by column."""

THOUSAND = 1000

PHASES: tuple[Phase, ...] = get_args(Phase)
WIDE = 150
"""Columns where there is no terminal to say how many there are."""


def render(profile: Profile, out: Console) -> None:
    """What ran, how fast, and where the time of a training step goes."""
    if not out.is_terminal:
        out.width = WIDE
    counted = f"{len(profile.rows)} configurations in {human_duration(profile.elapsed_s)}"
    out.print(f"{profile.machine.device_name}: {counted}")
    others = profile.rows[len(profile.training) + len(profile.inference) :]
    tables = {
        "Training": [_training(row) for row in profile.training],
        "Inference": [_model(row) for row in profile.inference],
        "Data and communication": [_other(row) for row in others],
    }
    for title, lines in tables.items():
        if lines:
            out.print()
            out.print(_table(title, lines))


def _training(row: TrainingRow) -> Line:
    """The step, and its phases in per cent of their sum."""
    whole_s = sum(row.median_phases_s.values())
    return _model(row) | {
        phase.replace("_", "-"): f"{row.median_phases_s.get(phase, 0.0) / whole_s:.0%}" if whole_s else ""
        for phase in PHASES
    }


def _model(row: ModelRow) -> Line:
    return {
        "model": row.model,
        "batch": str(row.batch_per_device),
        "numbers": f"{row.precision} {row.layout}",
        "devices": str(row.devices),
        "threads": "" if row.threads is None else str(row.threads),
        **_speed(row),
        "images/s": _rate(row.images_per_s),
    }


def _other(row: Row) -> Line:
    bytes_per_s, images_per_s = getattr(row, "bytes_per_s", None), getattr(row, "images_per_s", None)
    images = f"{_rate(images_per_s)} images/s" if images_per_s else ""
    return {
        "what": row.configuration,
        **_speed(row),
        "rate": f"{bytes_per_s / 1e9:.3g} GB/s" if bytes_per_s else images,
    }


def _speed(row: Row) -> Line:
    """Median and spread, or why there are none."""
    if row.median_s is None or row.spread is None:
        return {"time": row.status.replace("_", " "), "spread": ""}
    return {"time": human_duration(row.median_s), "spread": f"{row.spread:.0%}"}


def _rate(per_second: float | None) -> str:
    return (
        "" if per_second is None else f"{per_second:,.4g}" if per_second < THOUSAND else f"{per_second:,.0f}"
    )


def _table(title: str, lines: Sequence[Line]) -> Table:
    """A table of lines that have the same columns."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in lines[0]:
        table.add_column(column, justify="left" if column in {"model", "what"} else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line.values())
    return table
