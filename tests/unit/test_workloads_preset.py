"""Presets as workloads: their rate, their widest job, their fractions of a GPU."""

from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from sim import arrivals
from sim.errors import PlanError
from sim.workloads import Preset, WorkloadJobs
from sim.workloads.processes import DAY_S, WEEK_S


def made(horizon_s: float | None = WEEK_S, seed: int = 0, **options: Any) -> WorkloadJobs:
    return Preset(**({"preset": "philly"} | options)).jobs(seed, horizon_s, Path())


def test_as_many_jobs_come_as_were_recorded_there() -> None:
    # 112,956 jobs in 75 days.
    assert Preset(preset="philly").rate_per_s * DAY_S == pytest.approx(1506.08)
    assert made(20 * WEEK_S).jobs.height == pytest.approx(1506.08 * 140, rel=0.02)


def test_a_rate_of_ones_own_can_be_given() -> None:
    assert made(rate=0.01).jobs.height == pytest.approx(0.01 * WEEK_S, rel=0.1)


@pytest.mark.parametrize("most", [None, 8])
def test_offered_gpus_are_what_the_jobs_keep_busy(most: int | None) -> None:
    preset = Preset(preset="seren", offered_gpus=64, max_gpus=most)
    assert preset.rate_per_s * preset.gpu_s_per_job == pytest.approx(64)
    horizon_s = 200 * WEEK_S
    jobs = preset.jobs(1, horizon_s, Path()).jobs
    # The load of few very long and wide jobs varies: hence the long time, and 15 %.
    offered = (jobs["gpus"] * jobs["duration_s"]).sum() / horizon_s
    assert offered == pytest.approx(64, rel=0.15)


def test_jobs_wider_than_the_widest_wanted_do_not_come_and_the_report_says_so() -> None:
    capped = made(max_gpus=8, rate=0.1)
    assert capped.jobs["gpus"].max() == 8
    assert any(
        note.startswith("Jobs of more than 8 GPUs, 1.1 % of those of philly, do not come")
        for note in capped.notes
    )
    assert not any("do not come" in note for note in made().notes)


def test_parts_of_a_gpu_are_refused_unless_rounding_up_is_asked_for() -> None:
    with pytest.raises(ValidationError, match="fractions: round_up"):
        Preset(preset="pai")
    rounded = made(preset="pai", fractions="round_up", rate=0.01)
    parts = rounded.jobs.filter(gpu_fraction=0.5)
    assert set(parts["gpus"]) == {1}
    assert rounded.jobs["gpu_fraction"].mean() == pytest.approx(0.683, abs=0.04)
    count = (rounded.jobs["gpu_fraction"] < 1).sum()
    assert f"{count:,} of {rounded.jobs.height:,} jobs ask for part of a GPU" in rounded.notes[1]


def test_a_preset_says_where_its_figures_are_from() -> None:
    assert (
        made()
        .notes[0]
        .startswith("Jobs like those of Philly (Microsoft, 2017); InternLM/AcmeTrace commit 6d6ac9c")
    )


def test_jobs_of_a_preset_carry_what_they_were_given() -> None:
    table = made(tenant="research", priority=2, gpu_kind="V100", count=10, name="mine").jobs
    assert dict(table.schema) == dict(arrivals.SCHEMA)
    assert set(table.select("tenant", "priority", "gpu_kind").iter_rows()) == {("research", 2, "V100")}
    assert table["job_id"].to_list() == [f"mine-{number}" for number in range(1, 11)]


def test_the_same_seed_gives_the_same_jobs_and_a_later_horizon_adds_some() -> None:
    short, long = made(), made(3 * WEEK_S)
    assert_frame_equal(short.jobs, made().jobs)
    assert_frame_equal(short.jobs, long.jobs[: short.jobs.height])
    assert short.jobs["submit_s"][0] != made(seed=1).jobs["submit_s"][0]


def test_a_preset_that_would_never_end_is_refused() -> None:
    with pytest.raises(PlanError, match="workload philly would never end"):
        made(None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.0, "offered_gpus": 8}, "give rate or offered_gpus, not both"),
        ({"preset": "venus"}, "'philly', 'helios', 'pai', 'seren' or 'kalos'"),
        ({"offered_gpus": 0}, "greater than 0"),
    ],
)
def test_a_preset_that_cannot_be_is_refused_with_the_reason(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        made(**options)
