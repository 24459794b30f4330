"""Who holds which GPU: pools of equal nodes, the free GPUs on each, and gangs that need them. No clock.

Free GPUs are indexed so that the cost of a placement does not grow with the fleet. A pool keeps, for each
number of free GPUs, the set of nodes that have exactly so many, as the bits of one integer (bit n = the
pool's node n). "The fullest node on which 4 GPUs still fit, lowest index first" is then two bit operations,
on ten nodes or ten thousand.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 512
"""Placements whose nodes are looked at together."""
COUNTS = "I"
"""How numbers of free GPUs are kept."""


@dataclass(slots=True, eq=False)
class WholeNodes:
    """Whole nodes that a wide gang holds: the same as a pair (node, GPUs) for each, kept as a set of nodes.

    A gang of thousands of nodes that loses one and starts again is thus as cheap as one of a few.
    """

    first_node: int
    """Fleet-wide index of the pool's first node."""
    gpus_per_node: int
    bits: int
    """The set of its nodes, by index in the pool."""
    marks: NDArray[np.bool_] | None = field(default=None, repr=False)
    """The same as one truth for each index, kept while it is held."""

    @classmethod
    def of(cls, pool: Pool, bits: int) -> WholeNodes:
        """Whole nodes of a pool."""
        return cls(pool.first_node, pool.gpus_per_node, bits)

    @property
    def nodes(self) -> NDArray[np.int64]:
        """Its nodes, by index in the fleet."""
        return self.first_node + np.flatnonzero(_marks(self.bits))

    def __len__(self) -> int:
        """How many nodes."""
        return self.bits.bit_count()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The pairs, in order of nodes."""
        return ((node, self.gpus_per_node) for node in self.nodes.tolist())

    @overload
    def __getitem__(self, at: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[tuple[int, int]]: ...
    def __getitem__(self, at: int | slice) -> tuple[int, int] | Sequence[tuple[int, int]]:
        """Pairs by place."""
        if at == 0:
            return self.first_node + lowest_bit(self.bits), self.gpus_per_node
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        """Whether the same GPUs of the same nodes are meant."""
        if isinstance(other, WholeNodes):
            mine = (self.first_node, self.gpus_per_node, self.bits)
            return mine == (other.first_node, other.gpus_per_node, other.bits)
        return tuple(self) == other

    def __hash__(self) -> int:
        """As of the pairs."""
        return hash(tuple(self))

    def touches(self, nodes: set[int]) -> bool:
        """Whether any of these nodes of the fleet is among its own."""
        return any(node >= self.first_node and self.bits >> (node - self.first_node) & 1 for node in nodes)


Placement: TypeAlias = tuple[tuple[int, int], ...] | WholeNodes
"""GPUs of one gang: (node index in the fleet, GPUs held there), one pair per node."""


def touches(placement: Placement, nodes: set[int]) -> bool:
    """Whether a placement is on any of these nodes."""
    if isinstance(placement, WholeNodes):
        return placement.touches(nodes)
    return not nodes.isdisjoint(node for node, _ in placement)


@dataclass(frozen=True, slots=True)
class Gang:
    """GPUs that must be held together, cut into the pieces that must each lie on one node of a given pool.

    `parts` are (GPUs on the node, number of such nodes), widest first: 20 GPUs on nodes of 8 are ((8, 2), (4,
    1)). `local` asks the placement for its best locality now; a gang that has waited long enough is no longer
    local. Host demand is per GPU, in cores and bytes, and 0 where the job states none.
    """

    gpus: int
    parts: tuple[tuple[int, int], ...]
    local: bool = False
    cpus_per_gpu: float = 0.0
    memory_bytes_per_gpu: float = 0.0

    @property
    def needs_host(self) -> bool:
        """Whether cores or host memory limit where the gang fits."""
        return self.cpus_per_gpu > 0 or self.memory_bytes_per_gpu > 0


def parts_of(gpus: int, gpus_per_node: int, nodes: int | None) -> tuple[tuple[int, int], ...]:
    """Pieces of a gang: whole nodes and one rest, or as even as possible on the number of nodes asked for.

    >>> parts_of(20, 8, None), parts_of(4, 8, None), parts_of(20, 8, 3)
    (((8, 2), (4, 1)), ((4, 1),), ((7, 2), (6, 1)))
    """
    if nodes is None:
        whole, rest = divmod(gpus, gpus_per_node)
        pieces = ((gpus_per_node, whole), (rest, 1 if rest else 0))
    else:
        small, wider = divmod(gpus, nodes)
        pieces = ((small + 1, wider), (small, nodes - wider))
    return tuple((width, count) for width, count in pieces if width and count)


def lowest_bit(bits: int) -> int:
    """Index of the lowest set bit: the first node of a set of nodes."""
    return (bits & -bits).bit_length() - 1


def lowest_bits(bits: int, count: int) -> int:
    """The lowest so many set bits; for many of them at once. There must be as many.

    >>> bin(lowest_bits(0b1011010, 3))
    '0b11010'
    """
    if bits.bit_count() == count:
        return bits
    return bits & ((1 << (int(_marks(bits).nonzero()[0][count - 1]) + 1)) - 1)


def spans_of(
    placements: Sequence[WholeNodes],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Nodes in a row of each of some placements: whose they are, the first, and the one after the last.

    >>> pool = Pool("pool", "", 8, 4, first_node=10)
    >>> [each.tolist() for each in spans_of([WholeNodes.of(pool, bits) for bits in (0b11, 0b1011010)])]
    [[0, 1, 1, 1], [10, 11, 13, 16], [12, 12, 15, 17]]
    """
    octets = max((each.bits.bit_length() for each in placements), default=0) // 8 + 1
    found = []
    for begin in range(0, len(placements), AT_ONCE):
        some = placements[begin : begin + AT_ONCE]
        packed = b"".join(each.bits.to_bytes(octets, "little") for each in some)
        marks = np.zeros((len(some), 8 * octets + 1), dtype=np.bool_)
        rows = np.frombuffer(packed, dtype=np.uint8).reshape(len(some), octets)
        marks[:, 1:] = np.unpackbits(rows, axis=1, bitorder="little")
        edges = np.flatnonzero(marks[:, 1:] != marks[:, :-1])
        owner, place = np.divmod(edges, 8 * octets)
        first = np.array([each.first_node for each in some], dtype=np.int64)[owner]
        found.append((begin + owner[::2], (first + place)[::2], (first + place)[1::2]))
    columns = zip(*found, strict=True) if found else ((), (), ())
    owner, start, end = (np.concatenate(each) if each else np.zeros(0, np.int64) for each in columns)
    return owner, start, end


def _marks(bits: int) -> NDArray[np.bool_]:
    """Whether each index is in the set, up to the last one."""
    count = bits.bit_length()
    octets = np.frombuffer(bits.to_bytes((count + 7) // 8, "little"), dtype=np.uint8)
    return np.unpackbits(octets, count=count, bitorder="little").view(np.bool_)


def iterate_bits(bits: int) -> Iterator[int]:
    """The nodes of a set, in order of index."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


@dataclass(slots=True)
class Host:
    """Cores and memory of each node of a pool that states them; infinite where the pool does not."""

    free_cpus: list[float]
    free_memory_bytes: list[float]


@dataclass(slots=True, eq=False)
class Pool:
    """Equal nodes of one GPU kind that one partition may use, with the free GPUs on each.

    `first_node` is the fleet-wide index of the pool's first node. Racks and scale-up domains are sets of
    nodes.
    """

    name: str
    gpu: str
    nodes: int
    gpus_per_node: int
    first_node: int = 0
    nodes_per_rack: int = 0
    nodes_per_domain: int = 1
    cpus_per_node: float = math.inf
    memory_bytes_per_node: float = math.inf
    free: array[int] = field(init=False)
    """Free GPUs of each node, by index in the pool."""
    buckets: list[int] = field(init=False)
    """`buckets[k]`: set of the nodes with exactly k free GPUs."""
    levels: int = field(init=False)
    """Set of the k whose bucket is not empty."""
    free_gpus: int = field(init=False)
    racks: tuple[int, ...] = field(init=False)
    """Set of nodes of each rack."""
    domains: tuple[int, ...] = field(init=False)
    """Set of nodes of each scale-up domain."""
    host: Host | None = field(init=False, default=None)
    _bit: list[int] = field(init=False)
    _counts: NDArray[np.uint32] = field(init=False)
    """The same memory as `free`, for many nodes at once."""

    def __post_init__(self) -> None:
        self._lay(array(COUNTS, [self.gpus_per_node]) * self.nodes)
        self.buckets = [0] * self.gpus_per_node + [(1 << self.nodes) - 1]
        self.levels = 1 << self.gpus_per_node
        self.free_gpus = self.nodes * self.gpus_per_node
        self._bit = [1 << node for node in range(self.nodes)]
        self.racks = _groups(self.nodes, self.nodes_per_rack or self.nodes)
        self.domains = _groups(self.nodes, self.nodes_per_domain)

    @property
    def gpus(self) -> int:
        """GPUs in the pool, free or held."""
        return self.nodes * self.gpus_per_node

    @property
    def states_host(self) -> bool:
        """Whether the pool says how many cores or how much memory a node has."""
        return math.isfinite(self.cpus_per_node) or math.isfinite(self.memory_bytes_per_node)

    def holds(self, gang: Gang) -> bool:
        """Whether the gang fits when the pool is empty."""
        wide_enough = gang.parts[0][0] <= self.gpus_per_node
        enough_nodes = sum(count for _, count in gang.parts) <= self.nodes
        cpus = gang.cpus_per_gpu * gang.parts[0][0] <= self.cpus_per_node
        memory = gang.memory_bytes_per_gpu * gang.parts[0][0] <= self.memory_bytes_per_node
        return wide_enough and enough_nodes and cpus and memory

    def nodes_with(self, gpus: int) -> int:
        """Set of the nodes that have at least so many free GPUs."""
        nodes = 0
        for bucket in self.buckets[gpus:]:
            nodes |= bucket
        return nodes

    def able(self, gang: Gang, gpus: int) -> int:
        """Set of the nodes with the GPUs, cores and memory for a part that is so many GPUs wide."""
        nodes = self.nodes_with(gpus)
        if self.host is None or not gang.needs_host:
            return nodes
        cpus, memory = gang.cpus_per_gpu * gpus, gang.memory_bytes_per_gpu * gpus
        free_cpus, free_memory = self.host.free_cpus, self.host.free_memory_bytes
        return sum(1 << n for n in iterate_bits(nodes) if free_cpus[n] >= cpus and free_memory[n] >= memory)

    def fits(self, gang: Gang) -> bool:
        """Whether every part finds a node now, wherever it may be.

        Parts are nested (a node that takes a wide part also takes a narrow one), so it is enough that for
        each width at least as many nodes have room as there are parts of that width or wider.
        """
        if len(gang.parts) == 1 and gang.parts[0][1] == 1 and not (self.host and gang.needs_host):
            return self.levels >> gang.gpus != 0
        if not self.levels >> gang.parts[0][0]:
            return False
        needed = 0
        for width, count in gang.parts:
            needed += count
            if self.able(gang, width).bit_count() < needed:
                return False
        return True

    def take(self, placement: Placement, gang: Gang) -> None:
        """Hold the GPUs of a placement; it is our bug if they are not free."""
        if type(placement) is WholeNodes:
            self._move(placement, self.gpus_per_node, 0)
            self._charge_host(placement, gang, -1)
            return
        buckets, free, first = self.buckets, self.free, self.first_node
        levels = self.levels
        for fleet_node, gpus in placement:
            node = fleet_node - first
            before = free[node]
            after = before - gpus
            if after < 0:
                raise AssertionError(f"node {node} of {self.name} has {before} free GPUs, {gpus} were taken")
            free[node] = after
            bit = self._bit[node]
            buckets[before] = left = buckets[before] ^ bit
            if not left:
                levels ^= 1 << before
            buckets[after] |= bit
            levels |= 1 << after
            self.free_gpus -= gpus
        self.levels = levels
        if self.host is not None:
            self._charge_host(placement, gang, -1)

    def give(self, placement: Placement, gang: Gang) -> None:
        """Free the GPUs of a placement that was taken."""
        if type(placement) is WholeNodes:
            self._move(placement, 0, self.gpus_per_node)
            placement.marks = None
            self._charge_host(placement, gang, +1)
            return
        buckets, free, first = self.buckets, self.free, self.first_node
        levels = self.levels
        for fleet_node, gpus in placement:
            node = fleet_node - first
            before = free[node]
            after = before + gpus
            if after > self.gpus_per_node:
                raise AssertionError(f"node {node} of {self.name} was given {gpus} GPUs that nobody held")
            free[node] = after
            bit = self._bit[node]
            buckets[before] = left = buckets[before] ^ bit
            if not left:
                levels ^= 1 << before
            buckets[after] |= bit
            levels |= 1 << after
            self.free_gpus += gpus
        self.levels = levels
        if self.host is not None:
            self._charge_host(placement, gang, +1)

    def _move(self, placement: WholeNodes, before: int, after: int) -> None:
        """Whole nodes had so many free GPUs and have so many now."""
        buckets, bits = self.buckets, placement.bits
        if buckets[before] & bits != bits:
            raise AssertionError(f"nodes of {self.name} had other than {before} free GPUs")
        buckets[before] ^= bits
        buckets[after] |= bits
        self.levels |= 1 << after
        if not buckets[before]:
            self.levels ^= 1 << before
        if placement.marks is None:
            placement.marks = _marks(bits)
        self._counts[: placement.marks.size][placement.marks] = after
        self.free_gpus += (after - before) * len(placement)

    def set_free(self, free: Sequence[int]) -> None:
        """Declare how many GPUs are free on each node: for trying out a future on a pool made for it."""
        self._lay(array(COUNTS, free))
        self.buckets = [0] * (self.gpus_per_node + 1)
        for node, gpus in enumerate(free):
            self.buckets[gpus] |= self._bit[node]
        self.levels = sum(1 << gpus for gpus, nodes in enumerate(self.buckets) if nodes)
        self.free_gpus = sum(free)

    def _lay(self, free: array[int]) -> None:
        self.free = free
        self._counts = np.frombuffer(free, dtype=np.uint32)

    def track_host(self) -> None:
        """Count cores and memory too; asked for when a job states what it needs of them."""
        self.host = Host([self.cpus_per_node] * self.nodes, [self.memory_bytes_per_node] * self.nodes)

    def _charge_host(self, placement: Placement, gang: Gang, sign: int) -> None:
        host = self.host
        if host is None or not gang.needs_host:
            return
        for fleet_node, gpus in placement:
            node = fleet_node - self.first_node
            host.free_cpus[node] += sign * gang.cpus_per_gpu * gpus
            host.free_memory_bytes[node] += sign * gang.memory_bytes_per_gpu * gpus


def _groups(nodes: int, size: int) -> tuple[int, ...]:
    starts = range(0, nodes, size)
    return tuple(((1 << min(size, nodes - start)) - 1) << start for start in starts)
