"""Caches of data sets that are read in a new order in every pass, against playing them."""

from collections import OrderedDict

import numpy as np
import pytest

from sim.caches import NodeCaches, Policy, hit_ratio, throughput
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


def test_a_pass_replaces_what_it_has_brought_so_far_and_takes_nothing_from_others() -> None:
    caches = NodeCaches()
    number = caches.new_pass()
    for share in (0.2, 0.6):
        caches.fill("images", [0, 1], share, number)
        assert caches.held("images", [0, 1]) == pytest.approx(share)
    caches.fill("images", [1], 0.1, caches.new_pass())
    assert caches.held("images", [0, 1]) == pytest.approx(0.6)
    caches.fill("images", [1], 0.9, caches.new_pass())
    assert caches.held("images", [0, 1]) == pytest.approx(1 - 0.7 * 0.1)
