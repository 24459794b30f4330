"""The table of arrivals: defaults, order, and jobs that cannot be."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import arrivals


def jobs(**columns: object) -> pl.DataFrame:
    return arrivals.table(**({"submit_s": [0.0], "duration_s": [1.0], "gpus": [1]} | columns))  # type: ignore[arg-type]


def test_a_column_that_is_not_given_takes_its_default() -> None:
    job = jobs(gpus=[4]).row(0, named=True)
    assert (job["job_id"], job["tenant"], job["kind"], job["priority"]) == ("0", "default", "training", 0)
    assert job["gpu_fraction"] == 4.0
    assert [job[name] for name in ("gpu_kind", "nodes", "estimate_s", "cpus", "memory_bytes")] == [None] * 5


def test_one_value_stands_for_every_job() -> None:
    table = jobs(submit_s=np.arange(3.0), duration_s=pl.Series([1, 2, 3]), gpus=8, tenant="vision")
    assert table["gpus"].to_list() == [8, 8, 8]
    assert table["tenant"].to_list() == ["vision"] * 3


def test_jobs_stand_in_order_of_submission_and_ties_keep_the_order_given() -> None:
    table = jobs(job_id=["c", "a", "b", "d"], submit_s=[5, 0, 5, 0], duration_s=1, gpus=1)
    assert table["job_id"].to_list() == ["a", "d", "c", "b"]


def test_the_table_has_the_columns_and_types_of_the_schema() -> None:
    assert dict(jobs().schema) == dict(arrivals.SCHEMA)
    assert dict(arrivals.EMPTY.schema) == dict(arrivals.SCHEMA)
    assert arrivals.EMPTY.height == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"gpus": [0]}, "gpus of row 0 is 0, expected a finite number of at least 1"),
        ({"gpus": [1.5]}, "gpus must be whole numbers"),
        ({"submit_s": [float("nan")]}, "submit_s of row 0 is nan"),
        ({"submit_s": [None]}, "submit_s of row 0 is None"),
        ({"duration_s": [float("inf")]}, "duration_s of row 0 is inf"),
        ({"duration_s": [-1]}, "duration_s of row 0 is -1.0"),
        ({"estimate_s": [0.0]}, "estimate_s of row 0 is 0.0, expected a finite number above 0"),
        ({"nodes": [0]}, "nodes of row 0 is 0"),
        ({"submit_s": [1, 2]}, "columns of different lengths"),
        ({"colour": ["red"]}, r"unknown columns \['colour'\]"),
        (
            {"submit_s": [0, 1], "duration_s": 1, "gpus": 1, "job_id": ["a", "a"]},
            "job_id of row 1 is 'a', expected an id of its own",
        ),
    ],
)
def test_a_job_that_cannot_be_is_refused_with_row_and_value(columns: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jobs(**columns)


def test_a_table_in_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="the arrivals table has columns"):
        arrivals.check(pl.DataFrame({"job_id": ["a"]}))


def test_merging_keeps_ids_that_differ() -> None:
    merged = arrivals.merge([("x", jobs(job_id=["a"], submit_s=[5.0])), ("y", jobs(job_id=["b"]))])
    assert merged["job_id"].to_list() == ["b", "a"]


def test_merging_puts_the_workload_before_ids_that_collide() -> None:
    merged = arrivals.merge([("x", jobs(job_id=["a"])), ("y", jobs(job_id=["a"]))])
    assert merged["job_id"].to_list() == ["x/a", "y/a"]


def test_merging_tells_workloads_of_one_name_apart() -> None:
    merged = arrivals.merge([("x", jobs()), ("x", jobs())])
    assert merged["job_id"].to_list() == ["x1/0", "x2/0"]


def test_merging_nothing_is_no_job() -> None:
    assert arrivals.merge([]).equals(arrivals.EMPTY)


@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=4))
def test_merging_loses_no_job_and_is_stable(submissions: list[list[int]]) -> None:
    tables = [
        (
            f"w{place}",
            arrivals.table(submit_s=times, duration_s=1, gpus=place + 1) if times else arrivals.EMPTY,
        )
        for place, times in enumerate(submissions)
    ]
    merged = arrivals.merge(tables)
    expected = sorted((time, place) for place, times in enumerate(submissions) for time in times)
    assert list(zip(merged["submit_s"], merged["gpus"] - 1, strict=True)) == expected
    assert merged["job_id"].is_unique().all()
