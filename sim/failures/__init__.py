"""What fails, when, and how long it stays away."""

from sim.failures.repair import RepairShop
from sim.failures.spec import Component, Failures, Lemons, Maintenance
from sim.failures.times import Failure, FailureTimes

__all__ = [
    "Component",
    "Failure",
    "FailureTimes",
    "Failures",
    "Lemons",
    "Maintenance",
    "RepairShop",
]
