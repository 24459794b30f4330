"""Where data lies: file systems, object stores and the disks of nodes, as a user describes them.

A store reads and writes so many bytes a second in all, serves so many requests a second, and gives one node
or one connection no more than it can. It is behind the top of the network, or it is the disk of each node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from sim import catalog
from sim.errors import PlanError
from sim.flows import Fluid
from sim.parts import Bytes, BytesPerSecond, Name, Part
from sim.topology import Usages, add

WhenFull = Literal["wait", "refuse", "evict"]
OF_TIER: Final = ("read", "write", "per_node", "per_connection", "requests", "replicas", "place")
PER_UNIT: Final = ("read", "write", "requests")


class Store(Part):
    """A file system, an object store, or the disks of the nodes."""

    name: Name = Field(description="how rules and the report call it")
    tier: Name | None = Field(
        None, description="a kind of store of the catalog, which brings the fields that are left out"
    )
    units: Annotated[int, Field(ge=1)] = Field(
        1,
        description="how many of the catalog's appliances or disks: read, write and requests times that",
    )
    read: BytesPerSecond | None = Field(None, description="all that it can read in a second")
    write: BytesPerSecond | None = Field(None, description="all that its devices can write in a second")
    per_node: BytesPerSecond | None = Field(
        None, description="the most that one node gets; left out, no limit"
    )
    per_connection: BytesPerSecond | None = Field(
        None, description="the most that one connection gets; rules say how many connections a node has"
    )
    requests: Annotated[float, Field(gt=0)] | None = Field(
        None, description="requests that it serves in a second; rules say how large each is"
    )
    replicas: Annotated[int, Field(ge=1)] = Field(1, description="how often each byte is written")
    place: Literal["network", "node"] = Field(
        "network",
        description="network: shared, behind the top; node: a disk in each node, which no other sees",
    )
    capacity: Bytes | None = Field(None, description="how much it holds, replicas counted once")
    on_full: WhenFull = Field(
        "wait",
        description="where a checkpoint finds no room. wait: its job stops until others end; refuse: it is "
        "not written; evict: older checkpoints of any job go, never its last one",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_the_tier(cls, written: object) -> object:
        """What the catalog knows of the tier, where the user says nothing else."""
        if not isinstance(written, dict) or not isinstance(written.get("tier"), str):
            return written
        try:
            known = catalog.store(written["tier"])
        except PlanError as error:
            raise ValueError(f"tier: {error}") from error
        units = written.get("units", 1)
        found = dict(written)
        for name in OF_TIER:
            value = getattr(known, name)
            if value is not None and found.get(name) is None:
                times = units if name in PER_UNIT and isinstance(units, int) else 1
                found[name] = value * times if name in PER_UNIT else value
        return found

    @model_validator(mode="after")
    def _carries_something(self) -> Self:
        if self.read is None or self.write is None:
            raise ValueError("needs read and write, or a tier of the catalog that brings them")
        limits = (self.read, self.write, self.per_node, self.per_connection, self.capacity)
        if any(limit is not None and limit <= 0 for limit in limits):
            raise ValueError("read, write, per_node, per_connection and capacity must be more than 0")
        return self

    @property
    def reads(self) -> float:
        """Bytes that it reads in a second."""
        return self.read or 0.0

    @property
    def writes(self) -> float:
        """Bytes that it takes in a second, each written as often as there are replicas."""
        return (self.write or 0.0) / self.replicas

    def limit(self, connections: int) -> float | None:
        """The most that one node with so many connections gets; None where that has no limit."""
        limits = [] if self.per_node is None else [self.per_node]
        if self.per_connection is not None:
            limits.append(self.per_connection * connections)
        return min(limits, default=None)


@dataclass(slots=True)
class Opened:
    """The resources of a store: of all nodes together, or of each node."""

    store: Store
    reading: list[int]
    writing: list[int]
    requests: int | None = None

    @property
    def is_shared(self) -> bool:
        """Whether it is behind the network."""
        return self.store.place == "network"

    def reads(self, nodes: Sequence[int], rate: float, record_bytes: float | None, usages: Usages) -> None:
        """Add what it needs that each of some nodes reads so much, in records of such a size."""
        self._use(self.reading, nodes, rate, record_bytes, usages)

    def writes(self, nodes: Sequence[int], rate: float, usages: Usages) -> None:
        """Add what it needs that each of some nodes writes so much."""
        self._use(self.writing, nodes, rate * self.store.replicas, None, usages)

    def _use(
        self, which: list[int], nodes: Sequence[int], rate: float, record_bytes: float | None, usages: Usages
    ) -> None:
        count = max(1, len(nodes))
        if self.is_shared:
            add(usages, which[0], rate * count)
        else:
            for node in nodes:
                add(usages, which[node], rate)
        if self.requests is not None and record_bytes:
            add(usages, self.requests, rate * count / record_bytes)


def opened(store: Store, fluid: Fluid, nodes: Sequence[str]) -> Opened:
    """Make the resources of a store; ``nodes`` are the names of all nodes."""
    read, write = store.reads, store.write or 0.0
    if store.place == "node":
        return Opened(
            store,
            [fluid.resource(f"{node} {store.name} reading", read) for node in nodes],
            [fluid.resource(f"{node} {store.name} writing", write) for node in nodes],
        )
    requests = None if store.requests is None else fluid.resource(f"{store.name} requests", store.requests)
    return Opened(
        store,
        [fluid.resource(f"{store.name} reading", read)],
        [fluid.resource(f"{store.name} writing", write)],
        requests,
    )


@dataclass(slots=True)
class Room:
    """What lies in a store of limited size: data sets, and the checkpoints of running jobs, oldest first."""

    capacity: float
    on_full: WhenFull
    fixed: float = 0.0
    """Bytes of data sets."""
    held: dict[object, list[float]] = field(default_factory=dict)
    """Bytes of each checkpoint of each job."""
    refused: int = 0
    evicted: int = 0
    most: float = 0.0
    """The most that was ever in use."""

    @property
    def used(self) -> float:
        """Bytes in use."""
        return self.fixed + sum(sum(sizes) for sizes in self.held.values())

    def take(self, job: object, size: float) -> bool:
        """Make room for a checkpoint, if there is or can be enough."""
        if self.on_full == "evict" and self.used + size > self.capacity:
            self._evict(self.used + size - self.capacity)
        if self.used + size > self.capacity:
            return False
        self.held.setdefault(job, []).append(size)
        self.most = max(self.most, self.used)
        return True

    def _evict(self, wanted: float) -> None:
        """Drop older checkpoints, those of whom has most of them first."""
        while wanted > 0:
            job = max(self.held, key=lambda each: len(self.held[each]), default=None)
            if job is None or len(self.held[job]) <= 1:
                return
            wanted -= self.held[job].pop(0)
            self.evicted += 1

    def is_written(self, job: object, keep: int) -> None:
        """A checkpoint is safe: those before the last so many go."""
        sizes = self.held.get(job, [])
        del sizes[: max(0, len(sizes) - keep)]

    def gives_up(self, job: object) -> None:
        """The checkpoint that a job was writing is of no use."""
        sizes = self.held.get(job)
        if sizes:
            sizes.pop()

    def ends(self, job: object) -> None:
        """A job is over: its checkpoints go."""
        self.held.pop(job, None)
