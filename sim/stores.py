"""Where data lies: file systems, object stores and the disks of nodes, as a user describes them.

A store reads and writes so many bytes a second in all, serves so many requests a second, and gives one node
or one connection no more than it can. It is behind the top of the network, or it is the disk of each node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from sim import catalog
from sim.errors import PlanError
from sim.flows import Fluid
from sim.parts import Bytes, BytesPerSecond, Name, Part
from sim.topology import Usages, add

WhenFull = Literal["wait", "refuse", "evict"]
Place = Literal["network", "node"]
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
    replicas: Annotated[int, Field(ge=1)] | None = Field(
        None, description="how often each byte is written; left out, once"
    )
    place: Place | None = Field(
        None,
        description="network: shared, behind the top, and so if left out; node: a disk in each node, which no"
        " other sees",
    )
    switch: Name | None = Field(
        None, description="of a drawn network, the switch that it hangs on; left out, the top of a tree"
    )
    capacity: Bytes | None = Field(None, description="how much it holds, replicas counted once")
    on_full: WhenFull = Field(
        "wait",
        description="where a checkpoint finds no room. wait: its job stops until others end; refuse: it is "
        "not written; evict: older checkpoints of any job go, never its last one",
    )

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.tier is not None:
            try:
                catalog.store(self.tier)
            except PlanError as error:
                raise ValueError(f"tier: {error}") from error
        elif self.read is None or self.write is None:
            raise ValueError("needs read and write, or a tier of the catalog that brings them")
        limits = (self.read, self.write, self.per_node, self.per_connection, self.capacity)
        if any(limit is not None and limit <= 0 for limit in limits):
            raise ValueError("read, write, per_node, per_connection and capacity must be more than 0")
        if self.switch is not None and not self.is_shared:
            raise ValueError("switch does nothing for disks in nodes")
        return self

    def given(self, name: str) -> Any:  # noqa: ANN401 - any field that a tier brings
        """A field as written, or as the tier has it, times the units where that has a meaning."""
        written = getattr(self, name)
        if written is not None or self.tier is None:
            return written
        known = getattr(catalog.store(self.tier), name)
        return known * self.units if name in PER_UNIT and known is not None else known

    @property
    def reads(self) -> float:
        """Bytes that it reads in a second."""
        return float(self.given("read"))

    @property
    def takes(self) -> float:
        """Bytes that its devices write in a second."""
        return float(self.given("write"))

    @property
    def copies(self) -> int:
        """How often each byte is written."""
        return int(self.given("replicas") or 1)

    @property
    def writes(self) -> float:
        """Bytes that it takes in a second, each written as often as there are replicas."""
        return self.takes / self.copies

    @property
    def serves(self) -> float | None:
        """Requests that it serves in a second; None without limit."""
        found = self.given("requests")
        return None if found is None else float(found)

    @property
    def is_shared(self) -> bool:
        """Whether it is behind the network, and not a disk of each node."""
        return bool(self.given("place") != "node")

    def limit(self, connections: int) -> float | None:
        """The most that one node with so many connections gets; None where that has no limit."""
        per_node, per_connection = self.given("per_node"), self.given("per_connection")
        limits = [] if per_node is None else [float(per_node)]
        if per_connection is not None:
            limits.append(float(per_connection) * connections)
        return min(limits, default=None)


@dataclass(slots=True)
class Opened:
    """The resources of a store: of all nodes together, or of each node."""

    store: Store
    reading: list[int]
    writing: list[int]
    requests: int | None = None
    limits: dict[int, float | None] = field(default_factory=dict)
    """The most that a node gets, by its connections."""

    def limit(self, connections: int) -> float | None:
        """The most that one node with so many connections gets; None where that has no limit."""
        if connections not in self.limits:
            self.limits[connections] = self.store.limit(connections)
        return self.limits[connections]

    def reads(self, nodes: Sequence[int], rate: float, record_bytes: float | None, usages: Usages) -> None:
        """Add what it needs that each of some nodes reads so much, in records of such a size."""
        self._use(self.reading, nodes, rate, record_bytes, usages)

    def writes(self, nodes: Sequence[int], rate: float, usages: Usages) -> None:
        """Add what it needs that each of some nodes writes so much."""
        self._use(self.writing, nodes, rate * self.store.copies, None, usages)

    def _use(
        self, which: list[int], nodes: Sequence[int], rate: float, record_bytes: float | None, usages: Usages
    ) -> None:
        count = max(1, len(nodes))
        if self.store.is_shared:
            add(usages, which[0], rate * count)
        else:
            for node in nodes:
                add(usages, which[node], rate)
        if self.requests is not None and record_bytes:
            add(usages, self.requests, rate * count / record_bytes)


def opened(store: Store, fluid: Fluid, nodes: Sequence[str]) -> Opened:
    """Make the resources of a store; ``nodes`` are the names of all nodes."""
    if not store.is_shared:
        return Opened(
            store,
            [fluid.resource(f"{node} {store.name} reading", store.reads) for node in nodes],
            [fluid.resource(f"{node} {store.name} writing", store.takes) for node in nodes],
        )
    requests = None if store.serves is None else fluid.resource(f"{store.name} requests", store.serves)
    return Opened(
        store,
        [fluid.resource(f"{store.name} reading", store.reads)],
        [fluid.resource(f"{store.name} writing", store.takes)],
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
    used: float = -1.0
    """Bytes in use, data sets included."""
    refused: int = 0
    evicted: int = 0
    most: float = 0.0
    """The most that was ever in use."""

    def __post_init__(self) -> None:
        self.used = self.fixed

    def lays_in(self, size: float) -> None:
        """A data set lies there for good."""
        self.fixed += size
        self.used += size

    def take(self, job: object, size: float) -> bool:
        """Make room for a checkpoint, if there is or can be enough."""
        if self.on_full == "evict" and self.used + size > self.capacity:
            self._evict(self.used + size - self.capacity)
        if self.used + size > self.capacity:
            return False
        self.held.setdefault(job, []).append(size)
        self.used += size
        self.most = max(self.most, self.used)
        return True

    def _evict(self, wanted: float) -> None:
        """Drop older checkpoints, those of whom has most of them first."""
        while wanted > 0:
            job = max(self.held, key=lambda each: len(self.held[each]), default=None)
            if job is None or len(self.held[job]) <= 1:
                return
            gone = self.held[job].pop(0)
            wanted -= gone
            self.used -= gone
            self.evicted += 1

    def is_written(self, job: object, keep: int) -> None:
        """A checkpoint is safe: those before the last so many go."""
        sizes = self.held.get(job, [])
        gone = max(0, len(sizes) - keep)
        self.used -= sum(sizes[:gone])
        del sizes[:gone]

    def gives_up(self, job: object) -> None:
        """The checkpoint that a job was writing is of no use."""
        sizes = self.held.get(job)
        if sizes:
            self.used -= sizes.pop()

    def ends(self, job: object) -> None:
        """A job is over: its checkpoints go."""
        self.used -= sum(self.held.pop(job, ()))
