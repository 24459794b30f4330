"""A profile as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from sim.units import human_duration

if TYPE_CHECKING:
    from rich.console import Console

    from sim.profile import InferenceRow, Profile, Row, TrainingRow

PHASES = ("data", "copy", "forward", "backward", "all_reduce", "optimiser")


def render(profile: Profile, out: Console) -> None:
    """What ran, how fast, and where the time of a training step goes."""
    machine = profile.machine
    out.print(
        f"{machine.device_name}, {len(profile.rows)} configurations in {human_duration(profile.elapsed_s)}\n"
    )
    if profile.training:
        out.print(_training(profile.training))
    if profile.inference:
        out.print(_inference(profile.inference))
    others = [row for row in profile.rows if row not in {*profile.training, *profile.inference}]
    if others:
        out.print(_others(others))


def _training(rows: Iterable[TrainingRow]) -> Table:
    """One line for each configuration, its phases in per cent of their sum."""
    table = _table("Training", "model", "batch", "numbers", "devices", "step", "spread", "images/s", *PHASES)
    for row in rows:
        name = (row.model, str(row.batch_per_device), f"{row.precision} {row.layout}", str(row.world_size))
        whole_s = sum(row.median_phases_s.values())
        parts = [
            f"{row.median_phases_s.get(phase, 0.0) / whole_s:.0%}" if whole_s else "" for phase in PHASES
        ]  # type: ignore[call-overload]
        table.add_row(*name, *_speed(row), _rate(row.images_per_s), *parts)
    return table


def _inference(rows: Iterable[InferenceRow]) -> Table:
    table = _table("Inference", "model", "batch", "numbers", "pass", "spread", "images/s")
    for row in rows:
        name = (row.model, str(row.batch_per_device), f"{row.precision} {row.layout}")
        table.add_row(*name, *_speed(row), _rate(row.images_per_s))
    return table


def _others(rows: Iterable[Row]) -> Table:
    table = _table("Data and communication", "what", "time", "spread", "rate")
    for row in rows:
        bytes_per_s, images_per_s = getattr(row, "bytes_per_s", None), getattr(row, "images_per_s", None)
        rate = f"{_rate(images_per_s)} images/s" if images_per_s else ""
        table.add_row(
            row.configuration, *_speed(row), f"{bytes_per_s / 1e9:.3g} GB/s" if bytes_per_s else rate
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column.replace("_", "-"), justify="left" if position == 0 else "right", no_wrap=True)
    return table


def _speed(row: Row) -> tuple[str, str]:
    """Median and spread, or why there are none."""
    if row.median_s is None or row.spread is None:
        return row.status.replace("_", " "), ""
    return human_duration(row.median_s), f"{row.spread:.0%}"


def _rate(per_second: float | None) -> str:
    return "" if per_second is None else f"{per_second:,.4g}" if per_second < 1000 else f"{per_second:,.0f}"
