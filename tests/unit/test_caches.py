"""Caches of data sets that are read in a new order in every pass, against playing them."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pytest

from sim.caches import NodeCaches, Policy, found_together, hit_ratio, throughput
from sim.errors import PlanError


def played(policy: str, share: float, items: int = 2000, passes: int = 60) -> float:
    """Share of reads found, after some passes to fill the cache."""
    draw = np.random.default_rng(5)
    room = round(share * items)
    cache: OrderedDict[int, None] = OrderedDict()
    hits = reads = 0
    for number in range(passes):
        for item in draw.permutation(items).tolist():
            found = item in cache
            if number >= 20:
                reads += 1
                hits += found
            if found:
                if policy == "lru":
                    cache.move_to_end(item)
            elif policy != "static" or len(cache) < room:
                cache[item] = None
                if len(cache) > room:
                    cache.popitem(last=False)
    return hits / reads


@pytest.mark.parametrize("policy", ["static", "lru", "fifo"])
@pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.75, 0.9])
def test_hit_ratios_are_those_of_playing_the_cache(policy: Policy, share: float) -> None:
    assert hit_ratio(policy, share) == pytest.approx(played(policy, share), abs=0.004)


def test_the_published_values() -> None:
    assert [round(hit_ratio("lru", c), 3) for c in (0.35, 0.5, 0.9)] == [0.07, 0.153, 0.67]
    assert [hit_ratio("fifo", c) for c in (0.35, 0.5, 0.9)] == pytest.approx([0.081, 0.194, 0.829], abs=0.002)


def test_edges() -> None:
    policies: tuple[Policy, ...] = ("static", "lru", "fifo")
    assert [hit_ratio(policy, 0.0) for policy in policies] == [0, 0, 0]
    assert [hit_ratio(policy, 2.0) for policy in policies] == [1, 1, 1]
    assert hit_ratio("none", 0.9) == 0.0
    with pytest.raises(PlanError, match="share of 0 or more"):
        hit_ratio("lru", -0.1)


@pytest.mark.parametrize("readers", [2, 4])
@pytest.mark.parametrize("share", [0.15, 0.5, 0.8])
@pytest.mark.parametrize("policy", ["static", "lru", "fifo"])
def test_readers_of_one_cache_find_more_than_one_alone(policy: Policy, share: float, readers: int) -> None:
    """Each in a new order in every pass, at places of their passes that differ."""
    rng = np.random.default_rng(7)
    items, room = 1500, round(1500 * share)
    cache: OrderedDict[int, None] = OrderedDict((item, None) for item in range(room))
    orders = [rng.permutation(items) for _ in range(readers)]
    places = rng.integers(0, items, readers).tolist()
    hits = []
    for turn in range(12 * items):
        for reader in range(readers):
            if places[reader] == items:
                orders[reader], places[reader] = rng.permutation(items), 0
            item = int(orders[reader][places[reader]])
            places[reader] += 1
            if turn >= 3 * items:
                hits.append(item in cache)
            if item in cache and policy == "lru":
                cache.move_to_end(item)
            elif item not in cache and policy != "static":
                cache[item] = None
                cache.popitem(last=False)
    error = 0.035 if policy == "fifo" else 0.02
    assert hit_ratio(policy, share, readers) == pytest.approx(np.mean(hits), abs=error)


def test_more_cache_never_finds_less() -> None:
    for policy in ("static", "lru", "fifo"):
        found = [hit_ratio(policy, c) for c in np.linspace(0, 1, 41)]  # type: ignore[arg-type]
        assert found == sorted(found)


def test_a_job_is_as_fast_as_its_gpus_or_as_what_it_does_not_find() -> None:
    assert throughput(1000.0, 300.0, 1.0) == 1000.0
    assert throughput(1000.0, 300.0, 0.0) == 300.0


def test_nodes_that_read_together_hold_parts_and_others_hold_them_by_chance() -> None:
    caches = NodeCaches()
    caches.fill("images", [0, 1], 1.0, caches.new_pass())
    caches.fill("images", [2, 3], 0.5, caches.new_pass())
    caches.fill("text", [0], 0.25, caches.new_pass())
    assert caches.held("images", [0, 1]) == 1.0
    assert caches.held("images", [1, 2, 3]) == pytest.approx(1 - 0.5 * 0.5)
    assert [caches.held(name, [0]) for name in ("images", "text", "none")] == [0.5, 0.25, 0.0]
    caches.empty(0)
    assert [caches.held(name, [0, 1]) for name in ("images", "text")] == [0.5, 0.0]


def test_what_passes_bring_is_by_chance_the_same_until_one_of_them_is_over() -> None:
    caches = NodeCaches()
    number = caches.new_pass()
    for share in (0.2, 0.6):
        caches.fill("images", [0, 1], share, number)
        assert caches.held("images", [0, 1]) == pytest.approx(share)
    caches.fill("images", [1], 0.1, caches.new_pass())
    assert caches.held("images", [0, 1]) == pytest.approx(1 - 0.4 * 0.9)
    caches.settle("images", [1], 0.9, caches.new_pass())
    assert caches.held("images", [0, 1]) == pytest.approx(1 - 0.7 * 0.1)
    caches.settle("images", [0, 1], 1.0, number)
    assert caches.held("images", [0]) == pytest.approx(0.5)
    assert caches.held("images", [1]) == pytest.approx(0.9), "where another has more it stays"


@pytest.mark.parametrize("starts", [(0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.5), (0.0, 0.3, 0.8)])
def test_readers_together_find_what_playing_the_cache_finds(starts: Sequence[float]) -> None:
    """Each passes once in an order of its own, as fast as the others, from its start on."""
    items, parts = 16_000, 16
    rng = np.random.default_rng(3)
    orders = [rng.permutation(items) for _ in starts]
    cache = np.zeros(items, dtype=bool)
    played = np.zeros((len(starts), parts))
    first = [round(start * items) for start in starts]
    for moment in range(items + max(first)):
        for reader, order in enumerate(orders):
            if 0 <= (passed := moment - first[reader]) < items:
                played[reader, passed * parts // items] += cache[order[passed]] / (items / parts)
                cache[order[passed]] = True
    there, time, told = 0.0, 0.0, np.zeros((len(starts), parts))
    step = 1 / parts
    for tick in range(round((1 + max(starts)) * parts) + 1):
        time = tick * step
        reading = [r for r, start in enumerate(starts) if -1e-9 <= time - start + step * 0.5 < 1.0]
        read = {r: max(0.0, time - starts[r]) for r in reading}
        found = {
            r: found_together(
                there, 1.0, (read[r], read[r]), [(u, u) for other, u in read.items() if other != r], step
            )
            for r in reading
        }
        for r in reading:
            told[r, min(parts - 1, round((time - starts[r]) * parts))] = found[r]
        there = min(1.0, there + step * sum(1.0 - each for each in found.values()))
    assert told == pytest.approx(played, abs=0.06)
    assert told.mean(axis=1) == pytest.approx(played.mean(axis=1), abs=0.02)
