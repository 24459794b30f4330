"""Links fitted to collectives: known ones are recovered, published ones predicted where left out."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.collective_errors import fitted, tables
from sim.calibration.of_collectives import calibrated, fit_link, measured, predicted
from sim.catalog.links import link_names
from sim.errors import PlanError
from sim.perf.collectives import CollectiveLink

TRUTH = CollectiveLink(
    name="made", link="made up", source="made up", rate=3e11, first_s=8e-6, round_s=0.8e-6, small_rate=0.2,
    middle_rate=0.5, middle_s=3e-6, bulk_s=25e-6, bulk_round_s=4e-6, rate_by_gpus=0.1,
    rates={"all_gather": 0.9}, latencies={"all_gather": 1.1}, spread=0.05,
)  # fmt: skip
PUBLISHED = Path(__file__).parents[3] / "shared" / "validation"


def made(
    kinds: tuple[str, ...] = ("all_reduce", "all_gather"), gpus: tuple[int, ...] = (2, 4, 8)
) -> pl.DataFrame:
    draw = np.random.default_rng(3)
    rows = [
        (kind, n, size, float(TRUTH.time_s(kind, size, n)) * float(np.exp(draw.normal(0, 0.02))))  # type: ignore[arg-type]
        for kind in kinds
        for n in gpus
        for size in 2.0 ** np.arange(9, 31)
    ]
    return pl.DataFrame(rows, schema=["kind", "gpus", "message_bytes", "time_s"], orient="row")


def test_a_made_up_link_is_recovered_where_it_was_not_measured() -> None:
    seen = measured(made().filter(pl.col("gpus") != 4))
    link = fit_link(seen, "made", "made up", "made up")
    left_out = measured(made().filter(pl.col("gpus") == 4))
    assert np.abs(predicted(link, left_out) / left_out.time_s - 1).mean() < 0.04
    assert link.rate == pytest.approx(TRUTH.rate, rel=0.05)
    assert link.rate_by_gpus == pytest.approx(TRUTH.rate_by_gpus, abs=0.05)


def test_errors_are_told_for_what_was_left_out() -> None:
    link = calibrated(measured(made()), "made", "made up", "made up")
    assert [each.left_out for each in link.quality] == ["every second size", "one kind on one number of GPUs"]
    assert all(each.mape < 0.06 for each in link.quality)
    assert [each.n for each in link.quality] == [132, 132]


def test_repeated_times_count_once_by_their_median() -> None:
    rows = pl.concat([made(), made(), made().with_columns(pl.col("time_s") * 10)])
    assert measured(rows).time_s == pytest.approx(measured(made()).time_s)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"kind": "all_redcue"}, "no collective that is known"),
        ({"time_s": float("nan")}, "a time and a size above 0"),
        ({"time_s": -1.0}, "a time and a size above 0"),
        ({"gpus": 1}, "two GPUs or more"),
    ],
)
def test_what_was_not_measured_is_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(PlanError, match=why):
        measured(made().with_columns(**{name: pl.lit(value) for name, value in wrong.items()}))


def test_a_handful_of_times_is_too_few() -> None:
    with pytest.raises(PlanError, match="a fit needs 8"):
        fit_link(measured(made().head(5)), "made", "made up", "made up")


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published tables are not at ../shared/validation")
def test_published_collectives_left_out_are_within_ten_percent_in_the_median() -> None:
    links = [
        fitted(name, rows) for (name,), rows in tables(PUBLISHED).group_by("system", maintain_order=True)
    ]
    assert sorted(link.name for link in links) == list(link_names())
    sizes = [link.quality[0] for link in links]
    assert sum(each.n * each.median for each in sizes) / sum(each.n for each in sizes) < 0.06
    numbers = [link.quality[1] for link in links if len(link.quality) > 1]
    assert sum(each.n * each.median for each in numbers) / sum(each.n for each in numbers) < 0.1
