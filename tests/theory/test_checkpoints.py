"""Simulated checkpoint and restart against the exact formulas for failures at random."""

import math

import pytest

from sim.checkpoints import daly_s, efficiency, optimal_s, young_s
from sim.log import Outcome
from sim.statistics import t_interval
from tests.support.playing import jobs, nodes, play

HOUR = 3600.0


def simulated(
    every_s: float, write_s: float, restore_s: float, between_s: float, seed: int, work: int = 400
) -> float:
    """Work over time of a job that outlives many failures of its one node."""
    log = play(
        jobs((0.0, work * between_s, 8)), nodes(1, 8), seed=seed,
        failures={"components": [{"name": "it", "per": "node", "mean_time_between": between_s}]},
        checkpoints=[{"every": every_s, "write": write_s, "restore": restore_s}],
    )  # fmt: skip
    assert log.runs[-1][3] == Outcome.DONE
    return work * between_s / log.end_s


@pytest.mark.parametrize(
    ("every_s", "write_s", "restore_s", "between_s"),
    [
        (1 * HOUR, 60.0, 300.0, 10 * HOUR),
        (0.5 * HOUR, 180.0, 600.0, 3 * HOUR),
        (2 * HOUR, 360.0, 60.0, 2 * HOUR),
    ],
)
def test_efficiency_is_that_of_the_exact_formula(
    every_s: float, write_s: float, restore_s: float, between_s: float
) -> None:
    found = [simulated(every_s, write_s, restore_s, between_s, seed) for seed in range(12)]
    interval = t_interval(found, 0.99)
    expected = efficiency(every_s, write_s, restore_s, between_s)
    assert interval.low < expected < interval.high
    assert interval.high - interval.low < 0.06 * expected


def test_the_best_interval_of_simulations_is_that_of_young_daly_and_the_optimum() -> None:
    """Common random failures; a parabola through the efficiencies around the optimum has its top there."""
    write_s, between_s = 120.0, 4 * HOUR
    best_s = optimal_s(write_s, between_s)
    tried = [best_s * 2.0**power for power in (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)]
    means = [
        sum(simulated(every_s, write_s, 0.001, between_s, seed, work=800) for seed in range(3)) / 3
        for every_s in tried
    ]
    assert max(means) == pytest.approx(efficiency(best_s, write_s, 0.001, between_s), rel=0.01)
    # fit 1 / efficiency = a + b / tau + c tau, as theory has it to first order: its least is at sqrt(b / c)
    import numpy as np  # noqa: PLC0415

    columns = np.array([[1.0, 1 / each, each, each**2] for each in tried])
    a, b, c, d = np.linalg.lstsq(columns, 1 / np.array(means), rcond=None)[0]
    grid = best_s * np.linspace(0.5, 2.0, 30_001)
    top_s = float(grid[int(np.argmin(a + b / grid + c * grid + d * grid**2))])
    assert top_s == pytest.approx(best_s, rel=0.05)
    assert top_s == pytest.approx(daly_s(write_s, between_s), rel=0.05)
    assert top_s == pytest.approx(young_s(write_s, between_s), rel=0.1)


def test_nodes_that_fail_alike_stop_a_gang_as_often_as_all_of_them_together() -> None:
    """64 nodes with a mean time of 64 h each stop a gang on all of them once an hour on average."""
    counts = []
    for seed in range(12):
        log = play(
            jobs((0.0, 300 * HOUR, 64 * 8)), nodes(64, 8), seed=seed, horizon=300 * HOUR, blocking="strict",
            failures={"components": [{"name": "it", "per": "node", "mean_time_between": 64 * HOUR}]},
            checkpoints=[{"every": 600.0, "write": 1.0, "restore": 1.0}],
        )  # fmt: skip
        counts.append(float(sum(run[3] == Outcome.FAILED for run in log.runs)))
    interval = t_interval(counts, 0.99)
    assert interval.low < 300 < interval.high
    assert max(counts) - min(counts) < 8 * math.sqrt(300)
