"""The scenarios that are shipped: they load, their fleets are busy, and their streams stay apart."""

from pathlib import Path

import pytest

from sim import scenario
from sim.workloads import generate

FOLDER = Path(__file__).resolve().parents[2] / "scenarios"
SHIPPED = sorted(FOLDER.glob("*.yaml"))
REPLAYS = {"philly_replay", "trace_replay"}


def named(path: Path) -> str:
    return path.stem


def test_there_are_scenarios_for_each_question() -> None:
    stems = {path.stem for path in SHIPPED}
    assert stems >= REPLAYS | {
        "quickstart",
        "quota_study",
        "policy_comparison",
        "fragmentation",
        "shared_ai_fleet",
    }


ONE_JOB = ("gpt3_175b", "llama3_405b")
"""Scenarios that ask how long one training takes."""


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_a_shipped_scenario_loads_and_says_how_it_is_run(path: Path) -> None:
    assert scenario.load(path).description
    assert f"dcplan run scenarios/{path.name}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", [path for path in SHIPPED if path.stem not in {*REPLAYS, *ONE_JOB}], ids=named
)
def test_a_shipped_scenario_offers_its_fleet_enough_to_do_but_not_endlessly_more(path: Path) -> None:
    shipped = scenario.load(path)
    assert shipped.horizon is not None
    jobs = generate(shipped.workloads, shipped.seed, shipped.horizon, FOLDER).jobs
    offered = (jobs["gpus"] * jobs["duration_s"]).sum() / shipped.horizon / shipped.fleet.gpus
    assert 0.7 < offered < 1.1
    assert jobs["submit_s"].max() < shipped.horizon  # type: ignore[operator]
    assert set(jobs["tenant"]) <= {tenant.name for tenant in shipped.tenants} | {"default"}


@pytest.mark.parametrize("stem", sorted(REPLAYS))
def test_a_replay_takes_its_log_from_the_command_line(stem: str, tmp_path: Path) -> None:
    logs = {
        "philly_replay": (
            "timestamp,duration,num_gpus,gpu_time,cluster",
            "2017-10-09 07:01:55,66.0,1,66.0,11cb48",
        ),
        "trace_replay": ("job_id,submit_s,duration_s,gpus", "a,0,66,1"),
    }
    log = tmp_path / "jobs.csv"
    log.write_text("\n".join(logs[stem]), encoding="utf-8")
    replay = scenario.load(FOLDER / f"{stem}.yaml", [f"workloads.0.path={log}"])
    jobs = generate(replay.workloads, replay.seed, replay.horizon, FOLDER).jobs
    assert jobs.select("duration_s", "gpus").rows() == [(66.0, 1)]
