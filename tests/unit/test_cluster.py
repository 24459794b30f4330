"""Nodes, gangs and what each node has free."""

from __future__ import annotations

import pytest

from sim.cluster import Gang, Pool, WholeNodes, iterate_bits, lowest_bit, parts_of, touches
from sim.placement.nodes import emptiest, tightest


@pytest.mark.parametrize(
    ("gpus", "nodes", "parts"),
    [
        (1, None, ((1, 1),)),
        (8, None, ((8, 1),)),
        (20, None, ((8, 2), (4, 1))),
        (20, 3, ((7, 2), (6, 1))),
        (6, 3, ((2, 3),)),
        (3, 3, ((1, 3),)),
    ],
)
def test_a_gang_is_cut_into_whole_nodes_and_a_rest_or_evenly(
    gpus: int, nodes: int | None, parts: tuple[tuple[int, int], ...]
) -> None:
    assert parts_of(gpus, 8, nodes) == parts


def test_sets_of_nodes_are_read_in_order() -> None:
    assert list(iterate_bits(0b101100)) == [2, 3, 5]
    assert lowest_bit(0b101100) == 2


def test_racks_and_domains_cover_the_pool_and_the_last_may_be_smaller() -> None:
    pool = Pool("pool", "", 5, 8, nodes_per_rack=2, nodes_per_domain=3)
    assert pool.racks == (0b00011, 0b01100, 0b10000)
    assert pool.domains == (0b00111, 0b11000)
    assert pool.gpus == 40


def test_whole_nodes_are_their_pairs() -> None:
    pool = Pool("pool", "", 70, 4, first_node=100)
    some = WholeNodes.of(pool, 1 << 64 | 0b0110)
    pairs = ((101, 4), (102, 4), (164, 4))
    assert some == pairs
    assert (tuple(some), len(some), hash(some)) == (pairs, 3, hash(pairs))
    assert (some[0], some[-1], some[1:]) == (pairs[0], pairs[-1], pairs[1:])
    assert some == WholeNodes.of(pool, 1 << 64 | 0b0110) != WholeNodes.of(pool, 0b0110)
    assert touches(some, {164, 7})
    assert touches(pairs, {164, 7})
    assert not touches(some, {99, 100, 163})
    assert not touches(pairs, {99, 100, 163})


def test_whole_nodes_are_taken_and_given_as_their_pairs_are() -> None:
    pools = [Pool("pool", "", 70, 4, first_node=100, cpus_per_node=8.0) for _ in range(2)]
    gang = Gang(160, ((4, 40),), cpus_per_gpu=2.0)
    some = WholeNodes.of(pools[0], ((1 << 40) - 1) << 7)
    for pool, placement in zip(pools, (some, tuple(some)), strict=True):
        pool.track_host()
        pool.take(placement, gang)
        assert pool.free_gpus == 120
    assert (pools[0].free, pools[0].buckets) == (pools[1].free, pools[1].buckets)
    assert (pools[0].levels, pools[0].host) == (pools[1].levels, pools[1].host)
    with pytest.raises(AssertionError, match="other than 4 free GPUs"):
        pools[0].take(some, gang)
    for pool, placement in zip(pools, (some, tuple(some)), strict=True):
        pool.give(placement, gang)
    fresh = Pool("pool", "", 70, 4, first_node=100)
    assert pools[0].free == pools[1].free == fresh.free
    assert (pools[0].buckets, pools[0].levels) == (fresh.buckets, fresh.levels)
    with pytest.raises(AssertionError, match="other than 0 free GPUs"):
        pools[0].give(some, gang)


def test_taking_what_is_not_free_or_giving_what_nobody_held_is_our_bug() -> None:
    pool = Pool("pool", "", 1, 4)
    gang = Gang(3, ((3, 1),))
    pool.take(((0, 3),), gang)
    with pytest.raises(AssertionError, match="has 1 free GPUs, 3 were taken"):
        pool.take(((0, 3),), gang)
    pool.give(((0, 3),), gang)
    with pytest.raises(AssertionError, match="that nobody held"):
        pool.give(((0, 3),), gang)


def test_an_empty_pool_holds_what_its_nodes_are_wide_and_many_enough_for() -> None:
    pool = Pool("pool", "", 2, 4, cpus_per_node=8.0, memory_bytes_per_node=100.0)
    assert pool.holds(Gang(8, ((4, 2),)))
    assert not pool.holds(Gang(12, ((4, 3),)))
    assert not pool.holds(Gang(5, ((5, 1),)))
    assert not pool.holds(Gang(4, ((4, 1),), cpus_per_gpu=3.0))
    assert not pool.holds(Gang(4, ((4, 1),), memory_bytes_per_gpu=26.0))


def test_cores_are_counted_only_once_a_job_states_them() -> None:
    pool = Pool("pool", "", 1, 4, cpus_per_node=8.0)
    gang = Gang(2, ((2, 1),), cpus_per_gpu=4.0)
    pool.track_host()
    pool.take(((0, 2),), gang)
    assert not pool.fits(Gang(1, ((1, 1),), cpus_per_gpu=0.5))
    assert pool.fits(Gang(2, ((2, 1),)))
    pool.give(((0, 2),), gang)
    assert pool.fits(gang)


def test_asking_for_a_node_where_none_is_allowed_is_our_bug() -> None:
    pool = Pool("pool", "", 2, 4)
    for choose in (tightest, emptiest):
        with pytest.raises(AssertionError):
            choose(pool, 1, 0)
