"""Stores of all kinds under small jobs, by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from sim import catalog, staging
from sim.errors import PlanError
from sim.log import Log
from sim.scenario import Scenario
from sim.stores import Room, Store
from tests.support.playing import jobs

GB = 1e9


def play(table: pl.DataFrame, **parts: Any) -> Log:
    """Four nodes of eight GPUs."""
    pool = {"name": "p", "nodes": 4, "gpus_per_node": 8}
    scheduler = {"order": "fifo", "blocking": "greedy", "placement": {"kind": "consolidate"}}
    written = {
        "name": "small", "fleet": {"pools": [pool]}, "scheduler": scheduler,
        "workloads": [{"kind": "trace", "path": "jobs.csv"}], **parts,
    }  # fmt: skip
    return staging.simulate(Scenario.model_validate(written), table)


def ends(log: Log) -> list[float]:
    return [run[2] for run in sorted(log.runs)]


def carried(log: Log) -> Mapping[str, Sequence[float]]:
    return {name: numbers for name, *numbers in log.links}


def test_a_store_that_serves_few_requests_is_slow_for_small_records() -> None:
    """Two nodes ask for 2 GB/s each; 10,000 requests a second of 100 kB are 1 GB/s in all."""
    store = {"name": "objects", "read": 100 * GB, "write": GB, "requests": 10_000.0}
    rule = {"reads": 2 * GB, "store": "objects", "record": 1e5}
    log = play(jobs((0, 10, 16)), stores=[store], traffic=[rule])
    assert ends(log) == [pytest.approx(40)]
    assert carried(log)["objects requests"][1] == pytest.approx(2 * 2 * GB * 10 / 1e5)
    large = play(jobs((0, 10, 16)), stores=[store], traffic=[rule | {"record": 1e7}])
    assert ends(large) == [pytest.approx(10)]


@pytest.mark.parametrize(("connections", "end"), [(1, 40.0), (2, 20.0), (8, 10.0)])
def test_a_node_gets_what_its_connections_carry(connections: int, end: float) -> None:
    store = {"name": "objects", "read": 100 * GB, "write": GB, "per_connection": 0.5 * GB}
    rule = {"reads": 2 * GB, "store": "objects", "connections": connections}
    assert ends(play(jobs((0, 10, 16)), stores=[store], traffic=[rule])) == [pytest.approx(end)]


def test_disks_of_nodes_are_not_shared_and_need_no_network() -> None:
    """Each node reads 2 GB/s from its own disk of 1, over cards that carry next to nothing."""
    store = {"name": "nvme", "read": GB, "write": GB, "place": "node"}
    log = play(
        jobs((0, 10, 16), (0, 10, 16)), stores=[store], traffic=[{"reads": 2 * GB, "store": "nvme"}],
        network={"card": 1.0},
    )  # fmt: skip
    assert ends(log) == [pytest.approx(20)] * 2
    assert carried(log)["p-0 nvme reading"][1] == pytest.approx(20 * GB)
    assert carried(log)["p-0 in"][1] == 0.0


@pytest.mark.parametrize(("place", "written"), [("network", 10.0), ("node", 5.0)])
def test_checkpoints_go_to_what_the_store_is(place: str, written: float) -> None:
    """Ten gigabytes of two nodes at 1 GB/s: together over the network, half of it on each disk."""
    store = {"name": "scratch", "read": GB, "write": GB, "place": place}
    saved = {"every": 100.0, "size": 10 * GB, "store": "scratch"}
    assert ends(play(jobs((0, 150, 16)), stores=[store], checkpoints=[saved])) == [
        pytest.approx(150 + written)
    ]


def test_replicas_are_written_too() -> None:
    store = {"name": "hdfs", "read": GB, "write": 3 * GB, "replicas": 3}
    saved = {"every": 100.0, "size": 10 * GB, "store": "hdfs"}
    log = play(jobs((0, 150, 8)), stores=[store], checkpoints=[saved])
    assert ends(log) == [pytest.approx(160)]
    assert carried(log)["hdfs writing"][1] == pytest.approx(30 * GB)


def test_images_are_loaded_before_every_start_and_contend() -> None:
    """Three nodes load 8 GB each from 4 GB/s in all: 6 s, though none of them computes meanwhile."""
    store = {"name": "registry", "read": 4 * GB, "write": GB}
    rule = {"image": 8 * GB, "store": "registry"}
    log = play(jobs((0, 10, 16), (0, 10, 8)), stores=[store], traffic=[rule])
    assert ends(log) == [pytest.approx(16)] * 2
    assert carried(log)["registry reading"][1] == pytest.approx(24 * GB)


SCRATCH = {"name": "scratch", "read": GB, "write": GB, "capacity": 15 * GB}
SAVED = {"every": 20.0, "size": 10 * GB, "store": "scratch"}


def test_who_finds_no_room_waits_until_another_ends() -> None:
    """The first writes at 20 s and ends at 45; the second, due at 21, writes then."""
    log = play(jobs((0, 35, 8), (1, 30, 8)), stores=[SCRATCH], checkpoints=[SAVED])
    assert ends(log) == [pytest.approx(45), pytest.approx(45 + 10 + 10)]


def test_who_is_refused_goes_on_without_a_checkpoint() -> None:
    log = play(
        jobs((0, 35, 8), (1, 30, 8)), stores=[SCRATCH | {"on_full": "refuse"}], checkpoints=[SAVED]
    )  # fmt: skip
    assert ends(log) == [pytest.approx(45), pytest.approx(31)]


def test_a_store_in_which_nobody_can_go_on_is_told() -> None:
    """Both hold one checkpoint and wait for room for their second."""
    store = SCRATCH | {"capacity": 25 * GB}
    with pytest.raises(
        PlanError, match=r'store "scratch" is full: 20 GB of 25 GB are in use, 2 jobs would wait for ever'
    ):
        play(jobs((0, 100, 8), (0, 100, 8)), stores=[store], checkpoints=[SAVED])


def test_older_checkpoints_make_room_where_they_may_go() -> None:
    room = Room(30.0, "evict")
    for job, size in (("a", 10.0), ("a", 10.0), ("b", 10.0)):
        assert room.take(job, size)
    assert room.take("c", 10.0)
    assert (room.held["a"], room.evicted) == ([10.0], 1)
    assert not room.take("d", 10.0)  # only last checkpoints are left
    assert room.most == 30.0


def test_no_more_than_so_many_checkpoints_are_kept() -> None:
    room = Room(100.0, "wait")
    for _ in range(4):
        assert room.take("a", 10.0)
        room.is_written("a", keep=2)
    assert room.used == 20.0
    room.ends("a")
    assert room.used == 0.0


def test_a_tier_of_the_catalog_brings_what_is_left_out() -> None:
    known = catalog.store("hdfs-disk")
    store = Store.model_validate({"name": "hdfs", "tier": "hdfs-disk", "units": 120, "write": 5 * GB})
    assert store.reads == 120 * known.read
    assert store.copies == 3
    assert store.writes == pytest.approx(5 * GB / 3)
    assert Store.model_validate(store.model_dump()) == store


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ({"tier": "lustre"}, "lustre-ai400x2t"),
        ({"read": GB}, "needs read and write"),
        ({"read": GB, "write": GB, "capacity": 0.0}, "more than 0"),
    ],
)
def test_stores_that_cannot_be_are_refused(store: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Store.model_validate({"name": "s", **store})


def test_data_sets_that_no_store_holds_are_refused() -> None:
    rule = {"reads": GB, "store": "scratch", "data_set": 20 * GB}
    with pytest.raises(ValidationError, match=r'"scratch" is too small for it.*no store would hold it'):
        play(jobs((0, 1, 8)), stores=[SCRATCH], traffic=[rule])
    with pytest.raises(ValidationError, match="no room for one checkpoint"):
        play(jobs((0, 1, 8)), stores=[SCRATCH | {"capacity": 9 * GB}], checkpoints=[SAVED])


def test_a_job_that_waits_for_room_and_is_hit_hangs_from_then_on(tmp_path: Path) -> None:
    """It waits for room from 21 s on; its node fails at 30 s, which is noticed at 40 s."""
    (tmp_path / "failures.csv").write_text("time_s,node,repair_s,component\n30,1,1000,gpu\n")
    failures = {"log": str(tmp_path / "failures.csv"), "detection": 10.0}
    log = play(jobs((0, 35, 8), (1, 30, 8)), stores=[SCRATCH], checkpoints=[SAVED], failures=failures)
    hit = next(run for run in log.runs if run[0] == 1)
    start_s, end_s, kept_s, lost_s, loading_s, written_s, stalled_s = (*hit[1:3], *hit[4:7], *hit[8:])
    assert (start_s, end_s) == (1, 40)
    assert (kept_s, lost_s, loading_s) == (0, pytest.approx(20), 0)
    assert (written_s, stalled_s) == (pytest.approx(9), pytest.approx(10))
