"""What the placements share: filling the parts of a gang node by node, by a rule for the choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from sim.cluster import Gang, Placement, Pool, WholeNodes, lowest_bit, lowest_bits

if TYPE_CHECKING:
    from collections.abc import Callable


class PlacementRule(Protocol):
    """Where a gang goes: a pure function of the pool's free GPUs.

    `anywhere` says that only the number of free GPUs matters, not where they are.
    """

    anywhere: ClassVar[bool]

    def find(self, pool: Pool, gang: Gang) -> Placement | None:
        """Nodes and GPUs for the gang, or None when it does not fit now."""

    def fits(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place."""

    def holds(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place if the pool were empty."""


MANY = 32
"""Nodes of a gang from which on they are found together."""


def tightest(pool: Pool, gpus: int, allowed: int) -> int:
    """The node with the fewest free GPUs that still has enough; lowest index on ties."""
    for bucket in pool.buckets[gpus:]:
        if nodes := bucket & allowed:
            return lowest_bit(nodes)
    raise AssertionError("asked for a node where none is allowed")


def emptiest(pool: Pool, gpus: int, allowed: int) -> int:
    """The node with the most free GPUs; lowest index on ties."""
    for bucket in reversed(pool.buckets[gpus:]):
        if nodes := bucket & allowed:
            return lowest_bit(nodes)
    raise AssertionError("asked for a node where none is allowed")


def first(pool: Pool, gpus: int, allowed: int) -> int:
    """The node with the lowest index."""
    del pool, gpus
    return lowest_bit(allowed)


def fill(
    pool: Pool, gang: Gang, choose: Callable[[Pool, int, int], int], within: int | None = None
) -> Placement | None:
    """Give every part of the gang a node of its own, widest first, or None when a part finds none.

    `within` limits the choice to a set of nodes, such as the racks that were picked.
    """
    held: list[tuple[int, int]] = []
    used = 0
    for width, count in gang.parts:
        allowed = pool.able(gang, width) & ~used
        if within is not None:
            allowed &= within
        if allowed.bit_count() < count:
            return None
        if count >= MANY and width == pool.gpus_per_node:
            # whole nodes are all alike: whoever chooses takes those with the lowest index
            used = lowest_bits(allowed, count)
            if len(gang.parts) == 1:
                return WholeNodes.of(pool, used)
            held += WholeNodes.of(pool, used)
            continue
        for _ in range(count):
            node = choose(pool, width, allowed)
            allowed ^= 1 << node
            used |= 1 << node
            held.append((pool.first_node + node, width))
    return tuple(held)
