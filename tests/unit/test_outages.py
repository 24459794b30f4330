"""What a failure does to nodes and jobs, by hand."""

import math
from pathlib import Path
from typing import Any

import pytest

from sim import experiment, results, staging
from sim.errors import PlanError, ScenarioError
from sim.log import Log, Outcome
from sim.scenario import load
from sim.workloads.jobs import WorkloadJobs
from tests.support.playing import jobs, nodes, play, scenario

HOUR = 3600.0
RULE = {"every": 4 * HOUR, "write": HOUR / 2, "restore": HOUR / 4}


def hours(log: Log) -> list[tuple[Any, ...]]:
    """Stays in hours: job, start, end, outcome, and what they were worth."""
    rows = sorted(log.runs, key=lambda run: run[1:3])
    worth = [(run[0], *run[1:3], *run[4:7], *run[8:]) for run in rows]
    return [
        (job, *(pytest.approx(each / HOUR, abs=1e-9) for each in rest), Outcome(run[3]).name)
        for (job, *rest), run in zip(worth, rows, strict=True)
    ]


def log_of(tmp_path: Path, *lines: str) -> dict[str, Any]:
    (tmp_path / "failures.csv").write_text("\n".join(("time_s,node,repair_s,component", *lines)) + "\n")
    return {"log": str(tmp_path / "failures.csv")}


def test_a_job_hangs_until_the_failure_is_noticed_and_goes_back_to_its_last_checkpoint(
    tmp_path: Path,
) -> None:
    """Two checkpoints are safe at 9 h; struck at 10 h, noticed at 11 h, repaired at 13 h."""
    failures = log_of(tmp_path, f"{10 * HOUR},0,{2 * HOUR},gpu") | {"detection": HOUR}
    log = play(jobs((0, 100 * HOUR, 8)), nodes(1, 8), failures=failures, checkpoints=[RULE])
    # job, start and end, hours of work, lost, restart, checkpoint and stalled, outcome
    assert hours(log) == [
        (0, 0, 11, 8, 1, 0, 1, 1, "FAILED"),
        (0, 13, 13.25 + 92 + 22 * 0.5, 92, 0, 0.25, 11, 0, "DONE"),
    ]
    assert [(wait[1] / HOUR, wait[2] / HOUR, wait[7] / HOUR) for wait in log.waits] == [(11, 13, 2)]
    assert log.outages == [(0, 10 * HOUR, 13 * HOUR, "gpu", 1)]


def test_without_checkpoints_all_work_is_lost(tmp_path: Path) -> None:
    log = play(jobs((0, 10 * HOUR, 1)), nodes(1, 8), failures=log_of(tmp_path, f"{9 * HOUR},0,0,software"))
    assert hours(log) == [(0, 0, 9, 0, 9, 0, 0, 0, "FAILED"), (0, 9, 19, 10, 0, 0, 0, 0, "DONE")]


def test_the_schedulers_cost_of_preemption_holds_for_failures_too(tmp_path: Path) -> None:
    cost = {"checkpoint_every": 2 * HOUR, "restart": HOUR}
    log = play(
        jobs((0, 10 * HOUR, 1)), nodes(1, 8), order="srtf", preemption=cost,
        failures=log_of(tmp_path, f"{9 * HOUR},0,0,software"),
    )  # fmt: skip
    assert hours(log) == [(0, 0, 9, 8, 1, 0, 0, 0, "FAILED"), (0, 9, 12, 2, 0, 1, 0, 0, "DONE")]


def test_a_gang_stops_whole_and_moves_to_a_node_that_is_whole(tmp_path: Path) -> None:
    """The gang on nodes 0 and 1 loses node 0, and goes on at once on the free node 2."""
    log = play(
        jobs((0, 10 * HOUR, 16)), nodes(3, 8), blocking="strict",
        failures=log_of(tmp_path, f"{5 * HOUR},0,{100 * HOUR},gpu"),
        checkpoints=[{"every": HOUR, "write": 1e-9, "restore": 1e-9}],
    )  # fmt: skip
    first, second = log.runs
    assert sorted(node for node, _ in first[7]) == [0, 1]
    assert sorted(node for node, _ in second[7]) == [1, 2]
    assert second[1] == 5 * HOUR


def test_every_job_on_the_node_is_hit_and_no_other(tmp_path: Path) -> None:
    failures = log_of(tmp_path, f"{5 * HOUR},0,{HOUR},host")
    log = play(jobs(*[(0, 10 * HOUR, 4)] * 3), nodes(2, 8), failures=failures, blocking="strict")
    outcomes = [(run[0], Outcome(run[3]).name) for run in sorted(log.runs, key=lambda run: (run[0], run[1]))]
    assert outcomes == [(0, "FAILED"), (0, "DONE"), (1, "FAILED"), (1, "DONE"), (2, "DONE")]
    assert log.outages[0][4] == 2


def test_a_failed_node_takes_nobody_until_it_is_back(tmp_path: Path) -> None:
    """Its free GPUs are out of service from the failure on, those of hanging jobs as they are freed."""
    failures = log_of(tmp_path, f"{1 * HOUR},0,{9 * HOUR},host") | {"detection": 2 * HOUR}
    rows = [(0, 100 * HOUR, 4), (2 * HOUR, HOUR, 1), (3.5 * HOUR, HOUR, 8)]
    log = play(jobs(*rows), nodes(1, 8), failures=failures, blocking="strict")
    starts = {run[0]: run[1] / HOUR for run in log.runs if run[3] == Outcome.DONE}
    assert starts[0] == 12  # noticed at 3 h, nine hours of repair
    assert starts[1] == 12
    assert starts[2] == 112


def test_a_node_that_is_away_cannot_fail_again_and_one_technician_is_busy(tmp_path: Path) -> None:
    failures = log_of(tmp_path, f"{HOUR},0,{4 * HOUR},a", f"{2 * HOUR},0,0,b", f"{2 * HOUR},1,{4 * HOUR},c")
    log = play(jobs((20 * HOUR, HOUR, 1)), nodes(2, 8), failures=failures | {"technicians": 1})
    away = [(node, from_s / HOUR, to_s / HOUR, what) for node, from_s, to_s, what, _ in log.outages]
    assert away == [(0, 1, 5, "a"), (1, 2, 9, "c")]


def test_everybody_is_promised_a_start_again_when_nodes_leave_and_come_back(tmp_path: Path) -> None:
    """Struck at 2 h, the wide job needs both nodes, of which one is away until 22 h: who waited goes first.

    The second was promised 10 h and starts at 2 h; the third, behind it, is promised 7 h and starts then.
    """
    log = play(
        jobs((0, 10 * HOUR, 16), (HOUR, 5 * HOUR, 8), (HOUR, 4 * HOUR, 8)), nodes(2, 8),
        failures=log_of(tmp_path, f"{2 * HOUR},1,{20 * HOUR},host"), blocking="conservative",
    )  # fmt: skip
    told = sorted((run[0], run[1] / HOUR, run[2] / HOUR) for run in log.runs)
    assert told == [(0, 0, 2), (0, 22, 32), (1, 2, 7), (2, 7, 11)]
    # nobody is to blame, and the wide job had no promise while too few nodes were in service
    assert {moved[4] for moved in log.moved_reservations} <= {-1}


def test_maintenance_takes_nodes_in_turn() -> None:
    rounds = {"every": 10 * HOUR, "lasts": 2 * HOUR, "nodes": 1}
    log = play(
        jobs((0, 25 * HOUR, 8)), nodes(2, 8), failures={"maintenance": rounds}, blocking="strict",
        checkpoints=[{"every": 5 * HOUR, "write": 1e-9, "restore": 1e-9}],
    )  # fmt: skip
    assert [(each[0], each[1] / HOUR) for each in log.outages][:2] == [(0, 10), (1, 20)]
    assert [Outcome(run[3]).name for run in log.runs] == ["FAILED", "FAILED", "DONE"]
    assert [run[7][0][0] for run in log.runs] == [0, 1, 0]


def test_a_node_with_too_many_failures_is_taken_out_for_good() -> None:
    spec = {
        "components": [{"name": "it", "mean_time_between": HOUR}],
        "lemons": {"share": 0.5, "times": 2.0, "out_after": 2},
    }
    log = play(jobs((0, 200 * HOUR, 1)), nodes(2, 8), failures=spec, horizon=200 * HOUR)
    # both have failed twice within hours; the job waits for ever, and the run ends all the same
    assert sorted({each[0] for each in log.outages if each[2] == 200 * HOUR}) == [0, 1]
    assert log.waits[-1][8] == 1


def test_without_a_horizon_a_job_that_can_never_run_again_does_not_keep_the_clock_going() -> None:
    spec = {
        "components": [{"name": "it", "mean_time_between": HOUR}],
        "lemons": {"share": 0.5, "times": 2.0, "out_after": 1},
    }
    log = play(jobs((0, 200 * HOUR, 1)), nodes(2, 8), failures=spec)
    assert len(log.outages) == 2


def test_failures_that_let_no_job_end_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.outages.HOPELESS", 100)
    spec = {"components": [{"name": "it", "mean_time_between": HOUR}]}
    with pytest.raises(PlanError, match="100 times in a row without any job ending"):
        play(jobs((0, 200 * HOUR, 1)), nodes(1, 8), failures=spec)
    with pytest.raises(PlanError, match="make no progress"):
        play(jobs((0, HOUR, 1)), nodes(1, 8), failures=spec, checkpoints=[{"every": 99 * HOUR, "write": 1.0}])


def test_a_hanging_job_is_not_displaced(tmp_path: Path) -> None:
    """Were it, its GPUs on the failed node would go to another job."""
    failures = log_of(tmp_path, f"{HOUR},0,{HOUR},host") | {"detection": 2 * HOUR}
    log = play(jobs((0, 10 * HOUR, 8), (2 * HOUR, HOUR, 8)), nodes(1, 8), failures=failures, order="srtf")
    first, second, third = sorted(log.runs, key=lambda run: run[1])
    assert (first[0], first[2] / HOUR, Outcome(first[3]).name) == (0, 3, "FAILED")
    assert (second[0], second[1] / HOUR) == (1, 4)
    assert third[0] == 0


def test_preempted_jobs_keep_what_their_checkpoints_saved() -> None:
    rule = {"every": 4 * HOUR, "write": HOUR / 2, "restore": HOUR / 4}
    log = play(jobs((0, 20 * HOUR, 8), (6 * HOUR, HOUR, 8)), nodes(1, 8), order="srtf", checkpoints=[rule])
    assert hours(log) == [
        (0, 0, 6, 4, 1.5, 0, 0.5, 0, "PREEMPTED"),
        (1, 6, 7, 1, 0, 0, 0, 0, "DONE"),
        (0, 7, 7.25 + 16 + 1.5, 16, 0, 0.25, 1.5, 0, "DONE"),
    ]


def test_the_summary_says_what_failures_cost(tmp_path: Path) -> None:
    failures = log_of(tmp_path, f"{10 * HOUR},0,{2 * HOUR},gpu") | {"detection": HOUR}
    table = jobs((0, 100 * HOUR, 8))
    wanted = scenario([nodes(1, 8)], failures=failures, checkpoints=[RULE])
    log = staging.simulate(wanted, table)
    found = results.from_log(wanted, WorkloadJobs(table, {}), log, staging.nodes(wanted))
    hours_of = {
        "lost_failure": 8,
        "restart": 2,
        "checkpoint": 8 * 12,
        "stalled": 8,
        "down": 8 * 3,
        "goodput": 800,
    }
    told = {name: found.metric(f"{name}_gpu_h") for name in hours_of}
    assert told == {name: pytest.approx(hours) for name, hours in hours_of.items()}
    assert (found.metric("failures"), found.metric("interruptions")) == (1, 1)
    end_h = 13.25 + 92 + 11
    assert found.metric("availability") == pytest.approx(1 - 3 / end_h)
    assert found.metric("effective_time") == pytest.approx(100 / end_h)
    job = found.tables["jobs"].row(0, named=True)
    assert (job["failures"], job["restarts"], job["preemptions"]) == (1, 1, 0)
    assert found.tables["outages"].rows() == [("pool-0", 10 * HOUR, 13 * HOUR, "gpu", 1)]


def test_a_scenario_file_says_it_all_and_a_run_can_be_repeated_from_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        """
name: small
horizon: 30 d
fleet: {pools: [{name: a, nodes: 20, gpus_per_node: 8}]}
scheduler: {order: fifo, blocking: strict, placement: consolidate}
failures:
  preset: rsc1
  components: [{name: feed, per: rack, mean_time_between: 60 d, repair: 8 h}]
  detection: 10 min
  technicians: 2
  lemons: {share: 10 %, times: 20, cured: 50 %}
checkpoints:
  - {gpus_from: 64, size: 1 TB, bandwidth: 10 GB/s, snapshot: 5 s, restart: 2 min}
  - {every: 1 h, write: 10 s}
workloads:
  - {kind: synthetic, arrivals: {kind: poisson, rate: 20 per d}, gpus: 16, duration: 9 h}
""",
        "utf-8",
    )
    found = experiment.run(load(path, thorough=True), tmp_path)
    assert (found.metric("interruptions") or 0) > 0
    assert experiment.run(load(path), tmp_path).tables["runs"].equals(found.tables["runs"])
    assert not experiment.run(load(path), tmp_path, seed=5).tables["outages"].equals(found.tables["outages"])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("failures.preset=llama4", 'did you mean "llama3"'),
        ("failures.detektion=1 min", 'unknown field; did you mean "detection"'),
        ("checkpoints.0.write=0 s", "must be more than 0"),
        ("failures.components.0.per=pod", "gpu, node or rack"),
        ("failures.spares.nodes=19", "can never start: the largest pool that it may use has 8, spares aside"),
    ],
)
def test_faults_are_told_with_what_is_right(tmp_path: Path, setting: str, told: str) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        """
name: small
horizon: 1 d
fleet: {pools: [{name: a, nodes: 20, gpus_per_node: 8}]}
scheduler: {order: fifo, blocking: strict, placement: consolidate}
failures: {preset: rsc1, components: [{name: feed, per: rack, mean_time_between: 60 d}]}
checkpoints: [{every: 1 h, write: 10 s}]
workloads: [{kind: synthetic, arrivals: {kind: poisson, rate: 20 per d}, gpus: 16, duration: 9 h}]
""",
        "utf-8",
    )
    with pytest.raises(ScenarioError) as caught:
        load(path, [setting])
    assert told in str(caught.value)


def test_without_failures_checkpoints_need_their_interval() -> None:
    with pytest.raises(ValueError, match="needs every: no component fails"):
        scenario([nodes(1, 8)], checkpoints=[{"write": 10.0}])


def test_a_promise_moves_when_nodes_fail_and_short_jobs_still_pass(tmp_path: Path) -> None:
    """Two nodes of 8. The wide job is promised 10 h, when the first ends; a node is away from 5 h to 20 h.

    The short one of 4 h passes at 1 h. While the node is away nobody can be promised 16 GPUs, so the long one
    starts on what becomes free, and the wide one follows it.
    """
    failures = log_of(tmp_path, f"{5.5 * HOUR},1,{14.5 * HOUR},node")
    rows = ((0, 10 * HOUR, 8), (HOUR / 2, HOUR, 16), (HOUR, 4 * HOUR, 8), (6 * HOUR, 12 * HOUR, 8))
    log = play(jobs(*rows), nodes(2, 8), failures=failures, order="fifo", blocking="easy")
    starts = {run[0]: run[1] / HOUR for run in log.runs}
    assert starts == {0: 0, 2: 1, 3: 10, 1: 22}
    assert log.moved_reservations[0] == (6 * HOUR, 1, 10 * HOUR, math.inf, -1)


def test_a_spare_takes_the_place_of_a_node_and_the_node_stands_by_in_its_turn(tmp_path: Path) -> None:
    """Three nodes, one of which stands by. The first fails at 5 h, the spare at 20 h: the first is back."""
    lines = (f"{5 * HOUR},0,{10 * HOUR},gpu", f"{20 * HOUR},2,{10 * HOUR},gpu")
    failures = log_of(tmp_path, *lines) | {"detection": HOUR, "spares": {"nodes": 1, "after": HOUR / 2}}
    log = play(jobs((0, 100 * HOUR, 16)), nodes(3, 8), failures=failures, checkpoints=[RULE])
    stays = [(run[1] / HOUR, run[2] / HOUR, [node for node, _ in run[7]]) for run in log.runs]
    assert stays[0] == (0, 6, [0, 1])
    assert stays[1] == (6.5, 21, [1, 2])
    assert stays[2][0] == 21.5
    assert sorted(stays[2][2]) == [0, 1]
    assert [outage[:3] for outage in log.outages] == [(0, 5 * HOUR, 16 * HOUR), (2, 20 * HOUR, 31 * HOUR)]


def test_spares_run_nothing_and_do_not_fail_while_they_stand_by(tmp_path: Path) -> None:
    failures = log_of(tmp_path, f"{HOUR},1,{HOUR},gpu") | {"spares": {"nodes": 1}}
    log = play(jobs((0, 10 * HOUR, 8), (0, 10 * HOUR, 8)), nodes(2, 8), failures=failures)
    assert sorted((run[1] / HOUR, [node for node, _ in run[7]]) for run in log.runs) == [(0, [0]), (10, [0])]
    assert log.outages == []
