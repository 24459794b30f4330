"""Best fit: keep whole nodes free for wide jobs."""

from __future__ import annotations

from typing import ClassVar, Literal

from sim.cluster import Gang, Placement, Pool
from sim.parts import Part
from sim.placement.nodes import emptiest, fill, tightest


class Consolidate(Part):
    """Pack: a job that fits a node goes to the fullest node with room; a wider one takes whole free nodes.

    The rest of a wide job (the 4 of 20 GPUs on nodes of 8) goes to the node with the most free GPUs. Lowest
    index breaks ties. This is the placement of the Helios simulator (Hu et al., SC 2021), to which it is
    equal job by job.
    """

    kind: Literal["consolidate"] = "consolidate"
    anywhere: ClassVar[bool] = False

    def find(self, pool: Pool, gang: Gang) -> Placement | None:
        """Nodes and GPUs for the gang, or None when it does not fit now."""
        if pool.host is None and gang.parts[0] == (gang.gpus, 1):
            fitting = pool.levels >> gang.gpus
            if not fitting:
                return None
            nodes = pool.buckets[gang.gpus + (fitting & -fitting).bit_length() - 1]
            return ((pool.first_node + (nodes & -nodes).bit_length() - 1, gang.gpus),)
        if not pool.levels >> gang.parts[0][0]:
            return None
        wide = gang.parts[0][0] == pool.gpus_per_node
        return fill(pool, gang, emptiest if wide and len(gang.parts) > 1 else tightest)

    def fits(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place."""
        return pool.fits(gang)

    def holds(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place if the pool were empty."""
        return pool.holds(gang)
