"""Large step functions and schedules as few columns, exactly: means are integrals, never samples.

A million changes of a queue become some hundred columns, each with the exact time-weighted mean and the exact
lowest and highest level that held at any moment of the column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from sim.statistics import running_integral

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """A step function over equal spans of time: mean, lowest and highest level in each."""

    edges_s: Floats
    mean: Floats
    low: Floats
    high: Floats


def columns_of(times_s: Floats, levels: Floats, start_s: float, end_s: float, columns: int) -> Columns:
    """A step function in equal columns of time.

    The level `levels[i]` holds from `times_s[i]` on; before the first change it is 0.

    >>> made = columns_of(np.array([0.0, 3.0]), np.array([4.0, 8.0]), 0.0, 4.0, 2)
    >>> made.mean.tolist(), made.low.tolist(), made.high.tolist()
    ([4.0, 6.0], [4.0, 4.0], [4.0, 8.0])
    """
    edges_s = np.linspace(start_s, end_s, columns + 1)
    times_s, levels = np.concatenate(([-np.inf], times_s)), np.concatenate(([0.0], levels))
    area = running_integral(times_s[1:], levels[1:], edges_s) if len(times_s) > 1 else np.zeros(columns + 1)
    mean = np.diff(area) / np.diff(edges_s)
    first = np.searchsorted(times_s, edges_s[:-1], side="right") - 1
    last = np.maximum(np.searchsorted(times_s, edges_s[1:], side="left"), first + 1)
    return Columns(
        edges_s, mean, _reduced(np.minimum, levels, first, last), _reduced(np.maximum, levels, first, last)
    )


def _reduced(
    how: np.ufunc, levels: Floats, first: npt.NDArray[np.intp], last: npt.NDArray[np.intp]
) -> Floats:
    """Lowest or highest level in each slice `[first, last)`; no slice is empty."""
    padded = np.append(levels, levels[-1])
    slices = np.column_stack((first, last)).ravel()
    return np.asarray(how.reduceat(padded, slices)[::2], dtype=np.float64)


def held_by_row(held: pl.DataFrame, rows: int, start_s: float, end_s: float, columns: int) -> Floats:
    """GPUs held in each row (node or rack) and column of time, as exact means.

    `held` has one line per stay: `row`, `start_s`, `end_s`, `gpus`. A stay adds its GPUs from its start and
    takes them back at its end; each such change contributes to its own column the part of the column that is
    left, and to all later columns in full. So the cost grows with the stays and not with stays times columns.
    """
    width_s = (end_s - start_s) / columns
    if held.is_empty() or width_s <= 0.0:
        return np.zeros((rows, columns))
    row = np.tile(held["row"].to_numpy(), 2)
    gpus = held["gpus"].to_numpy().astype(np.float64)
    weight = np.concatenate((gpus, -gpus))
    at = (
        np.clip(np.concatenate((held["start_s"].to_numpy(), held["end_s"].to_numpy())), start_s, end_s)
        - start_s
    ) / width_s
    column = np.minimum(at.astype(np.int64), columns)
    flat = row * (columns + 1) + column
    cells = rows * (columns + 1)
    part = np.bincount(flat, weight * (column + 1 - at), cells).reshape(rows, columns + 1)
    change = np.bincount(flat, weight, cells).reshape(rows, columns + 1)
    before = np.cumsum(change, axis=1) - change
    return np.asarray((part + before)[:, :columns], dtype=np.float64)
