"""Synthetic tenants: what is asked for is what comes, and one thing changes at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from sim import arrivals
from sim.distributions import Choice, Exponential, Fixed, FixedSize, Lognormal
from sim.errors import PlanError
from sim.parts import FROM_TEXT
from sim.workloads import Synthetic, generate
from sim.workloads.processes import DAY_S, HOUR_S, WEEK_S, Batch, Diurnal, Hours, Poisson
from sim.workloads.synthetic import Estimate, FromTrace

HERE = Path()
LOG = """job_id,submit_s,duration_s,gpus,tenant
a,0,60,1,red
b,5,7200,8,red
c,9,86400,64,blue
"""


def spec(**changes: Any) -> Synthetic:
    plain: dict[str, Any] = {
        "name": "vision",
        "tenant": "vision",
        "arrivals": Poisson(rate=0.01),
        "gpus": Choice(values=(1, 8)),
        "duration": Lognormal(median=600.0, sigma=1.5),
    }
    return Synthetic(**(plain | changes))


def jobs(
    workload: Synthetic, seed: int = 0, horizon_s: float | None = WEEK_S, folder: Path = HERE
) -> pl.DataFrame:
    return workload.jobs(seed, horizon_s, folder).jobs


@pytest.fixture
def log(tmp_path: Path) -> FromTrace:
    path = tmp_path / "log.csv"
    path.write_text(LOG, encoding="utf-8")
    return FromTrace(path=path)


def test_jobs_come_as_they_were_asked_for() -> None:
    table = jobs(
        spec(
            gpus=FixedSize(value=4),
            priority=3,
            gpu_kind="H100",
            nodes=2,
            cpus_per_gpu=8.0,
            memory_per_gpu=1e9,
        )
    )
    assert dict(table.schema) == dict(arrivals.SCHEMA)
    first = table.row(0, named=True)
    assert first["job_id"] == "vision-1"
    assert (first["tenant"], first["gpus"], first["priority"], first["gpu_kind"]) == ("vision", 4, 3, "H100")
    assert (first["nodes"], first["cpus"], first["memory_bytes"], first["estimate_s"]) == (2, 32.0, 4e9, None)
    assert table["submit_s"].is_sorted()


def test_short_forms_mean_always_the_same() -> None:
    written = {
        "kind": "synthetic",
        "arrivals": {"kind": "poisson", "rate": "1 per h"},
        "gpus": 8,
        "duration": "3 h",
    }
    read = Synthetic.model_validate(written | {"estimate": "exact"}, context=FROM_TEXT)
    assert read.gpus == FixedSize(value=8)
    assert read.duration == Fixed(value=10800.0)
    assert read.estimate == Estimate()


def test_the_same_seed_gives_the_same_bytes_and_another_gives_other_jobs() -> None:
    one, again, other = (jobs(spec(), seed).write_csv() for seed in (1, 1, 2))
    assert one == again
    assert one != other


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"arrivals": Poisson(rate=0.02)}, "submit_s"),
        ({"gpus": Choice(values=(1, 16))}, "gpus"),
        ({"duration": Exponential(mean=600.0)}, "duration_s"),
        ({"estimate": Estimate(factor_from=1, factor_to=9)}, "estimate_s"),
    ],
)
def test_a_change_to_one_thing_leaves_the_others_as_they_were(change: dict[str, Any], column: str) -> None:
    before = jobs(spec(count=200, estimate=Estimate(factor_to=2)), horizon_s=None)
    after = jobs(spec(**({"count": 200, "estimate": Estimate(factor_to=2)} | change)), horizon_s=None)
    assert before[column].to_list() != after[column].to_list()
    follows = {"duration_s": ["estimate_s"], "gpus": ["gpu_fraction"]}.get(column, [])
    same = [name for name in arrivals.SCHEMA if name not in {column, *follows}]
    assert_frame_equal(before[same], after[same])


def test_a_later_horizon_only_adds_jobs() -> None:
    short, long = (jobs(spec(), horizon_s=weeks * WEEK_S) for weeks in (1, 3))
    assert 0 < short.height < long.height
    assert_frame_equal(short, long[: short.height])


@pytest.mark.parametrize("hours", [None, Hours(opens=9, closes=18), Hours(opens=20, closes=4)])
def test_jobs_come_from_the_start_to_the_end_only(hours: Hours | None) -> None:
    window = spec(start=10 * HOUR_S, until=3 * DAY_S, hours=hours)
    times = jobs(window)["submit_s"]
    assert times.len() > 200
    assert times.min() >= 10 * HOUR_S  # type: ignore[operator]
    assert times.max() < 3 * DAY_S  # type: ignore[operator]


def test_no_job_comes_after_a_horizon_before_its_start() -> None:
    assert jobs(spec(start=2 * DAY_S), horizon_s=DAY_S).is_empty()


def test_jobs_come_in_the_open_hours_only_and_at_their_rate() -> None:
    times = jobs(spec(hours=Hours(opens=9, closes=18)), horizon_s=20 * WEEK_S)["submit_s"].to_numpy()
    hour, day = times / HOUR_S % 24, times // DAY_S % 7
    assert ((hour >= 9) & (hour < 18) & (day < 5)).all()
    assert len(times) == pytest.approx(0.01 * 20 * 45 * HOUR_S, rel=0.03)


def test_a_batch_of_open_hours_comes_each_day() -> None:
    nightly = spec(arrivals=Batch(every=9 * HOUR_S, size=2), hours=Hours(opens=9, closes=18))
    assert jobs(nightly)["submit_s"].unique().sort().to_list() == [
        (9 + 24 * day) * HOUR_S for day in range(5)
    ]


def test_a_count_is_reached_without_a_horizon() -> None:
    assert (
        jobs(spec(count=50, hours=Hours(opens=9, closes=10), start=5.5 * DAY_S), horizon_s=None).height == 50
    )


def test_jobs_that_would_never_end_are_refused() -> None:
    with pytest.raises(PlanError, match="workload vision would never end; give it a count or until"):
        jobs(spec(), horizon_s=None)


def test_estimates_are_never_too_short_and_spread_over_their_range() -> None:
    table = jobs(spec(estimate=Estimate(factor_from=1.5, factor_to=4)))
    factors = (table["estimate_s"] / table["duration_s"]).to_numpy()
    assert factors.min() >= 1.5 - 1e-12
    assert factors.max() <= 4 + 1e-12
    assert factors.mean() == pytest.approx(2.75, abs=0.05)


def test_an_exact_estimate_is_the_duration_and_a_job_without_a_duration_has_none() -> None:
    exact = jobs(spec(estimate=Estimate()))
    assert exact["estimate_s"].to_list() == exact["duration_s"].to_list()
    assert jobs(spec(duration=Fixed(value=0.0), estimate=Estimate()))["estimate_s"].null_count() > 0


def test_sizes_and_durations_of_one_log_are_drawn_together(log: FromTrace) -> None:
    drawn = jobs(spec(gpus=log, duration=log, count=3000))
    assert set(drawn.select("gpus", "duration_s").iter_rows()) == {(1, 60.0), (8, 7200.0), (64, 86400.0)}
    assert (drawn["gpus"] == 8).mean() == pytest.approx(1 / 3, abs=0.04)


def test_sizes_and_durations_may_come_from_different_places(log: FromTrace) -> None:
    red = log.model_copy(update={"tenant": "red"})
    assert set(jobs(spec(gpus=red))["gpus"]) == {1, 8}
    assert set(jobs(spec(gpus=log, duration=red)).select("gpus", "duration_s").iter_rows()) > {
        (64, 60.0),
        (64, 7200.0),
    }
    assert set(jobs(spec(duration=red))["duration_s"]) == {60.0, 7200.0}


def test_a_log_without_jobs_to_draw_from_is_refused(log: FromTrace) -> None:
    with pytest.raises(PlanError, match=r"log.csv has no jobs of green to draw from"):
        jobs(spec(gpus=log.model_copy(update={"tenant": "green"})))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": DAY_S, "until": HOUR_S}, "until must be later than start"),
        (
            {"arrivals": Diurnal(rate=1.0), "hours": Hours(opens=9, closes=18)},
            "diurnal arrivals already say when",
        ),
        ({"estimate": {"factor_from": 3, "factor_to": 2}}, "factor_to is less than factor_from"),
        ({"estimate": {"factor_from": 0.5}}, "greater than or equal to 1"),
        ({"gpus": 0}, "greater than or equal to 1"),
        ({"gpus": {"kind": "triangular"}}, "does not match any of the expected tags"),
        ({"count": 0}, "greater than or equal to 1"),
        ({"gpu": 8}, "Extra inputs are not permitted"),
    ],
)
def test_a_workload_that_cannot_be_is_refused_with_the_reason(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**change)


def test_workloads_are_merged_in_order_and_named_by_their_place() -> None:
    made = generate([spec(name=None), spec(name=None), spec()], 3, DAY_S, HERE)
    assert made.jobs["submit_s"].is_sorted()
    assert {name.rpartition("-")[0] for name in made.jobs["job_id"]} == {"synthetic1", "synthetic2", "vision"}
    first, second = (
        made.jobs.filter(pl.col("job_id").str.starts_with(name)) for name in ("synthetic1", "synthetic2")
    )
    assert first["submit_s"].to_list() != second["submit_s"].to_list()


def test_a_workload_more_leaves_the_others_as_they_were() -> None:
    alone = generate([spec()], 3, DAY_S, HERE).jobs
    together = generate([spec(name="speech"), spec()], 3, DAY_S, HERE).jobs
    assert_frame_equal(alone, together.filter(pl.col("job_id").str.starts_with("vision")))


def test_two_workloads_of_one_name_are_refused() -> None:
    with pytest.raises(PlanError, match="workloads need names of their own; there are vision, vision"):
        generate([spec(), spec()], 3, DAY_S, HERE)


def test_no_more_than_one_seed_is_needed_for_many_replications() -> None:
    means = [np.log(jobs(spec(), seed)["duration_s"].to_numpy()).mean() for seed in range(8)]
    assert len(set(means)) == 8
    assert np.mean(means) == pytest.approx(np.log(600.0), abs=5 * 1.5 / np.sqrt(8 * 6000))
