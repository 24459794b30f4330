"""Large step functions are summarised exactly."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.reports import steps, svg

LEVELS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 50)), min_size=1, max_size=30, unique_by=lambda at: at[0]
)


def at_each_second(changes: list[tuple[int, int]], end: int) -> list[int]:
    """The level during each second, by looking."""
    return [
        max(((at, level) for at, level in changes if at <= second), default=(0, 0))[1]
        for second in range(end)
    ]


@given(changes=LEVELS, columns=st.integers(1, 8), width=st.integers(1, 30))
def test_columns_have_the_mean_and_the_extremes_of_their_seconds(
    changes: list[tuple[int, int]], columns: int, width: int
) -> None:
    changes = sorted(changes)
    times, levels = (np.array(column, dtype=float) for column in zip(*changes, strict=True))
    made = steps.columns_of(times, levels, 0.0, float(columns * width), columns)
    seconds = np.array(at_each_second(changes, columns * width)).reshape(columns, width)
    assert made.mean == pytest.approx(seconds.mean(axis=1))
    assert made.low.tolist() == seconds.min(axis=1).tolist()
    assert made.high.tolist() == seconds.max(axis=1).tolist()


STAYS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 60), st.integers(1, 8)), max_size=25
)


@given(stays=STAYS, columns=st.integers(1, 6), start=st.integers(0, 10))
def test_the_heat_map_holds_every_gpu_second_in_its_cell(
    stays: list[tuple[int, int, int, int]], columns: int, start: int
) -> None:
    width = 7
    end = start + columns * width
    names = ["row", "start_s", "length_s", "gpus"]
    held = pl.DataFrame(stays, schema=dict.fromkeys(names, pl.Int64), orient="row").with_columns(
        pl.col("start_s").cast(pl.Float64),
        (pl.col("start_s") + pl.col("length_s")).cast(pl.Float64).alias("end_s"),
    )
    expected = np.zeros((4, columns))
    for row, begin, length, gpus in stays:
        for second in range(max(begin, start), min(begin + length, end)):
            expected[row, (second - start) // width] += gpus / width
    assert steps.held_by_row(held, 4, float(start), float(end), columns) == pytest.approx(expected)


@given(high=st.floats(1e-6, 1e9), low=st.floats(1e-3, 1e6), factor=st.floats(1.001, 1e6))
def test_axes_hold_their_values_and_label_every_tick(high: float, low: float, factor: float) -> None:
    for axis in (svg.linear_axis(high), svg.time_axis(0.0, high), svg.log_time_axis(low, low * factor)):
        assert len(axis.ticks) == len(axis.labels) >= 1
        assert all(axis.low <= tick <= axis.high * (1 + 1e-9) for tick in axis.ticks)
        assert len(axis.ticks) <= 14
    assert svg.linear_axis(high).high >= high * (1 - 1e-9)


@given(limit=st.integers(1, 100_000))
def test_an_axis_of_a_capacity_ends_at_the_capacity_in_whole_steps(limit: int) -> None:
    axis = svg.capacity_axis(limit)
    assert axis.ticks[-1] == limit
    assert all(tick == int(tick) for tick in axis.ticks)
