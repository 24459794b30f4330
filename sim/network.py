"""What jobs send over the network and read from stores, and the resources that this needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import Field, model_validator

from sim.caches import Policy, hit_ratio
from sim.flows import Fluid
from sim.parts import Bytes, BytesPerSecond, Name, Part
from sim.stores import Opened, Store, opened
from sim.topology import NO_WAY, Network, Pattern, Site, Usages, Ways, add, lay

__all__ = ["Fabric", "Network", "Pattern", "Site", "Store", "Supply", "TrafficRule", "Usages"]


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
    record: Bytes | None = Field(
        None, description="bytes of one read; matters where the store serves so many requests a second"
    )
    connections: Annotated[int, Field(ge=1)] = Field(
        1, description="of each node to the store, such as its loader's workers"
    )
    image: Bytes = Field(
        0.0, description="what each node loads from the store before each start: container and weights"
    )
    image_kept: bool = Field(
        False,
        description="a node keeps it until it is repaired: the next job of this rule there finds it",
    )
    data_set: Bytes | None = Field(None, description="size of what it reads, over and over in a new order")
    data_set_name: Name | None = Field(
        None,
        description="jobs of rules that name the same data set find what any of them has cached; left out, "
        "those of this rule do",
    )
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
    def _has_what_it_speaks_of(self) -> Self:
        if self.image_kept and not self.image:
            raise ValueError("image_kept needs image: its size")
        if self.data_set_name is not None and self.data_set is None:
            raise ValueError("data_set_name needs data_set: its size")
        return self

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.cache is not None and self.data_set is None:
            raise ValueError("a cache needs data_set: the size of what it holds a part of")
        if self.data_set is not None and (self.store is None or self.data_set <= 0):
            raise ValueError("data_set needs the store where it lies, and must be more than 0")
        if self.image > 0 and self.store is None:
            raise ValueError("image needs the store that it is loaded from")
        if self.record is not None and self.record <= 0:
            raise ValueError("record must be more than 0")
        if self.workload is not None:
            if self.sends > 0 or self.reads > 0:
                raise ValueError("sends and reads follow from workload; leave them out")
            return self
        if self.reads > 0 and self.store is None:
            raise ValueError("reads and store belong together")
        if self.store is not None and not (self.reads > 0 or self.image > 0):
            raise ValueError("reads and store belong together; or give image")
        if not (self.sends > 0 or self.reads > 0 or self.image > 0):
            raise ValueError("says nothing: give sends, or reads and store, or image and store, or workload")
        return self

    def first_pass_s(self, nodes: int) -> float:
        """Work until a job of so many nodes has read its data set once and its caches are full; else 0."""
        if self.data_set is None or self.cache is None or self.reads <= 0:
            return 0.0
        return self.data_set / (self.reads * max(1, nodes))

    def held(self, nodes: int) -> float:
        """Share of its data set that the caches of so many nodes hold once they are full."""
        if self.data_set is None or self.cache is None or self.cache_policy == "none":
            return 0.0
        return min(1.0, nodes * self.cache / self.data_set)

    def missed(self, held: float, readers: float = 1.0) -> float:
        """Share of what a job reads that caches do not have which hold such a share of its data set.

        In them read so many jobs, itself among them.
        """
        return 1.0 - hit_ratio(self.cache_policy, held, readers)

    def drops(self, nodes: int) -> bool:
        """Whether the caches of so many nodes drop some of what is read: who else reads matters."""
        return self.cache_policy in ("lru", "fifo") and 0.0 < self.held(nodes) < 1.0

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
class Supply:
    """Power as a resource: what hall and racks leave for work, and what a GPU of each node needs of it."""

    watts: Sequence[float]
    """Of a GPU of each node, beyond what it draws while it waits."""
    pace: Sequence[float]
    """Speed of a GPU of each node under its cap, for its speed without one."""
    hall: int = NO_WAY
    racks: Sequence[int] = ()
    """The resource of the rack of each node; empty where racks have no limit."""

    @property
    def is_shared(self) -> bool:
        """Whether jobs share it."""
        return self.hall != NO_WAY or bool(self.racks)

    @property
    def ways(self) -> list[int]:
        """Its resources."""
        return [way for way in (self.hall, *dict.fromkeys(self.racks)) if way != NO_WAY]

    def works(self, placed: Sequence[tuple[int, int]], usages: Usages) -> float:
        """Add what a job needs that works on so many GPUs of each node; the speed that its GPUs can reach."""
        for node, gpus in placed:
            watts = gpus * self.watts[node]
            add(usages, self.hall, watts)
            if self.racks:
                add(usages, self.racks[node], watts)
        return min((self.pace[node] for node, _ in placed), default=1.0)


@dataclass(slots=True)
class Fabric:
    """The resources of network, stores and power, and what jobs need of them."""

    fluid: Fluid
    ways: Ways = field(default_factory=Ways)
    opened: dict[str, Opened] = field(default_factory=dict)
    supply: Supply | None = None

    def lay(self, network: Network, sites: Sequence[Site], stores: Mapping[str, str] | None = None) -> None:
        """Make the resources of the network; for stores that hang on a switch of a drawn one, which it is."""
        self.ways = lay(network, sites, self.fluid, stores)

    def open(self, store: Store, nodes: Sequence[str] = ()) -> None:
        """Make the resources of a store; names of all nodes, where it is a disk in each."""
        self.opened[store.name] = opened(store, self.fluid, nodes)

    def shared(self) -> list[int]:
        """Resources that are not a node's own: ways above the cards, stores behind them, power."""
        found = [way for level in self.ways.levels[1:] for way in (*level.up, *level.down) if way != NO_WAY]
        found += self.ways.links
        for each in self.opened.values():
            if each.store.is_shared:
                found += [*each.reading, *each.writing, *([] if each.requests is None else [each.requests])]
        if self.supply is not None:
            found += self.supply.ways
        return found

    def limit(self, store: str, connections: int = 1) -> float | None:
        """The most that a store gives one node; None where there is no limit."""
        return self.opened[store].limit(connections)

    def between(self, nodes: Sequence[int], rate: float, pattern: Pattern, usages: Usages) -> None:
        """Add what it needs that each of some nodes sends so much to others of them."""
        self.ways.between(nodes, rate, pattern, usages)

    def reads(
        self,
        nodes: Sequence[int],
        rate: float,
        store: str,
        usages: Usages,
        record_bytes: float | None = None,
    ) -> None:
        """Add what it needs that each of some nodes reads so much from a store."""
        place = self.opened[store]
        place.reads(nodes, rate, record_bytes, usages)
        if place.store.is_shared:
            self.ways.inward(nodes, rate, store, usages)

    def writes(self, nodes: Sequence[int], rate: float, store: str, usages: Usages) -> None:
        """Add what it needs that each of some nodes writes so much to a store."""
        place = self.opened[store]
        place.writes(nodes, rate, usages)
        if place.store.is_shared:
            self.ways.outward(nodes, rate, store, usages)
