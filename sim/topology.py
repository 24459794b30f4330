"""How nodes are wired: which ways traffic takes between them, and what each way carries.

A fabric is made of *levels*: the network cards of nodes, the leaf switches that nodes hang on, groups of
leaves, and so on to the top. Whatever leaves a group at a level uses that group's way up, and what comes in
its way down; equal ways side by side (the spine switches above a leaf) are one resource, as traffic is spread
over them. That is exact for trees and for spread traffic in folded Clos networks. A dragonfly joins its
groups pair by pair instead of at a top, and a drawn graph its switches by any links.

Nodes of one scale-up domain (NVLink between nodes) reach one another there, without their cards.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sim.drawn import Graph, Link, Switch, check_graph, check_tree, path_up
from sim.parts import BytesPerSecond, Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sim.flows import Fluid

Usages = dict[int, float]
Shares = tuple[tuple[int, float], ...]
Pattern = Literal["ring", "all_to_all"]
Kind = Literal["leaf_spine", "single_switch", "fat_tree", "rails", "dragonfly", "tree", "graph"]
NEEDED: Final[Mapping[Kind, tuple[str, ...]]] = {
    "leaf_spine": (), "single_switch": (), "fat_tree": ("ports",), "rails": ("nodes_per_leaf",),
    "dragonfly": ("nodes_per_leaf", "leaves_per_group"), "tree": ("switches",),
    "graph": ("switches",),
}  # fmt: skip
ALLOWED: Final[Mapping[Kind, tuple[str, ...]]] = {
    "leaf_spine": ("nodes_per_leaf", "oversubscription", "spines"),
    "single_switch": (),
    "fat_tree": ("ports", "oversubscription", "core_oversubscription", "spines"),
    "rails": ("nodes_per_leaf", "oversubscription", "spines"),
    "dragonfly": ("nodes_per_leaf", "leaves_per_group", "oversubscription", "global_link", "detours"),
    "tree": ("switches",),
    "graph": ("switches", "links"),
}
"""What each kind of network is described by, besides the cards and how flows meet."""
SPECIFIC: Final = tuple(dict.fromkeys(name for names in ALLOWED.values() for name in names))


class Network(Part):
    """How nodes are wired; left as it is, a leaf-spine fabric."""

    kind: Kind = Field(
        "leaf_spine",
        description="leaf_spine: leaves that meet in a spine; single_switch: nothing but cards; fat_tree: "
        "three levels of switches with so many ports; rails: each card of a node on a leaf of its own; "
        "dragonfly: groups joined pair by pair; tree: as drawn in switches; graph: as drawn in switches and "
        "links",
    )
    card: BytesPerSecond | None = Field(
        None,
        description="of all network cards of a node, each direction; left out, as the catalog's node has",
    )
    nodes_per_leaf: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="nodes on one leaf switch; left out, those of a rack. With rails: nodes that share one "
        "set of leaves, which is as many as a leaf has ports down",
    )
    oversubscription: Annotated[float, Field(ge=0.1, le=1000)] = Field(
        1.0, description="cards of the nodes of a leaf over its way up; 1 never blocks"
    )
    ports: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="of each switch of a fat tree: half as many nodes on a leaf, and leaves in a pod",
    )
    core_oversubscription: Annotated[float, Field(ge=0.1, le=1000)] = Field(
        1.0, description="ways up of the leaves of a pod over the pod's way to the core"
    )
    leaves_per_group: Annotated[int, Field(ge=1)] | None = Field(
        None, description="leaves (routers) in a group of a dragonfly"
    )
    global_link: BytesPerSecond | None = Field(
        None,
        description="between each two groups of a dragonfly, each direction; left out, what the ways up of a "
        "group's leaves carry, shared out evenly among the other groups",
    )
    detours: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        description="share of what one group of a dragonfly sends another that goes by way of a third, "
        "spread evenly over all of them; 1 is routing after Valiant",
    )
    switches: tuple[Switch, ...] = Field((), description="of a drawn tree or graph")
    links: tuple[Link, ...] = Field(
        (), description="of a drawn graph; traffic takes the ways with the fewest of them"
    )
    spines: Annotated[int, Field(ge=1)] | None = Field(
        None, description="equal ways up from a leaf, among which flows are spread by their headers"
    )
    flows_per_node: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="flows that a node sends at a time. Given with spines, flows meet on one way by chance "
        "while others are free (ECMP); left out, traffic is spread evenly (adaptive routing)",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.card is not None and self.card <= 0:
            raise ValueError("card must be more than 0: a node without a network reaches nobody")
        if self.global_link is not None and self.global_link <= 0:
            raise ValueError("global_link must be more than 0: groups would never reach one another")
        missing = [name for name in NEEDED[self.kind] if not getattr(self, name)]
        if missing:
            raise ValueError(f"{self.kind} needs {' and '.join(missing)}")
        fields = type(self).model_fields
        idle = [
            name
            for name in SPECIFIC
            if name not in ALLOWED[self.kind] and getattr(self, name) != fields[name].default
        ]
        if idle:
            raise ValueError(
                f"{' and '.join(idle)} {'does' if len(idle) == 1 else 'do'} nothing for {self.kind}"
            )
        if self.flows_per_node is not None and self.spines is None:
            raise ValueError("flows_per_node needs spines: the ways among which flows are spread")
        if self.ports is not None and self.ports % 2:
            raise ValueError("ports must be even: half of them lead down and half up")
        if self.kind == "tree":
            check_tree(self.switches)
        if self.kind == "graph":
            check_graph(self.switches, self.links)
        return self

    @property
    def is_drawn(self) -> bool:
        """Whether its switches have names and serve the nodes that they say."""
        return self.kind in ("tree", "graph")

    def width(self, nodes_per_rack: int) -> int:
        """Nodes on a leaf."""
        if self.kind == "fat_tree":
            return (self.ports or 2) // 2
        return self.nodes_per_leaf or nodes_per_rack

    def use(self, nodes: int) -> float:
        """Share of a leaf's way up that flows of so many nodes can use: 1 where traffic is spread evenly."""
        if self.flows_per_node is None or self.spines is None:
            return 1.0
        return spread_by_chance(nodes * self.flows_per_node, self.spines)


def spread_by_chance(flows: int, ways: int) -> float:
    """Mean load of equal ways over that of the fullest, if each of some equal flows takes one by chance.

    The fullest way decides when all are through. The distribution of the largest of a multinomial is exact:
    P(at most m) = flows! / ways^flows times the coefficient of x^flows in (sum over k <= m of x^k / k!)^ways.
    ECMP hashes headers to such a choice.

    >>> round(spread_by_chance(2, 2), 4), round(spread_by_chance(1000, 1), 4)
    (0.6667, 1.0)
    """
    if ways == 1:
        return 1.0
    tail, most = 0.0, 0
    while True:
        below = _share_at_most(flows, ways, most)
        if most * ways >= flows and below > 1 - 1e-12:
            break
        tail += 1.0 - below  # the mean is the sum of P(more than m)
        most += 1
    return flows / ways / tail


def _share_at_most(flows: int, ways: int, most: int) -> float:
    """Probability that no way has more than so many flows, by adding one way after another."""
    if most * ways < flows:
        return 0.0
    logs = np.array([math.lgamma(k + 1) for k in range(flows + 1)])
    reached = np.zeros(flows + 1)
    reached[0] = 1.0
    for left in range(ways, 0, -1):
        # of the flows not placed yet, each takes this way with probability 1 / left
        following = np.zeros(flows + 1)
        for placed in np.flatnonzero(reached):
            rest = flows - int(placed)
            k = np.arange(min(most, rest) + 1)
            if left == 1:
                chance = (k == rest).astype(np.float64)
            else:
                spread = logs[rest] - logs[k] - logs[rest - k]
                chance = np.exp(spread - k * math.log(left) + (rest - k) * math.log1p(-1 / left))
            following[placed + k] += reached[placed] * chance
        reached = following
    return float(reached[flows])


@dataclass(slots=True)
class Level:
    """Groups of nodes at one height, and the resources of their ways up and down."""

    group_of: Sequence[int]
    """The group of each node."""
    up: list[int]
    down: list[int]


@dataclass(slots=True)
class Ways:
    """The resources of a network, and what traffic between nodes needs of them."""

    levels: list[Level] = field(default_factory=list)
    """From the cards of nodes to the top."""
    pairs: Mapping[tuple[int, int], Shares] = field(default_factory=dict)
    """Between groups above the top level: the ways from one to another, and the share that each carries."""
    links: list[int] = field(default_factory=list)
    """All ways between groups."""
    domain_of: Sequence[int] = ()
    """The scale-up domain of each node; empty where no domain has several nodes."""
    inside: list[int] = field(default_factory=list)
    """The way of each node into its domain."""
    group_of: Sequence[int] = ()
    """The group of each node, where groups are joined by links."""
    home_of: dict[str, int] = field(default_factory=dict)
    """In drawn networks, where stores hang: the place after the last node that each has in every level."""

    def between(self, nodes: Sequence[int], rate: float, pattern: Pattern, usages: Usages) -> None:
        """Add what it needs that each of some nodes sends so much to others of them, in order of index."""
        if len(nodes) <= 1 or not self.levels:
            return
        if pattern == "ring":
            for place, node in enumerate(nodes):
                self._pair(node, nodes[(place + 1) % len(nodes)], rate, usages)
        else:
            self._evenly(nodes, rate, usages)

    def _pair(self, source: int, target: int, rate: float, usages: Usages) -> None:
        if self.domain_of and self.domain_of[source] == self.domain_of[target]:
            add(usages, self.inside[source], rate)
            return
        cards = self.levels[0]
        add(usages, cards.up[cards.group_of[source]], rate)
        add(usages, cards.down[cards.group_of[target]], rate)
        self._climb(source, target, rate, usages)

    def _climb(self, source: int, target: int, rate: float, usages: Usages) -> None:
        """Above the cards: up as far as the two need, across, and down."""
        for level in self.levels[1:]:
            here, there = level.group_of[source], level.group_of[target]
            if here == there:
                return
            add(usages, level.up[here], rate)
            add(usages, level.down[there], rate)
        if self.group_of:
            self._across(self.group_of[source], self.group_of[target], rate, usages)

    def _across(self, here: int, there: int, rate: float, usages: Usages) -> None:
        """From one group to another over the links between groups."""
        if here != there:
            for link, share in self.pairs[here, there]:
                add(usages, link, rate * share)

    def _evenly(self, nodes: Sequence[int], rate: float, usages: Usages) -> None:
        """To all others in equal parts."""
        others = len(nodes) - 1
        self._from_cards(nodes, rate, usages)
        for level in self.levels[1:]:
            for group, here in Counter(level.group_of[node] for node in nodes).items():
                if here <= others:
                    across = here * rate * (others + 1 - here) / others
                    add(usages, level.up[group], across)
                    add(usages, level.down[group], across)
        if self.group_of:
            groups = Counter(self.group_of[node] for node in nodes)
            for here, count in groups.items():
                for there, more in groups.items():
                    self._across(here, there, count * more * rate / others, usages)

    def _from_cards(self, nodes: Sequence[int], rate: float, usages: Usages) -> None:
        """What is for others of the domain goes there; the rest takes the cards."""
        others = len(nodes) - 1
        near = Counter(self.domain_of[node] for node in nodes) if self.domain_of else Counter[int]()
        cards = self.levels[0]
        for node in nodes:
            beside = near[self.domain_of[node]] - 1 if near else 0
            if beside:
                add(usages, self.inside[node], rate * beside / others)
            if beside < others:
                far = rate * (others - beside) / others
                add(usages, cards.up[cards.group_of[node]], far)
                add(usages, cards.down[cards.group_of[node]], far)

    def outward(self, nodes: Sequence[int], rate: float, store: str, usages: Usages) -> None:
        """Add what it needs that each of some nodes sends so much to a store."""
        home = self.home_of.get(store)
        for node in nodes:
            if home is None:
                for level in self.levels:
                    add(usages, level.up[level.group_of[node]], rate)
                if self.group_of:
                    self._across(self.group_of[node], STORES, rate, usages)
            else:
                cards = self.levels[0]
                add(usages, cards.up[cards.group_of[node]], rate)
                self._climb(node, home, rate, usages)

    def inward(self, nodes: Sequence[int], rate: float, store: str, usages: Usages) -> None:
        """Add what it needs that each of some nodes gets so much from there."""
        home = self.home_of.get(store)
        for node in nodes:
            if home is None:
                for level in self.levels:
                    add(usages, level.down[level.group_of[node]], rate)
                if self.group_of:
                    self._across(STORES, self.group_of[node], rate, usages)
            else:
                cards = self.levels[0]
                add(usages, cards.down[cards.group_of[node]], rate)
                self._climb(home, node, rate, usages)


STORES: Final = -1
NO_WAY: Final = -1
"""In place of a resource where nothing has to be passed."""


def add(usages: Usages, resource: int, rate: float) -> None:
    """Something needs more of a resource."""
    if resource == NO_WAY:
        return
    usages[resource] = usages.get(resource, 0.0) + rate


@dataclass(frozen=True, slots=True)
class Site:
    """A node as the network sees it."""

    name: str
    leaf: int
    """The leaf switch of its rack, or of as many nodes as the network says."""
    card: float
    """What its network cards carry, bytes a second each way."""
    domain: int = -1
    """Its scale-up domain, where that has several nodes; -1 for none."""
    scale_up: float = 0.0
    """What it can send to others of its domain, bytes a second."""


def lay(
    network: Network, sites: Sequence[Site], fluid: Fluid, stores: Mapping[str, str] | None = None
) -> Ways:
    """The resources of a network that joins some nodes, and stores to the switches of a drawn one."""
    cards = [site.card for site in sites]
    ways = Ways([_level(range(len(sites)), cards, [site.name for site in sites], ("out", "in"), fluid)])
    if network.is_drawn:
        homes = [switch.name for switch in network.switches for _ in range(switch.nodes)]
        ways.home_of = {store: len(homes) + place for place, store in enumerate(stores or {})}
        homes += (stores or {}).values()
        if network.kind == "tree":
            ways.levels += _drawn(network, fluid, homes)
        else:
            _link(network, fluid, homes, ways)
    elif network.kind != "single_switch":
        _stack(network, sites, fluid, ways)
    if any(site.domain >= 0 for site in sites):
        # a node alone in its domain has a negative number of its own
        ways.domain_of = [site.domain if site.domain >= 0 else -2 - place for place, site in enumerate(sites)]
        ways.inside = [
            fluid.resource(f"{site.name} scale-up", site.scale_up) if site.domain >= 0 else -1
            for site in sites
        ]
    return ways


def _stack(network: Network, sites: Sequence[Site], fluid: Fluid, ways: Ways) -> None:
    """Leaves, and what is above them."""
    leaf_of = [site.leaf for site in sites]
    whole = _sums(leaf_of, [site.card for site in sites])
    counts = Counter(leaf_of)
    rates = [rate / network.oversubscription * network.use(counts[leaf]) for leaf, rate in enumerate(whole)]
    noun = "rails" if network.kind == "rails" else "leaf"
    ways.levels.append(_level(leaf_of, rates, _numbered(noun, len(rates)), ("up", "down"), fluid))
    if network.kind == "fat_tree":
        pod_of = [leaf // ((network.ports or 2) // 2) for leaf in leaf_of]
        of_leaf = {site.leaf: pod for site, pod in zip(sites, pod_of, strict=True)}
        pods = _sums([of_leaf[leaf] for leaf in range(len(rates))], rates)
        pods = [rate / network.core_oversubscription for rate in pods]
        ways.levels.append(_level(pod_of, pods, _numbered("pod", len(pods)), ("up", "down"), fluid))
    if network.kind == "dragonfly":
        ways.group_of = [leaf // (network.leaves_per_group or 1) for leaf in leaf_of]
        of_leaf = {site.leaf: group for site, group in zip(sites, ways.group_of, strict=True)}
        groups = _sums([of_leaf[leaf] for leaf in range(len(rates))], rates)
        _join(network, groups, fluid, ways)


def _join(network: Network, groups: Sequence[float], fluid: Fluid, ways: Ways) -> None:
    """Groups of a dragonfly, pair by pair, each with what its leaves carry upwards."""
    numbers = range(len(groups))
    direct: dict[tuple[int, int], int] = {}
    for here, rate in enumerate(groups):
        link = network.global_link or rate / max(1, len(groups) - 1)
        for there in numbers:
            if here != there:
                direct[here, there] = fluid.resource(f"group {here} to {there}", link)
        direct[here, STORES] = fluid.resource(f"group {here} to stores", link)
        direct[STORES, here] = fluid.resource(f"stores to group {here}", link)
    pairs: dict[tuple[int, int], Shares] = {}
    for (here, there), way in direct.items():
        by_way_of = [third for third in numbers if third not in (here, there)] if network.detours else []
        if STORES in (here, there) or not by_way_of:
            pairs[here, there] = ((way, 1.0),)
            continue
        each = network.detours / len(by_way_of)
        legs = [(direct[leg], each) for third in by_way_of for leg in ((here, third), (third, there))]
        pairs[here, there] = ((way, 1.0 - network.detours), *legs)
    ways.pairs, ways.links = pairs, list(direct.values())


class Routes(dict[tuple[int, int], Shares]):
    """The ways between switches of a graph, found when they are asked for."""

    def __init__(self, graph: Graph, links: Sequence[int]) -> None:
        super().__init__()
        self._graph, self._links = graph, links

    def __missing__(self, ends: tuple[int, int]) -> Shares:
        found = tuple((self._links[link], share) for link, share in self._graph.shares(*ends).items())
        self[ends] = found
        return found


def _link(network: Network, fluid: Fluid, homes: Sequence[str], ways: Ways) -> None:
    """The links of a drawn graph, and the switches that nodes and stores hang on."""
    number = {switch.name: place for place, switch in enumerate(network.switches)}
    ways.group_of = [number[home] for home in homes]
    for link in network.links:
        one, other = link.between
        ways.links += [fluid.resource(f"{a} to {b}", link.rate) for a, b in ((one, other), (other, one))]
    ends = [(number[a], number[b], link.rate) for link in network.links for a, b in (link.between,)]
    ways.pairs = Routes(Graph(len(number), ends), ways.links)


def _drawn(network: Network, fluid: Fluid, homes: Sequence[str]) -> Iterator[Level]:
    """A level for each step up, from the switches that nodes hang on to those below the top.

    Branches of different depth come together from below: a node whose branch is short stays on its highest
    switch, whose way up was used at a lower level already.
    """
    above = {switch.name: switch.above for switch in network.switches}
    up = {switch.name: switch.up for switch in network.switches}
    paths = [path_up(home, above) for home in homes]
    depth = max((len(path) for path in paths), default=0)
    for place in range(depth):
        # counted from the top, so that what is the same switch for two nodes is at the same height
        names = [path[-(depth - place)] if len(path) >= depth - place else None for path in paths]
        known = list(dict.fromkeys(name for name in names if name is not None))
        number = {name: place for place, name in enumerate(known)}
        group_of = [
            number[name] if name is not None else len(known) + node for node, name in enumerate(names)
        ]
        level = _level(group_of, [up[name] or 0.0 for name in known], known, ("up", "down"), fluid)
        level.up += [NO_WAY] * len(homes)
        level.down += [NO_WAY] * len(homes)
        yield level


def _level(
    group_of: Sequence[int], rates: Sequence[float], names: Sequence[str], ways: tuple[str, str], fluid: Fluid
) -> Level:
    up, down = ways
    return Level(
        group_of,
        [fluid.resource(f"{name} {up}", rate) for name, rate in zip(names, rates, strict=True)],
        [fluid.resource(f"{name} {down}", rate) for name, rate in zip(names, rates, strict=True)],
    )


def _numbered(noun: str, count: int) -> list[str]:
    return [f"{noun} {number}" for number in range(count)]


def _sums(group_of: Sequence[int], rates: Sequence[float]) -> list[float]:
    found = [0.0] * (max(group_of) + 1)
    for group, rate in zip(group_of, rates, strict=True):
        found[group] += rate
    return found
