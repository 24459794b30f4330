"""Checkpoints: what a run is worth when it ends early, and how often they should be written."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.checkpoints import (
    CheckpointRule,
    Saving,
    daly_s,
    efficiency,
    optimal_s,
    rule_of,
    young_s,
)
from sim.errors import PlanError

POSITIVE = st.floats(1e-3, 1e6)


def test_a_run_stops_for_each_checkpoint_but_not_at_its_end() -> None:
    saving = Saving(every_s=100.0, stop_s=10.0)
    assert [saving.run_s(work_s) for work_s in (0.0, 99.0, 100.0, 100.5, 300.0)] == [0, 99, 100, 110.5, 320]
    assert Saving().run_s(1e6) == 1e6


def test_what_ends_early_keeps_what_is_safe() -> None:
    saving = Saving(every_s=100.0, stop_s=10.0)
    assert saving.split(50.0) == (0.0, 50.0, 0.0)
    assert saving.split(105.0) == (0.0, 100.0, 5.0)  # while it was writing
    assert saving.split(110.0) == (100.0, 0.0, 10.0)
    assert saving.split(275.0) == (200.0, 55.0, 20.0)
    assert Saving().split(50.0) == (0.0, 50.0, 0.0)


def test_a_checkpoint_in_the_background_is_safe_only_when_it_is_written() -> None:
    saving = Saving(every_s=100.0, stop_s=1.0, lag_s=60.0)
    assert saving.split(150.0) == (0.0, 149.0, 1.0)  # 49 s after the snapshot
    assert saving.split(161.0) == (100.0, 60.0, 1.0)
    # the second is still being written: it goes back one more interval
    assert saving.split(250.0) == (100.0, 148.0, 2.0)


@given(every_s=POSITIVE, stop_s=st.floats(0, 1e3), lag=st.floats(0, 1), elapsed_s=st.floats(0, 1e7))
def test_the_parts_of_a_run_add_up_and_are_not_negative(
    every_s: float, stop_s: float, lag: float, elapsed_s: float
) -> None:
    parts = Saving(every_s, stop_s, lag * every_s).split(elapsed_s)
    assert sum(parts) == pytest.approx(elapsed_s, rel=1e-9, abs=1e-9)
    assert min(parts) >= -1e-9 * elapsed_s


@pytest.mark.parametrize(
    ("cost_s", "between_s"), [(60.0, 36_000.0), (30.0, 8_280.0), (300.0, 3_600.0), (1.0, 1e6)]
)
def test_the_optimum_is_where_efficiency_is_best(cost_s: float, between_s: float) -> None:
    best = optimal_s(cost_s, between_s)
    tried = np.linspace(0.9, 1.1, 2001) * best
    found = [efficiency(every_s, cost_s, 0.0, between_s) for every_s in tried]
    assert tried[int(np.argmax(found))] == pytest.approx(best, rel=2e-4)


def test_young_and_daly_are_near_the_optimum_where_checkpoints_are_cheap() -> None:
    assert young_s(60.0, 36_000.0) == pytest.approx(math.sqrt(2 * 60 * 36_000))
    assert young_s(60.0, 36_000.0) == pytest.approx(optimal_s(60.0, 36_000.0), rel=0.03)
    assert daly_s(60.0, 36_000.0) == pytest.approx(optimal_s(60.0, 36_000.0), rel=1e-4)
    assert daly_s(100.0, 40.0) == 40.0


def test_efficiency_at_the_edges() -> None:
    """Without failures it is tau / (tau + C); the loss at the optimum is about sqrt(2 C / M)."""
    assert efficiency(1_000.0, 10.0, 0.0, 1e12) == pytest.approx(1000 / 1010)
    best = efficiency(optimal_s(60.0, 8_280.0), 60.0, 0.0, 8_280.0)
    assert 1 - best == pytest.approx(math.sqrt(2 * 60 / 8_280), rel=0.1)


def test_a_rule_gives_the_time_of_a_checkpoint_by_size_and_bandwidth() -> None:
    rule = CheckpointRule(every=1800.0, size=5.7e12, bandwidth=1e11, restart=60.0)
    assert rule.saving(math.inf) == Saving(1800.0, 57.0, 0.0, 117.0)
    behind = CheckpointRule(every=1800.0, size=5.7e12, bandwidth=1e11, snapshot=5.0, restore=30.0)
    assert behind.saving(math.inf) == Saving(1800.0, 5.0, 57.0, 30.0)


def test_the_interval_follows_from_the_mean_time_between_failures() -> None:
    rule = CheckpointRule(write=60.0)
    assert rule.saving(36_000.0).every_s == optimal_s(60.0, 36_000.0)
    assert rule.model_copy(update={"optimum": "young"}).saving(36_000.0).every_s == young_s(60.0, 36_000.0)
    # written in the background, the next cannot begin before the last is written
    slow = CheckpointRule(write=600.0, snapshot=0.1)
    assert slow.saving(36_000.0).every_s == 600.0


def test_the_first_rule_that_fits_counts() -> None:
    rules = (
        CheckpointRule(tenant="large", gpus_from=64, every=600.0, write=10.0),
        CheckpointRule(gpus_from=8, every=3600.0, write=1.0),
    )
    assert rule_of(rules, "large", 64) is rules[0]
    assert rule_of(rules, "small", 64) is rules[1]
    assert rule_of(rules, "large", 4) is None


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"every": 60.0}, "give either write, or size and bandwidth"),
        ({"every": 60.0, "size": 1e9, "bandwidth": 1e9, "store": "nfs"}, "or size and store"),
        ({"every": 60.0, "size": 1e9, "store": "nfs", "restore": 5.0}, "restore follows from size and store"),
        ({"every": 60.0, "write": 1.0, "size": 1e9}, "give either write, or size and bandwidth"),
        ({"every": 60.0, "size": 1e9, "bandwidth": 0.0}, "bandwidth must be more than 0"),
        ({"every": 60.0, "write": 90.0, "snapshot": 1.0}, "longer than the 1 min between two"),
    ],
)
def test_rules_without_a_meaning_are_refused(written: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        CheckpointRule.model_validate(written)


def test_what_makes_no_progress_is_told_and_not_played_for_ever() -> None:
    with pytest.raises(PlanError, match="no progress with 10 h of work between checkpoints"):
        CheckpointRule(every=36_000.0, write=60.0).saving(600.0)
    with pytest.raises(PlanError, match="nothing fails"):
        CheckpointRule(write=60.0).saving(math.inf)
