"""Ways through networks of every kind, by hand."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sim.flows import Fluid
from sim.topology import Network, Site, Usages, Ways, lay, spread_by_chance


def built(nodes: int, per_leaf: int = 2, domain: int = 0, **network: Any) -> tuple[Ways, Fluid]:
    """A network of nodes with cards of 1 byte/s."""
    fluid = Fluid()
    sites = [
        Site(f"n{n}", n // per_leaf, 1.0, n // domain if domain else -1, 10.0 if domain else 0.0)
        for n in range(nodes)
    ]
    return lay(Network(**network), sites, fluid), fluid


def needs(found: tuple[Ways, Fluid], nodes: Sequence[int], pattern: Any) -> dict[str, float]:
    ways, fluid = found
    usages: Usages = {}
    ways.between(nodes, 1.0, pattern, usages)
    return {fluid.names[resource]: usage for resource, usage in usages.items()}


def capacity(found: tuple[Ways, Fluid], name: str) -> float:
    fluid = found[1]
    return fluid.capacity(fluid.names.index(name))


def test_on_a_single_switch_only_cards_carry() -> None:
    found = needs(built(4, kind="single_switch"), [0, 1, 3], "ring")
    assert found == {f"n{n} {way}": 1.0 for n in (0, 1, 3) for way in ("out", "in")}


def test_a_ring_over_two_leaves_crosses_twice() -> None:
    found = needs(built(4, oversubscription=2), [0, 1, 2, 3], "ring")
    assert {name: use for name, use in found.items() if "leaf" in name} == {
        "leaf 0 up": 1.0, "leaf 1 down": 1.0, "leaf 1 up": 1.0, "leaf 0 down": 1.0,
    }  # fmt: skip
    assert capacity(built(4, oversubscription=2), "leaf 0 up") == 1.0


def test_all_to_all_sends_what_is_not_for_the_own_leaf() -> None:
    found = needs(built(4), [0, 1, 2, 3], "all_to_all")
    assert found["leaf 0 up"] == pytest.approx(2 * 2 / 3)
    assert found["n0 out"] == pytest.approx(1.0)


def test_a_fat_tree_of_four_ports_has_pods_of_four_nodes_and_never_blocks() -> None:
    tree = built(16, kind="fat_tree", ports=4)
    assert capacity(tree, "pod 3 up") == 4.0
    across = needs(tree, [0, 4], "ring")
    assert across["leaf 0 up"] == across["pod 0 up"] == across["pod 1 down"] == across["leaf 2 down"] == 1.0
    inside = needs(tree, [0, 2], "ring")
    assert "pod 0 up" not in inside
    assert inside["leaf 1 up"] == 1.0


def test_a_thin_core_is_thin() -> None:
    assert capacity(built(16, kind="fat_tree", ports=4, core_oversubscription=4), "pod 0 up") == 1.0


def test_rails_join_more_nodes_without_the_spine() -> None:
    few, many = built(8, per_leaf=2), built(8, per_leaf=8, kind="rails", nodes_per_leaf=8)
    nodes = range(8)
    assert "leaf 0 up" in needs(few, nodes, "ring")
    assert not any(name.startswith("rails") for name in needs(many, nodes, "ring"))


def test_groups_of_a_dragonfly_are_joined_pair_by_pair() -> None:
    fly = built(12, per_leaf=2, kind="dragonfly", nodes_per_leaf=2, leaves_per_group=2)
    assert capacity(fly, "group 0 to 1") == pytest.approx(4 / 2)
    ring = needs(fly, [0, 4, 8], "ring")
    assert {name for name in ring if name.startswith("group")} == {
        "group 0 to 1", "group 1 to 2", "group 2 to 0",
    }  # fmt: skip
    evenly = needs(fly, range(12), "all_to_all")
    assert evenly["group 0 to 2"] == pytest.approx(4 * 4 / 11)
    ways, fluid = fly
    usages: Usages = {}
    ways.inward([0], 1.0, "lustre", usages)
    assert {fluid.names[way] for way in usages} == {"n0 in", "leaf 0 down", "stores to group 0"}


def test_detours_of_a_dragonfly_take_every_third_group_evenly() -> None:
    fly = built(8, per_leaf=1, kind="dragonfly", nodes_per_leaf=1, leaves_per_group=2, detours=0.5)
    ring = needs(fly, [0, 2], "ring")
    across = {name: use for name, use in ring.items() if name.startswith("group")}
    assert across == {
        "group 0 to 1": 0.5, "group 0 to 2": 0.25, "group 2 to 1": 0.25, "group 0 to 3": 0.25,
        "group 3 to 1": 0.25, "group 1 to 0": 0.5, "group 1 to 2": 0.25, "group 2 to 0": 0.25,
        "group 1 to 3": 0.25, "group 3 to 0": 0.25,
    }  # fmt: skip
    pair = built(4, per_leaf=1, kind="dragonfly", nodes_per_leaf=1, leaves_per_group=2, detours=0.5)
    assert needs(pair, [0, 2], "ring")["group 0 to 1"] == 1.0, "no third group to go by way of"


def test_a_stated_global_link_is_what_groups_get() -> None:
    fly = built(8, kind="dragonfly", nodes_per_leaf=2, leaves_per_group=2, global_link=0.5)
    assert capacity(fly, "group 1 to 0") == 0.5


DRAWN = (
    {"name": "core"},
    {"name": "west", "above": "core", "up": 3.0},
    {"name": "a", "above": "west", "up": 2.0, "nodes": 2},
    {"name": "b", "above": "west", "up": 2.0, "nodes": 2},
    {"name": "east", "above": "core", "up": 1.0, "nodes": 2},
)
"""Two leaves share a switch, a third hangs on the core at once."""


def test_a_drawn_tree_is_passed_as_far_up_as_two_nodes_need() -> None:
    tree = built(6, kind="tree", switches=DRAWN)
    near, far = needs(tree, [0, 2], "ring"), needs(tree, [0, 4], "ring")
    assert {name for name in near if not name.startswith("n")} == {"a up", "a down", "b up", "b down"}
    assert {name for name in far if not name.startswith("n")} == {
        "a up", "west up", "east down", "east up", "west down", "a down",
    }  # fmt: skip
    assert capacity(tree, "west up") == 3.0


def test_nodes_on_the_top_itself_need_no_way_up() -> None:
    top = ({"name": "core", "nodes": 2}, {"name": "side", "above": "core", "up": 1.0, "nodes": 1})
    found = needs(built(3, kind="tree", switches=top), [0, 1, 2], "all_to_all")
    assert found["side up"] == pytest.approx(1.0)
    assert set(found) == {"side up", "side down", *(f"n{n} {way}" for n in range(3) for way in ("in", "out"))}


def test_a_store_of_a_drawn_tree_hangs_on_its_switch() -> None:
    fluid = Fluid()
    sites = [Site(f"n{n}", n, 1.0) for n in range(6)]
    ways = lay(Network(kind="tree", switches=DRAWN), sites, fluid, {"burst": "west", "near": "a"})
    found: dict[tuple[str, int], set[str]] = {}
    for store in ("burst", "near", "lustre"):
        for node in (0, 2, 4):
            usages: Usages = {}
            ways.inward([node], 1.0, store, usages)
            found[store, node] = {fluid.names[way] for way in usages} - {f"n{node} in"}
    assert found == {
        ("burst", 0): {"a down"}, ("burst", 2): {"b down"}, ("burst", 4): {"west up", "east down"},
        ("near", 0): set(), ("near", 2): {"a up", "b down"}, ("near", 4): {"a up", "west up", "east down"},
        ("lustre", 0): {"west down", "a down"}, ("lustre", 2): {"west down", "b down"},
        ("lustre", 4): {"east down"},
    }  # fmt: skip
    usages = {}
    ways.outward([4], 1.0, "near", usages)
    assert {fluid.names[way] for way in usages} == {"n4 out", "east up", "west down", "a down"}


GRAPH = {
    "kind": "graph",
    "switches": ({"name": "a", "nodes": 2}, {"name": "b", "nodes": 2}, {"name": "s"}, {"name": "t"}),
    "links": (
        {"between": ("a", "s"), "rate": 3.0}, {"between": ("a", "t"), "rate": 1.0},
        {"between": ("s", "b"), "rate": 3.0}, {"between": ("t", "b"), "rate": 3.0},
        {"between": ("s", "t"), "rate": 9.0},
    ),
}  # fmt: skip
"""Two leaves and two spines: what is sent is spread over both in proportion to the links to them."""


def test_a_drawn_graph_spreads_over_its_shortest_ways() -> None:
    graph = built(4, **GRAPH)
    near, far = needs(graph, [0, 1], "ring"), needs(graph, [0, 2], "ring")
    assert set(near) == {"n0 out", "n1 in", "n1 out", "n0 in"}
    assert {name: use for name, use in far.items() if " to " in name} == {
        "a to s": 0.75, "a to t": 0.25, "s to b": 0.75, "t to b": 0.25,
        "b to s": 0.5, "b to t": 0.5, "s to a": 0.5, "t to a": 0.5,
    }  # fmt: skip
    evenly = needs(graph, [0, 1, 2, 3], "all_to_all")
    assert evenly["a to s"] == pytest.approx(0.75 * 2 * 2 / 3)
    assert capacity(graph, "s to t") == 9.0


def test_stores_of_a_drawn_graph_are_reached_over_its_links() -> None:
    fluid = Fluid()
    sites = [Site(f"n{n}", n, 1.0) for n in range(4)]
    ways = lay(Network.model_validate(GRAPH), sites, fluid, {"lustre": "s"})
    usages: Usages = {}
    ways.inward([0, 2], 1.0, "lustre", usages)
    ways.outward([0], 0.5, "lustre", usages)
    assert {fluid.names[way]: use for way, use in usages.items()} == {
        "n0 in": 1.0, "n2 in": 1.0, "s to a": 1.0, "s to b": 1.0, "n0 out": 0.5, "a to s": 0.5,
    }  # fmt: skip


def test_a_graph_of_leaves_and_spines_is_a_leaf_spine_fabric() -> None:
    """What crosses a leaf's links to both spines together is what crosses its way up."""
    leaves = tuple({"name": f"leaf {n}", "nodes": 4} for n in range(4))
    links = tuple({"between": (f"leaf {n}", s), "rate": 2.0} for n in range(4) for s in "st")
    drawn = built(16, kind="graph", switches=(*leaves, {"name": "s"}, {"name": "t"}), links=links)
    known = built(16, per_leaf=4)
    rng = np.random.default_rng(8)
    for pattern in ("ring", "all_to_all"):
        for _ in range(20):
            nodes = sorted(rng.choice(16, rng.integers(2, 17), replace=False).tolist())
            mine, theirs = needs(drawn, nodes, pattern), needs(known, nodes, pattern)
            for leaf in range(4):
                up = sum(mine.get(f"leaf {leaf} to {s}", 0.0) for s in "st")
                assert up == pytest.approx(theirs.get(f"leaf {leaf} up", 0.0))


def test_nodes_of_one_scale_up_domain_leave_their_cards_alone() -> None:
    both = built(4, per_leaf=4, domain=2)
    ring = needs(both, [0, 1, 2, 3], "ring")
    assert ring["n0 scale-up"] == 1.0
    assert ring["n1 out"] == 1.0
    assert "n0 out" not in ring
    evenly = needs(both, [0, 1, 2, 3], "all_to_all")
    assert evenly["n0 scale-up"] == pytest.approx(1 / 3)
    assert evenly["n0 out"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "network",
    [
        {"kind": "single_switch"}, {"oversubscription": 3}, {"kind": "fat_tree", "ports": 4},
        {"kind": "dragonfly", "nodes_per_leaf": 2, "leaves_per_group": 2},
    ],
    ids=lambda network: network.get("kind", "leaf_spine"),
)  # fmt: skip
@pytest.mark.parametrize("pattern", ["ring", "all_to_all"])
def test_what_is_sent_arrives(network: dict[str, Any], pattern: str) -> None:
    """Bytes up equal bytes down at every level, and cards carry what nodes send."""
    rng = np.random.default_rng(4)
    found = built(16, **network)
    for _ in range(20):
        nodes = sorted(rng.choice(16, rng.integers(2, 17), replace=False).tolist())
        use = needs(found, nodes, pattern)
        for out, back in ((" out", " in"), (" up", " down")):
            sent = {name: u for name, u in use.items() if name.endswith(out)}
            came = {name: u for name, u in use.items() if name.endswith(back)}
            assert sum(sent.values()) == pytest.approx(sum(came.values()))
        assert sum(u for name, u in use.items() if name.endswith(" out")) == pytest.approx(len(nodes))


def test_flows_that_meet_by_chance_use_less_of_their_ways() -> None:
    """Against drawing: 32 flows of a leaf on 8 ways."""
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(32, [1 / 8] * 8, 20_000).max(axis=1).mean()
    assert spread_by_chance(32, 8) == pytest.approx(4 / drawn, rel=0.005)
    less = [spread_by_chance(flows, 8) for flows in (8, 32, 128, 512)]
    assert all(one < other for one, other in pairwise(less))


def test_collisions_make_the_ways_up_thinner() -> None:
    spread = built(4, spines=2)
    meeting = built(4, spines=2, flows_per_node=1)
    assert capacity(meeting, "leaf 0 up") == pytest.approx(2 / 3 * capacity(spread, "leaf 0 up"))


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"kind": "fat_tree"}, "fat_tree needs ports"),
        ({"kind": "fat_tree", "ports": 5}, "must be even"),
        ({"kind": "dragonfly", "nodes_per_leaf": 2}, "dragonfly needs leaves_per_group"),
        ({"kind": "single_switch", "oversubscription": 2}, "oversubscription does nothing for single_switch"),
        ({"flows_per_node": 4}, "needs spines"),
        ({"card": 0.0}, "card must be more than 0"),
        (
            {"kind": "dragonfly", "nodes_per_leaf": 1, "leaves_per_group": 1, "global_link": 0.0},
            "more than 0",
        ),
        ({"kind": "tree"}, "tree needs switches"),
        ({"kind": "tree", "switches": ({"name": "a"}, {"name": "a"})}, '"a" stands there twice'),
        ({"kind": "tree", "switches": ({"name": "a"}, {"name": "b"})}, "falls into parts: a and b"),
        (
            {"kind": "tree", "switches": ({"name": "a", "above": "c", "up": 1.0},)},
            'hangs on "c", which is not there',
        ),
        (
            {
                "kind": "tree",
                "switches": tuple({"name": n, "above": o, "up": 1.0} for n, o in ("ab", "bc", "ca")),
            },
            "in a circle: a on b on c on a",
        ),
        (
            {"kind": "tree", "switches": ({"name": "a"}, {"name": "b", "above": "a", "up": 0.0})},
            "up must be more",
        ),
        ({"kind": "tree", "switches": ({"name": "a"}, {"name": "b", "above": "a"})}, "above and up belong"),
        ({"kind": "tree", "switches": ({"name": "a"},), "links": GRAPH["links"]}, "links does nothing"),
        ({**GRAPH, "links": GRAPH["links"][:1]}, "falls into parts: no way leads from b to a"),
        ({**GRAPH, "links": ({"between": ("a", "x"), "rate": 1.0},)}, 'switch "x", which is not there'),
        ({**GRAPH, "links": ({"between": ("a", "a"), "rate": 1.0},)}, 'joins "a" with itself'),
        ({**GRAPH, "links": ({"between": ("a", "b"), "rate": 0.0},)}, "rate must be more than 0"),
        ({**GRAPH, "links": (*GRAPH["links"], {"between": ("s", "a"), "rate": 1.0})}, "a and s are linked"),
        ({"kind": "graph", "switches": ({"name": "b", "above": "a", "up": 1.0},)}, "as in a tree"),
        ({"kind": "dragonfly", "nodes_per_leaf": 2, "leaves_per_group": 2, "detours": 1.5}, "less than"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_are_refused(network: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Network.model_validate(network)
