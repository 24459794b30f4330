"""The network and the stores that jobs share, as a user describes them, and the resources that this makes.

A node reaches its leaf switch by its network cards, and other leaves over the spine: a leaf's way up is as
wide as the cards of its nodes together, divided by the oversubscription. Stores are behind the spine.
Several equal ways over the spine are one resource, as traffic is spread over them evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sim.caches import Policy, hit_ratio
from sim.flows import Fluid
from sim.parts import Bytes, BytesPerSecond, Name, Part

Usages = dict[int, float]
Pattern = Literal["ring", "all_to_all"]


class Network(Part):
    """A leaf-spine fabric: every leaf switch has a few nodes, and all leaves meet in the spine."""

    card: BytesPerSecond | None = Field(
        None,
        description="of all network cards of a node, each direction; left out, as the catalog's node has",
    )
    nodes_per_leaf: Annotated[int, Field(ge=1)] | None = Field(
        None, description="nodes on one leaf switch; left out, those of a rack"
    )
    oversubscription: Annotated[float, Field(ge=0.1, le=1000)] = Field(
        1.0, description="cards of the nodes of a leaf over its way up to the spine; 1 never blocks"
    )

    @model_validator(mode="after")
    def _cards_carry_something(self) -> Self:
        if self.card is not None and self.card <= 0:
            raise ValueError("card must be more than 0: a node without a network reaches nobody")
        return self


class Store(Part):
    """A file system or object store behind the spine."""

    name: Name = Field(description="how rules and the report call it")
    read: BytesPerSecond = Field(description="all that it can read in a second")
    write: BytesPerSecond = Field(description="all that it can write in a second; replicas count as one")
    per_node: BytesPerSecond | None = Field(
        None, description="the most that one node gets; left out, no limit"
    )

    @model_validator(mode="after")
    def _carries_something(self) -> Self:
        if not (self.read > 0 and self.write > 0 and (self.per_node is None or self.per_node > 0)):
            raise ValueError("read, write and per_node must be more than 0")
        return self


class TrafficRule(Part):
    """What some jobs send and read while they work at full speed. The first rule that fits a job counts.

    Where network or store give less, the job works as much slower: what it computes meanwhile is hidden.
    """

    tenant: Name | None = Field(None, description="jobs of this tenant only")
    gpus_from: Annotated[int, Field(ge=1)] = Field(1, description="jobs of so many GPUs or more")
    sends: BytesPerSecond = Field(
        0.0, description="of each node to other nodes of the job, each direction, on average over a step"
    )
    pattern: Pattern = Field(
        "ring", description="ring: to the next node (all-reduce); all_to_all: to all evenly (experts)"
    )
    reads: BytesPerSecond = Field(0.0, description="of each node from the store: its part of the data set")
    store: Name | None = Field(None, description="where it reads from")
    data_set: Bytes | None = Field(None, description="size of what it reads, over and over in a new order")
    cache: Bytes | None = Field(
        None, description="room of each node for it; what is found there is not read from the store"
    )
    cache_policy: Policy = Field(
        "static",
        description="static keeps what it has, lru and fifo drop the least recently used or the oldest",
    )
    workload: Name | None = Field(
        None,
        description="a workload with duration: kind: training or training_steps: what its jobs send and read"
        " follows from what they train; give its tenant too, and leave out sends and reads",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.data_set is None) != (self.cache is None):
            raise ValueError("data_set and cache belong together")
        if self.data_set is not None and (self.store is None or self.data_set <= 0):
            raise ValueError("a cache needs a store that it stands before, and a data_set of more than 0")
        if self.workload is not None:
            if self.sends > 0 or self.reads > 0:
                raise ValueError("sends and reads follow from workload; leave them out")
            return self
        if (self.reads > 0) != (self.store is not None):
            raise ValueError("reads and store belong together")
        if not (self.sends > 0 or self.reads > 0):
            raise ValueError("says nothing: give sends, or reads and store, or workload")
        return self

    def missed(self, nodes: int) -> float:
        """Share of what a job of so many nodes reads that its caches do not have, after the first pass."""
        if self.data_set is None or self.cache is None:
            return 1.0
        return 1.0 - hit_ratio(self.cache_policy, nodes * self.cache / self.data_set)

    def of_training(self, rings: float, evenly: float, reads: float) -> TrafficRule:
        """The rule with what a training was found to send, by rings and evenly to all, and to read.

        The larger of the two kinds of sending says the pattern of both.
        """
        told = {
            "sends": rings + evenly,
            "pattern": "all_to_all" if evenly > rings else "ring",
            "reads": reads if self.store is not None else 0.0,
        }
        return self.model_copy(update=told)

    def fits(self, tenant: str, gpus: int) -> bool:
        """Whether the rule is for such a job."""
        return gpus >= self.gpus_from and self.tenant in (None, tenant)


@dataclass(slots=True)
class Fabric:
    """The resources of network and stores, and what traffic between nodes needs of them."""

    fluid: Fluid
    leaf_of: Sequence[int]
    """The leaf of each node."""
    up: list[int] = field(default_factory=list)
    down: list[int] = field(default_factory=list)
    leaf_up: list[int] = field(default_factory=list)
    leaf_down: list[int] = field(default_factory=list)
    reading: dict[str, int] = field(default_factory=dict)
    writing: dict[str, int] = field(default_factory=dict)
    stores: dict[str, Store] = field(default_factory=dict)

    def lay(self, names: Sequence[str], cards: Sequence[float], oversubscription: float) -> None:
        """Make the resources of the network: names of nodes and what their cards carry, bytes a second."""
        fluid = self.fluid
        self.up = [fluid.resource(f"{name} out", rate) for name, rate in zip(names, cards, strict=True)]
        self.down = [fluid.resource(f"{name} in", rate) for name, rate in zip(names, cards, strict=True)]
        leaves = max(self.leaf_of) + 1
        rates = [0.0] * leaves
        for leaf, rate in zip(self.leaf_of, cards, strict=True):
            rates[leaf] += rate / oversubscription
        self.leaf_up = [fluid.resource(f"leaf {leaf} up", rates[leaf]) for leaf in range(leaves)]
        self.leaf_down = [fluid.resource(f"leaf {leaf} down", rates[leaf]) for leaf in range(leaves)]

    def open(self, store: Store) -> None:
        """Make the resources of a store."""
        self.stores[store.name] = store
        self.reading[store.name] = self.fluid.resource(f"{store.name} reading", store.read)
        self.writing[store.name] = self.fluid.resource(f"{store.name} writing", store.write)

    def between(self, nodes: Sequence[int], rate: float, pattern: Pattern, usages: Usages) -> None:
        """Add what it needs that each of some nodes sends so much to others of them.

        In a ring in order of index only neighbours on different leaves go over the spine; with all to all,
        all that is not for the own leaf does.
        """
        count = len(nodes)
        if count <= 1 or not self.up:
            return
        leaves = [self.leaf_of[node] for node in nodes]
        for node in nodes:
            _add(usages, self.up[node], rate)
            _add(usages, self.down[node], rate)
        if pattern == "ring":
            for place, leaf in enumerate(leaves):
                following = leaves[(place + 1) % count]
                if following != leaf:
                    _add(usages, self.leaf_up[leaf], rate)
                    _add(usages, self.leaf_down[following], rate)
            return
        for leaf in dict.fromkeys(leaves):
            here = leaves.count(leaf)
            if here < count:
                across = here * rate * (count - here) / (count - 1)
                _add(usages, self.leaf_up[leaf], across)
                _add(usages, self.leaf_down[leaf], across)

    def reads(self, nodes: Sequence[int], rate: float, store: str, usages: Usages) -> None:
        """Add what it needs that each of some nodes reads so much from a store."""
        _add(usages, self.reading[store], rate * len(nodes))
        for node in nodes if self.down else ():
            _add(usages, self.down[node], rate)
            _add(usages, self.leaf_down[self.leaf_of[node]], rate)

    def writes(self, nodes: Sequence[int], rate: float, store: str, usages: Usages) -> None:
        """Add what it needs that each of some nodes writes so much to a store."""
        _add(usages, self.writing[store], rate * len(nodes))
        for node in nodes if self.up else ():
            _add(usages, self.up[node], rate)
            _add(usages, self.leaf_up[self.leaf_of[node]], rate)


def _add(usages: Usages, resource: int, rate: float) -> None:
    usages[resource] = usages.get(resource, 0.0) + rate
