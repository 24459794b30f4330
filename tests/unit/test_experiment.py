"""One run, several runs, and what is told of their progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sim import experiment
from sim.scenario import Scenario


def small() -> Scenario:
    told: dict[str, Any] = {
        "name": "small",
        "seed": 4,
        "fleet": {"pools": [{"name": "pool", "nodes": 1, "gpus_per_node": 2}]},
        "scheduler": {},
        "workloads": [
            {
                "kind": "synthetic",
                "arrivals": {"kind": "poisson", "rate": 0.02},
                "duration": {"kind": "exponential", "mean": 60.0},
                "gpus": 1,
                "count": 50,
            }
        ],
    }
    return Scenario.model_validate(told)


def test_progress_of_one_run_is_in_jobs_and_of_several_in_runs() -> None:
    heard: list[tuple[int, int]] = []
    experiment.replicate(small(), Path(), 1, on_progress=lambda done, count: heard.append((done, count)))
    assert heard[-1] == (50, 50)
    heard.clear()
    experiment.replicate(small(), Path(), 3, on_progress=lambda done, count: heard.append((done, count)))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_replications_have_the_seeds_that_follow_the_scenarios() -> None:
    results = experiment.replicate(small(), Path(), 3)
    assert results.seeds == (4, 5, 6)
    assert experiment.run(small(), Path()).seeds == (4,)
    assert experiment.run(small(), Path(), seed=9).seeds == (9,)


def test_the_mean_over_replications_is_that_of_single_runs() -> None:
    together = experiment.replicate(small(), Path(), 3).metric("jct_mean_s")
    alone = [experiment.run(small(), Path(), seed=seed).metric("jct_mean_s") for seed in (4, 5, 6)]
    assert together is not None
    assert abs(together - sum(each for each in alone if each) / 3) < 1e-6
