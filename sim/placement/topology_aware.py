"""Few scale-up domains, few racks; wait a while for them."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sim.cluster import Gang, Placement, Pool, lowest_bit
from sim.parts import Part, Seconds
from sim.placement.nodes import fill, tightest

Counts: TypeAlias = npt.NDArray[np.int64]
Booleans: TypeAlias = npt.NDArray[np.bool_]


class TopologyAware(Part):
    """Keep a job inside one scale-up domain, else one rack, else on as few racks as it can have.

    Where choices are equally local, the fullest is taken: the fullest node for a job that fits one, the
    domain or rack with the least room besides for a wider one. Until a job has waited for its patience, it
    starts only where it spans no more racks than it would on an empty fleet; after that it takes what there
    is, still on the fewest racks. (Delay scheduling, Zaharia et al., EuroSys 2010, applied to racks.)
    """

    kind: Literal["topology_aware"] = "topology_aware"
    anywhere: ClassVar[bool] = False
    patience: Seconds = Field(600.0, ge=0, description="how long a job waits for its best locality")

    def find(self, pool: Pool, gang: Gang) -> Placement | None:
        """Nodes and GPUs for the gang, or None when it does not fit now or not yet locally enough."""
        if not pool.levels >> gang.parts[0][0]:
            return None
        if gang.parts[0] == (gang.gpus, 1):
            return _on_one_node(pool, gang)
        for groups, size in ((pool.domains, pool.nodes_per_domain), (pool.racks, _rack_size(pool))):
            group = _tightest_group(pool, gang, size)
            if group is not None:
                return fill(pool, gang, tightest, groups[group])
        return _across_racks(pool, gang)

    def fits(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place."""
        return pool.fits(gang) and (not gang.local or self.find(pool, gang) is not None)

    def holds(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place if the pool were empty."""
        return pool.holds(gang)


def _on_one_node(pool: Pool, gang: Gang) -> Placement | None:
    """The fullest node with room: every node is as local as any other.

    Of equally full ones, one in the scale-up domain that has the fewest nodes with room.
    """
    able = pool.able(gang, gang.gpus)
    nodes = next((alike for bucket in pool.buckets[gang.gpus :] if (alike := bucket & able)), 0)
    if not nodes:
        return None
    if pool.nodes_per_domain > 1:
        room = _per_group(pool, able, pool.nodes_per_domain)
        room[_per_group(pool, nodes, pool.nodes_per_domain) == 0] = pool.nodes
        nodes &= pool.domains[int(room.argmin())]
    return ((pool.first_node + lowest_bit(nodes), gang.gpus),)


def _tightest_group(pool: Pool, gang: Gang, size: int) -> int | None:
    """Which group of so many nodes holds the gang and keeps the fewest able nodes besides."""
    if size < sum(count for _, count in gang.parts):
        return None
    holds, able = _holds(gang, [_per_group(pool, pool.able(gang, width), size) for width, _ in gang.parts])
    return int(np.where(holds, able, pool.nodes + 1).argmin()) if holds.any() else None


def _across_racks(pool: Pool, gang: Gang) -> Placement | None:
    """The gang on the fewest racks, those with the most able nodes first."""
    size = _rack_size(pool)
    able = [_per_group(pool, pool.able(gang, width), size) for width, _ in gang.parts]
    fullest_first = np.argsort(-able[0], kind="stable")
    holds, _ = _holds(gang, [np.cumsum(racks[fullest_first]) for racks in able])
    spanned = int(holds.argmax()) + 1
    if not holds.any() or (gang.local and spanned > _fewest_racks(pool, gang)):
        return None
    chosen = reduce(or_, (pool.racks[rack] for rack in fullest_first[:spanned]))
    return fill(pool, gang, tightest, chosen)


def _holds(gang: Gang, able: list[Counts]) -> tuple[Booleans, Counts]:
    """Which groups hold the gang, by their able nodes for each of its widths, and those for the narrowest.

    Parts are nested: a node that takes a wide part also takes a narrow one.
    """
    holds, needed = np.ones(len(able[0]), dtype=np.bool_), 0
    for nodes, (_, count) in zip(able, gang.parts, strict=True):
        needed += count
        holds &= nodes >= needed
    return holds, able[-1]


def _per_group(pool: Pool, nodes: int, size: int) -> Counts:
    """How many nodes of a set are in each group of so many nodes; one look at the bits of the set."""
    groups = -(-pool.nodes // size)
    packed = np.frombuffer(nodes.to_bytes(-(-groups * size // 8), "little"), dtype=np.uint8)
    bits = np.unpackbits(packed, count=groups * size, bitorder="little")
    counts: Counts = bits.reshape(groups, size).sum(axis=1, dtype=np.int64)
    return counts


def _rack_size(pool: Pool) -> int:
    return pool.nodes_per_rack or pool.nodes


def _fewest_racks(pool: Pool, gang: Gang) -> int:
    return -(-sum(nodes for _, nodes in gang.parts) // _rack_size(pool))
