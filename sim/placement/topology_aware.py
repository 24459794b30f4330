"""Few scale-up domains, few racks; wait a while for them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from sim.cluster import Gang, Placement, Pool
from sim.parts import Part, Seconds
from sim.placement.nodes import fill, tightest


class TopologyAware(Part):
    """Keep a job inside one scale-up domain, else one rack, else on as few racks as it can have.

    Until a job has waited for its patience, it starts only where it spans no more racks than it would on an
    empty fleet; after that it takes what there is, still on the fewest racks. (Delay scheduling, Zaharia et
    al., EuroSys 2010, applied to racks.)
    """

    kind: Literal["topology_aware"] = "topology_aware"
    anywhere: ClassVar[bool] = False
    patience: Seconds = Field(600.0, ge=0, description="how long a job waits for its best locality")

    def find(self, pool: Pool, gang: Gang) -> Placement | None:
        """Nodes and GPUs for the gang, or None when it does not fit now or not yet locally enough."""
        for groups in (pool.domains, pool.racks):
            found = _within_one(pool, gang, groups)
            if found is not None:
                return found
        return self._across_racks(pool, gang)

    def fits(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place."""
        return pool.fits(gang) and (not gang.local or self.find(pool, gang) is not None)

    def holds(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place if the pool were empty."""
        return pool.holds(gang)

    def _across_racks(self, pool: Pool, gang: Gang) -> Placement | None:
        if not pool.fits(gang):
            return None
        able = pool.able(gang, gang.parts[0][0])
        fullest_first = sorted(pool.racks, key=lambda rack: -(rack & able).bit_count())
        chosen = 0
        for spanned, rack in enumerate(fullest_first, start=1):
            chosen |= rack
            if gang.local and spanned > _fewest_racks(pool, gang):
                return None
            found = fill(pool, gang, tightest, chosen)
            if found is not None:
                return found
        return None


def _within_one(pool: Pool, gang: Gang, groups: tuple[int, ...]) -> Placement | None:
    """The gang inside one group of nodes: the group that keeps the fewest able nodes besides."""
    count = sum(nodes for _, nodes in gang.parts)
    able = pool.able(gang, gang.parts[-1][0])
    roomy = [group for group in groups if (group & able).bit_count() >= count]
    for group in sorted(roomy, key=lambda group: (group & able).bit_count()):
        found = fill(pool, gang, tightest, group)
        if found is not None:
            return found
    return None


def _fewest_racks(pool: Pool, gang: Gang) -> int:
    count = sum(nodes for _, nodes in gang.parts)
    return -(-count // (pool.nodes_per_rack or pool.nodes))
