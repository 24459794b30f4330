"""Real jobs, job by job as independent simulators played them (shared/peer-cases says what each peer does).

The jobs are of the Philly cluster, October 2017 (Jeon et al., USENIX ATC 2019). Where `shared` does not
lie beside the checkout, these tests are skipped; tests/unit/test_policies.py has small cases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sim import arrivals, staging
from sim.log import Log
from sim.scenario import Scenario
from tests.support import playing
from tests.support.audit import Audit

PEERS = Path(__file__).resolve().parents[2].parent / "shared" / "peer-cases"
TRACES = PEERS.parent / "traces" / "philly"
ONE_NODE = [playing.nodes(1, 64)]
EIGHT_NODES = [playing.nodes(8, 8)]
CLUSTERS = {"11cb48": 3, "ed69ec": 2, "103959": 3, "e13805": 4, "0e4a51": 14}
needs_peers = pytest.mark.skipif(not PEERS.is_dir(), reason="shared/peer-cases is not beside the checkout")
on_both_pools = pytest.mark.parametrize("pools", [ONE_NODE, EIGHT_NODES], ids=["one node", "scattered"])


def jobs(name: str) -> pl.DataFrame:
    log = pl.read_csv(PEERS / f"jobs_{name}.csv.gz")
    return arrivals.table(
        job_id=log["job_id"].cast(pl.String),
        submit_s=log["submit_time"].cast(pl.Float64),
        duration_s=log["duration"].cast(pl.Float64),
        gpus=log["gpu_num"],
        tenant=log["vc"],
    )


def expected(name: str) -> dict[str, tuple[float, float, int]]:
    rows = pl.read_csv(PEERS / f"expected_{name}.csv.gz")
    if "preemptions" not in rows.columns:
        rows = rows.with_columns(preemptions=0)
    told = rows.select("job_id", "start", "end", "preemptions").iter_rows()
    return {str(job): (float(start), float(end), count) for job, start, end, count in told}


def simulated(table: pl.DataFrame, scenario: Scenario) -> dict[str, tuple[float, float, int]]:
    log = staging.simulate(scenario, table)
    audit(scenario, table, log)
    ids = table["job_id"].to_list()
    return {ids[row]: result for row, result in playing.spans(log).items()}


def audit(scenario: Scenario, table: pl.DataFrame, log: Log) -> None:
    Audit(scenario, table, log).everything()


def mean_jct_s(table: pl.DataFrame, found: dict[str, tuple[float, float, int]]) -> float:
    submits_s = zip(table["job_id"], table["submit_s"], strict=True)
    return sum(found[job][1] - submit_s for job, submit_s in submits_s) / table.height


@needs_peers
def test_five_virtual_clusters_equal_the_helios_simulator_job_by_job() -> None:
    table = jobs("philly5vc_8033")
    pools = [
        playing.nodes(count, 8) | {"name": name, "virtual_cluster": name} for name, count in CLUSTERS.items()
    ]
    told = playing.scenario(pools, order="fifo", blocking="strict", placement="consolidate")
    found = simulated(table, told)
    assert found == expected("A_fifo")
    assert round(mean_jct_s(table, found), 2) == 40_366.19


@needs_peers
@on_both_pools
@pytest.mark.parametrize(
    ("peer", "scheduler", "mean_s", "preemptions"),
    [
        ("B_fifo", {"order": "fifo", "blocking": "strict"}, 173_310.99, 0),
        ("B_fjf", {"order": "fifo", "blocking": "greedy"}, 146_411.47, 0),
        ("B_sjf", {"order": "sjf", "blocking": "strict"}, 36_713.56, 0),
        ("B_srtf", {"order": "srtf", "blocking": "greedy"}, 34_565.16, 399),
    ],
)
def test_one_pool_of_64_gpus_equals_the_peers_job_by_job(
    pools: list[Any], peer: str, scheduler: dict[str, str], mean_s: float, preemptions: int
) -> None:
    table = jobs("philly_2000")
    told = playing.scenario(pools, placement="scatter", **scheduler)
    found = simulated(table.with_columns(tenant=pl.lit("default")), told)
    assert found == expected(peer)
    assert round(mean_jct_s(table, found), 2) == mean_s
    assert sum(count for _, _, count in found.values()) == preemptions


@needs_peers
@on_both_pools
def test_las_is_within_two_percent_of_a_peer_that_notices_some_sinking_late(pools: list[Any]) -> None:
    table = jobs("philly_2000").with_columns(tenant=pl.lit("default"))
    order = {"kind": "las", "thresholds": (3250.0, 7200.0)}
    found = simulated(table, playing.scenario(pools, order=order, blocking="greedy", placement="scatter"))
    assert mean_jct_s(table, found) == pytest.approx(43_317.25, rel=0.02)


@needs_peers
@on_both_pools
def test_easy_has_the_known_mean_and_no_head_starts_after_its_first_promise(pools: list[Any]) -> None:
    table = jobs("philly_2000").with_columns(tenant=pl.lit("default"))
    told = playing.scenario(pools, order="fifo", blocking="easy", placement="scatter")
    log, promised_s = playing.watch_promises(told, table)
    found = {table["job_id"][row]: result for row, result in playing.spans(log).items()}
    assert round(mean_jct_s(table, found), 2) == 146_399.47
    assert len(promised_s) > 100
    starts_s = {row: start_s for row, (start_s, _, _) in playing.spans(log).items()}
    late = [row for row, start_s in promised_s.items() if starts_s[row] > start_s]
    assert not late
    assert not log.moved_reservations


@pytest.mark.skipif(not TRACES.is_dir(), reason="shared/traces/philly is not beside the checkout")
@pytest.mark.parametrize(
    ("order", "blocking"), [("fifo", "strict"), ("fifo", "easy"), ("srtf", "greedy"), ("las", "greedy")]
)
def test_the_philly_trace_on_its_virtual_clusters_keeps_the_books(order: str, blocking: str) -> None:
    clusters = pl.read_csv(TRACES / "philly_vc_nodes.csv")
    names, counts = (clusters[column].to_list() for column in clusters.columns[:2])
    pools = [
        playing.nodes(int(count), 8) | {"name": str(name), "virtual_cluster": str(name)}
        for name, count in zip(names, counts, strict=True)
    ]
    told = Scenario.model_validate(
        playing.scenario(pools, order=order, blocking=blocking).model_dump()
        | {
            "horizon": None,
            "workloads": [
                {"kind": "trace", "path": str(TRACES / "philly_jobs.csv.gz"), "limit": 12_000},
            ],
        }
    )
    table = told.workloads[0].jobs(0, None, Path()).jobs
    log = staging.simulate(told, table)
    audit(told, table, log)
    assert len({run[0] for run in log.runs}) + len(log.rejections) == table.height
