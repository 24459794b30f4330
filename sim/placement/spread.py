"""Worst fit: balance the nodes."""

from __future__ import annotations

from typing import ClassVar, Literal

from sim.cluster import Gang, Placement, Pool
from sim.parts import Part
from sim.placement.nodes import emptiest, fill


class Spread(Part):
    """Every part of a job goes to the node with the most free GPUs.

    Jobs share nodes as little as possible, which spares them each other's host and network load; the price is
    that whole free nodes, which wide jobs need, become rare.
    """

    kind: Literal["spread"] = "spread"
    anywhere: ClassVar[bool] = False

    def find(self, pool: Pool, gang: Gang) -> Placement | None:
        """Nodes and GPUs for the gang, or None when it does not fit now."""
        return fill(pool, gang, emptiest)

    def fits(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place."""
        return pool.fits(gang)

    def holds(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place if the pool were empty."""
        return pool.holds(gang)
