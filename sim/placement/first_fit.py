"""First fit: nodes in order of index."""

from __future__ import annotations

from typing import ClassVar, Literal

from sim.cluster import Gang, Placement, Pool
from sim.parts import Part
from sim.placement.nodes import fill, first


class FirstFit(Part):
    """Every part of a job goes to the first node, in order of index, that has room for it."""

    kind: Literal["first_fit"] = "first_fit"
    anywhere: ClassVar[bool] = False

    def find(self, pool: Pool, gang: Gang) -> Placement | None:
        """Nodes and GPUs for the gang, or None when it does not fit now."""
        return fill(pool, gang, first)

    def fits(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place."""
        return pool.fits(gang)

    def holds(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place if the pool were empty."""
        return pool.holds(gang)
