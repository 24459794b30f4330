"""How many accelerators a storage system feeds, as MLPerf Storage asks it.

Two things end it: the bytes that the system gives in all, and the hosts, of which each runs a process with
its readers for every accelerator and has only so many cores for them. Networks of small samples come to the
second limit first: what binds is then not the store.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sim.errors import PlanError

DEMAND: Final = MappingProxyType(
    {
        ("unet3d", "h100"): 3.177e9, ("unet3d", "a100"): 1.614e9,
        ("resnet50", "h100"): 0.2048e9, ("resnet50", "a100"): 0.1054e9,
        ("cosmoflow", "h100"): 0.808e9, ("cosmoflow", "a100"): 0.513e9,
    }
)  # fmt: skip
"""Bytes a second that one emulated accelerator reads (batch over step time, DLIO's configurations)."""


@dataclass(frozen=True, slots=True)
class Result:
    """A system that fed so many accelerators from so many hosts, and no more."""

    workload: str
    accelerator: str
    accelerators: int
    hosts: int

    @property
    def bandwidth(self) -> float:
        """Bytes a second that this shows: enough for these, not for one more."""
        return (self.accelerators + 0.5) * demand(self.workload, self.accelerator)


def demand(workload: str, accelerator: str) -> float:
    """Bytes a second of one accelerator; PlanError where that is not known."""
    found = DEMAND.get((workload, accelerator))
    if found is None:
        known = ", ".join(f"{one} on {other}" for one, other in DEMAND)
        raise PlanError(f"what {workload} reads on {accelerator} is not known; known are {known}")
    return found


def fed(shown: Result, accelerator: str, per_host: float = math.inf) -> int:
    """How many accelerators of another kind the same system feeds, if a host has cores for so many.

    >>> fed(Result("unet3d", "h100", 10, 1), "a100")
    20
    >>> fed(Result("resnet50", "h100", 128, 1), "a100", per_host=130)
    130
    """
    by_bytes = shown.bandwidth / demand(shown.workload, accelerator)
    return max(1, math.floor(min(by_bytes, max(per_host * shown.hosts, shown.accelerators))))


def processes_per_host(known: Sequence[Result]) -> float:
    """The most accelerators that a host ran in any known result: more were never seen to find cores.

    >>> processes_per_host([Result("resnet50", "a100", 144, 1), Result("resnet50", "a100", 500, 10)])
    144.0
    """
    return max((each.accelerators / each.hosts for each in known), default=math.inf)
