"""Placements: which free GPUs a gang gets. One file adds one; `PLACEMENT` lists them."""

from __future__ import annotations

from sim.placement.consolidate import Consolidate
from sim.placement.first_fit import FirstFit
from sim.placement.nodes import PlacementRule
from sim.placement.scatter import Scatter
from sim.placement.spread import Spread
from sim.placement.topology_aware import TopologyAware

PLACEMENT = {
    "consolidate": Consolidate,
    "first_fit": FirstFit,
    "spread": Spread,
    "topology_aware": TopologyAware,
    "scatter": Scatter,
}

__all__ = ["PLACEMENT", "Consolidate", "FirstFit", "PlacementRule", "Scatter", "Spread", "TopologyAware"]
