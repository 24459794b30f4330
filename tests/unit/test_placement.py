"""Where gangs go: each placement on a pool of known free GPUs, and what jobs may ask of nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.cluster import Gang, Pool, parts_of
from sim.placement import PLACEMENT
from sim.placement.nodes import MANY, emptiest, fill, first, tightest
from tests.support.playing import causes, jobs, nodes, play, told


def pool(*free: int, per_node: int = 8, nodes_per_rack: int = 0, nodes_per_domain: int = 1) -> Pool:
    made = Pool(
        "pool", "", len(free), per_node, nodes_per_rack=nodes_per_rack, nodes_per_domain=nodes_per_domain
    )
    made.set_free(list(free))
    return made


def gang(gpus: int, asked: int | None = None, *, local: bool = False) -> Gang:
    return Gang(gpus, parts_of(gpus, 8, asked), local)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("consolidate", ((1, 3),)),
        ("first_fit", ((0, 3),)),
        ("spread", ((2, 3),)),
        ("scatter", ((1, 3),)),
    ],
)
def test_a_narrow_gang_goes_where_the_placement_says(name: str, expected: object) -> None:
    assert PLACEMENT[name]().find(pool(6, 4, 8, 2), gang(3)) == expected


def test_consolidate_gives_whole_nodes_and_the_rest_to_the_emptiest_node() -> None:
    assert PLACEMENT["consolidate"]().find(pool(8, 5, 7, 8), gang(20)) == ((0, 8), (3, 8), (2, 4))


def test_consolidate_wants_whole_free_nodes_for_a_wide_gang() -> None:
    assert PLACEMENT["consolidate"]().find(pool(8, 7, 7, 7), gang(16)) is None
    assert PLACEMENT["scatter"]().find(pool(8, 7, 7, 7), gang(16)) == ((0, 8), (1, 7), (2, 1))


def test_a_gang_that_asks_for_nodes_is_split_as_evenly_as_it_can_be() -> None:
    assert PLACEMENT["first_fit"]().find(pool(2, 3, 4, 8), gang(8, 3)) == ((1, 3), (2, 3), (0, 2))


def test_topology_aware_prefers_one_domain_then_one_rack_then_few() -> None:
    rule = PLACEMENT["topology_aware"]()
    free = pool(8, 0, 8, 8, 0, 8, 8, 8, nodes_per_rack=4, nodes_per_domain=2)
    assert rule.find(free, gang(16)) == ((2, 8), (3, 8))
    assert rule.find(free, gang(24)) == ((0, 8), (2, 8), (3, 8))
    assert rule.find(free, gang(32)) is not None
    assert rule.find(free, gang(32, local=True)) is None


def test_topology_aware_packs_a_narrow_gang_on_the_fullest_node() -> None:
    rule = PLACEMENT["topology_aware"]()
    assert rule.find(pool(8, 6, 3, 3, 1), gang(2)) == ((2, 2),)
    assert rule.find(pool(8, 6, 3, 3, 1, nodes_per_rack=2), gang(4)) == ((1, 4),)
    assert rule.find(pool(7, 7), gang(8)) is None


def test_topology_aware_keeps_whole_domains_free_where_nodes_are_equally_full() -> None:
    rule = PLACEMENT["topology_aware"]()
    assert rule.find(pool(8, 8, 8, 8, 4, 8, nodes_per_domain=2), gang(8)) == ((5, 8),)
    assert rule.find(pool(8, 8, 8, 8, 4, 8, nodes_per_domain=2), gang(2)) == ((4, 2),)


def test_a_job_waits_for_its_rack_until_its_patience_ends() -> None:
    # Racks of two nodes of four. Once job 1 has ended, one node is free in each rack; job 3 wants two in one.
    table = jobs((0, 100, 4), (0, 1, 4), (0, 100, 4), (1, 10, 8), (60, 10, 8))
    log = play(table, nodes(4, 4, nodes_per_rack=2), placement={"kind": "topology_aware", "patience": 30.0})
    assert [run[7] for run in sorted(log.runs)] == [((0, 4),), ((1, 4),), ((2, 4),), *[((1, 4), (3, 4))] * 2]
    assert told(log)[3:] == [(31, 41), (90, 100)]
    assert causes(log, 3) == {"fragmentation": 30.0}


def test_a_job_starts_at_once_where_a_rack_has_room_for_it() -> None:
    table = jobs((0, 100, 4), (1, 10, 8))
    waits = {"kind": "topology_aware", "patience": 30.0}
    log = play(table, nodes(4, 4, nodes_per_rack=2), placement=waits)
    assert [run[7] for run in sorted(log.runs)][1] == ((2, 4), (3, 4))
    assert told(log)[1] == (1, 11)


@pytest.mark.parametrize("blocking", ["strict", "greedy"])
def test_a_job_that_gave_up_its_wish_keeps_its_place_in_the_queue(blocking: str) -> None:
    waits = {"kind": "topology_aware", "patience": 5.0}
    table = jobs((0, 20, 4), (1, 5, 4), (2, 5, 4), (8, 5, 4))
    log = play(table, nodes(1, 4), placement=waits, blocking=blocking)
    assert told(log) == [(0, 20), (20, 25), (25, 30), (30, 35)]
    assert [wait[1:3] for wait in log.waits if wait[0] == 1] == [(1, 6), (6, 20)]


def test_jobs_run_on_the_kind_of_gpu_that_they_ask_for() -> None:
    old, new = nodes(1, 4, gpu="v100-sxm2-32gb"), nodes(1, 4, gpu="h100-sxm5-80gb") | {"name": "new"}
    table = jobs((0, 5, 4), (0, 5, 4), (0, 5, 4), (0, 5, 1), gpu_kind=[new["gpu"], new["gpu"], None, "b200"])
    log = play(table, old, new)
    assert [run[7] for run in sorted(log.runs)] == [((1, 4),), ((1, 4),), ((0, 4),)]
    assert told(log) == [(0, 5), (5, 10), (0, 5)]
    assert log.rejections == [(3, "asks for GPUs of kind b200, which shared does not have")]


def test_cores_and_memory_limit_how_many_jobs_share_a_node() -> None:
    pool = nodes(1, 4, cpus_per_node=8.0, memory_per_node=100.0)
    table = jobs((0, 5, 1), (0, 5, 1), (0, 5, 1), (0, 5, 1), cpus=[6, 3, 1, 1], memory_bytes=[10, 10, 95, 10])
    log = play(table, pool)
    assert told(log) == [(0, 5), (5, 10), (10, 15), (0, 5)]
    assert causes(log, 1) == {"fragmentation": 5.0}


def test_a_job_wider_than_every_pool_is_rejected_and_holds_up_nobody() -> None:
    table = jobs((0, 5, 9), (0, 5, 6), (0, 5, 4), nodes=[None, 3, None])
    log = play(table, nodes(2, 4), blocking="strict")
    assert [job for job, _ in log.rejections] == [0, 1]
    assert "more GPUs than any pool" in log.rejections[0][1]
    assert "number of nodes" in log.rejections[1][1]
    assert [run[0] for run in log.runs] == [2]


@pytest.mark.parametrize("choose", [tightest, emptiest, first])
def test_many_whole_nodes_are_those_that_one_by_one_would_be_chosen(choose: Any) -> None:
    draw = np.random.default_rng(2)
    for count in (MANY, MANY + 1, 100):
        pool = Pool("p", "", 300, 8)
        taken = draw.choice(300, 150, replace=False).tolist()
        pool.take(tuple((int(node), int(draw.integers(1, 9))) for node in taken), Gang(0, ()))
        parts = ((8, count), (4, 1))
        found = fill(pool, Gang(8 * count + 4, parts), choose)
        whole = [node for node in range(300) if pool.free[node] == 8][:count]
        assert found is not None
        assert found[:count] == tuple((node, 8) for node in whole)
        assert found[count][0] not in whole
