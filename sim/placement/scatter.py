"""No topology: any free GPUs will do."""

from __future__ import annotations

from typing import ClassVar, Literal

from sim.cluster import Gang, Placement, Pool, iterate_bits
from sim.parts import Part
from sim.placement.nodes import tightest


class Scatter(Part):
    """Take free GPUs wherever they are: a job fits as soon as enough are free in the pool.

    A job that fits one node goes to the fullest such node; otherwise it gathers GPUs from the emptiest nodes
    down, so that it touches few. A request for a number of nodes, and for cores or memory, is not looked at.
    This is the idealised cluster of many scheduling studies, and a bound on what defragmentation could bring.
    """

    kind: Literal["scatter"] = "scatter"
    anywhere: ClassVar[bool] = True

    def find(self, pool: Pool, gang: Gang) -> Placement | None:
        """Nodes and GPUs for the gang, or None when too few are free."""
        if pool.free_gpus < gang.gpus:
            return None
        if pool.levels >> gang.gpus:
            return ((pool.first_node + tightest(pool, gang.gpus, -1), gang.gpus),)
        return tuple(_gather(pool, gang.gpus))

    def fits(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place."""
        return pool.free_gpus >= gang.gpus

    def holds(self, pool: Pool, gang: Gang) -> bool:
        """Whether `find` would find a place if the pool were empty."""
        return pool.gpus >= gang.gpus


def _gather(pool: Pool, gpus: int) -> list[tuple[int, int]]:
    held: list[tuple[int, int]] = []
    for level in range(pool.gpus_per_node, 0, -1):
        for node in iterate_bits(pool.buckets[level]):
            share = min(level, gpus)
            held.append((pool.first_node + node, share))
            gpus -= share
            if not gpus:
                return held
    raise AssertionError("the pool counted more free GPUs than its nodes have")
