"""Queue orders: who is served first. One file adds one; `POLICIES` lists them."""

from __future__ import annotations

from sim.policies.fair_share import FairShare
from sim.policies.fifo import Fifo
from sim.policies.las import Las
from sim.policies.order import Key, Order
from sim.policies.priority import Priority
from sim.policies.sjf import Sjf
from sim.policies.srsf import Srsf
from sim.policies.srtf import Srtf

POLICIES: dict[str, type[Order]] = {
    "fifo": Fifo,
    "sjf": Sjf,
    "srtf": Srtf,
    "srsf": Srsf,
    "las": Las,
    "priority": Priority,
    "fair_share": FairShare,
}

__all__ = ["POLICIES", "FairShare", "Fifo", "Key", "Las", "Order", "Priority", "Sjf", "Srsf", "Srtf"]
