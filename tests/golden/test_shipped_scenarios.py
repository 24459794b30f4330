"""Every scenario that is shipped runs and says what it said before: numbers nearly, sentences exactly.

When a change of the answers is meant, write them anew with

    DCPLAN_REGENERATE=1 pytest tests/golden

and read the difference of tests/golden/*.json before it is committed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sim import experiment, run_folder, scenario, workloads
from sim.reports import answer
from sim.results import Results
from sim.scenario import Scenario

HERE = Path(__file__).resolve().parent
SCENARIOS = HERE.parents[1] / "scenarios"
SHORT = {
    "quickstart": ("horizon=4 d",),
    "fragmentation": ("horizon=3 d",),
    "policy_comparison": ("horizon=4 d",),
    "quota_study": ("horizon=5 d",),
    "shared_ai_fleet": ("horizon=4 d",),
    "philly_replay": ("workloads.0.format=csv", "fleet.pools.0.nodes=6"),
    "cnn_lab": (),
    "own_device": (),
    "gpt3_175b": (),
    "llama3_405b": (),
    "llama3_failures": (),
    "oversubscription": ("horizon=5 d",),
    "storage_bound_vision": ("horizon=8 d",),
    "power_capped_hall": ("horizon=3 d",),
    "fine_tuning_shop": (),
    "trace_replay": ("fleet.pools.0.nodes=6",),
}
"""What makes each scenario short enough for a test. The traces are those of `small_log`."""
TOLERANCE = 1e-6
ONE_JOB = ("gpt3_175b", "llama3_405b", "llama3_failures")
"""Scenarios that ask how long one training takes."""


def small_log(folder: Path) -> Path:
    """Six hundred jobs with the usual mix: many narrow and short, a few wide and long."""
    rng = np.random.default_rng(20_171_001)
    count = 600
    table = pl.DataFrame(
        {
            "job_id": [f"job{row}" for row in range(count)],
            "submit_s": np.sort(rng.integers(0, 3 * 86_400, count)),
            "duration_s": rng.lognormal(8.0, 1.5, count).round(),
            "gpus": rng.choice([1, 2, 4, 8, 16], count, p=[0.5, 0.2, 0.15, 0.1, 0.05]),
            "tenant": rng.choice(["red", "green"], count),
        }
    )
    path = folder / "jobs.csv"
    table.write_csv(path)
    return path


def load(name: str, folder: Path, *more: str) -> Scenario:
    settings = list(SHORT[name])
    if name.endswith("_replay"):
        settings.append(f"workloads.0.path={small_log(folder)}")
    return scenario.load(SCENARIOS / f"{name}.yaml", [*settings, *more])


def told(results: Results) -> dict[str, Any]:
    """The headline and every metric of the whole fleet."""
    rows = results.summary["metrics"]
    whole = {row["name"]: row["value"] for row in rows if row["tenant"] is None and row["size_class"] is None}
    return {
        "sentences": [text for text in answer.sentences(results) if "jobs.csv" not in text],
        "objectives_met": results.objectives_met,
        "metrics": whole,
    }


def test_no_shipped_scenario_is_forgotten() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.yaml")} == set(SHORT)


@pytest.mark.parametrize("name", sorted(SHORT))
def test_a_shipped_scenario_says_what_it_said_before(name: str, tmp_path: Path) -> None:
    found = told(experiment.run(load(name, tmp_path), SCENARIOS))
    kept = HERE / f"{name}.json"
    if os.environ.get("DCPLAN_REGENERATE"):
        kept.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    expected = json.loads(kept.read_text())
    assert found["sentences"] == expected["sentences"]
    assert found["objectives_met"] == expected["objectives_met"]
    assert set(found["metrics"]) == set(expected["metrics"])
    for metric, value in expected["metrics"].items():
        close = value if value is None else pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE)
        assert found["metrics"][metric] == close, metric
    assert found["metrics"]["jobs_done"] > 100 or name in ONE_JOB


@pytest.mark.parametrize("name", ["quota_study", "trace_replay"])
def test_the_same_seed_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    told = load(name, tmp_path)
    first, second = (dict(run_folder.files(experiment.run(told, SCENARIOS), {})) for _ in range(2))
    assert first == second
    assert {"scenario.yaml", "manifest.json", "summary.json", "jobs.csv"} <= set(first)


def test_replications_are_equal_whether_one_or_two_work_on_them(tmp_path: Path) -> None:
    told = load("fragmentation", tmp_path, "horizon=1 d")
    alone, together = (
        dict(run_folder.files(experiment.replicate(told, SCENARIOS, 3, workers=workers), {}))
        for workers in (1, 2)
    )
    assert alone == together


def test_other_seeds_give_other_jobs(tmp_path: Path) -> None:
    told = load("quickstart", tmp_path)
    seeds = [workloads.generate(told.workloads, seed, told.horizon, SCENARIOS).jobs for seed in (1, 2)]
    assert not seeds[0].equals(seeds[1])


def test_every_order_faces_the_same_arrivals(tmp_path: Path) -> None:
    faced = [
        experiment.run(
            load(
                "policy_comparison",
                tmp_path,
                f"scheduler.order={order}",
                "scheduler.blocking=greedy",
            ),
            SCENARIOS,
        ).arrivals.jobs
        for order in ("fifo", "sjf", "fair_share")
    ]
    assert faced[0].height > 50
    assert faced[0].equals(faced[1])
    assert faced[0].equals(faced[2])
