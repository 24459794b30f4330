"""How many accelerators a storage system feeds, as MLPerf Storage asks it.

Two things end it: the bytes that the system gives in all, and the hosts, of which each runs a process with
its readers for every accelerator and has only so many cores for them. Networks of small samples come to the
second limit first: what binds is then not the store.

Accelerators are a closed system: each asks anew when it was served. A part of what a step takes is there even
where nobody else asks (open, look up, decode); the rest grows with all who ask (the balanced job bound,
Zahorjan and others, Balanced job bound analysis of queueing networks, Communications of the ACM 25(2), 1982).
A slower accelerator leaves the first part behind more easily, so that the system gives it more bytes. That is
so where a sample is one read; a large one is many reads, of which the next is under way meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
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


SAMPLE_BYTES: Final = MappingProxyType({"unet3d": 146_600_628, "resnet50": 114_660, "cosmoflow": 2_828_486})
"""Mean bytes of a sample (DLIO's configurations)."""
LARGE_BYTES: Final = 64e6
"""From here on a sample is read in many parts."""
MOST_ALONE: Final = 0.9
"""Of what a step takes, the most that may not depend on who else asks: a system that is full has a rest."""


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


def fed(shown: Result, accelerator: str, per_host: float = math.inf, alone: float = 0.0) -> int:
    """How many accelerators of another kind the same system feeds.

    A host has cores for ``per_host`` of them; ``alone`` is how long a byte takes one that is alone, in s.

    >>> fed(Result("unet3d", "h100", 10, 1), "a100")
    20
    >>> fed(Result("resnet50", "h100", 128, 1), "a100", per_host=130)
    130
    >>> shown = Result("cosmoflow", "h100", 20, 5)
    >>> fed(shown, "a100"), fed(shown, "a100", alone=4e-10)
    (32, 37)
    """
    had, has = 1 / demand(shown.workload, shown.accelerator), 1 / demand(shown.workload, accelerator)
    alone = min(alone, MOST_ALONE * min(had, has))
    by_store = (shown.accelerators + 0.5) * (has - alone) / (had - alone)
    return max(1, math.floor(min(by_store, max(per_host * shown.hosts, shown.accelerators))))


def alone_s(known: Sequence[tuple[Result, Result]]) -> float:
    """How long a byte takes an accelerator that is alone, in s: the median over pairs of one system each.

    0 where nothing is known, where samples are large, or where slower accelerators got no more bytes.

    >>> alone_s([(Result("cosmoflow", "h100", 20, 5), Result("cosmoflow", "a100", 40, 5))]) > 4e-10
    True
    """
    found = []
    for one, other in known:
        if SAMPLE_BYTES.get(one.workload, 0) >= LARGE_BYTES:
            continue
        paces = [1 / demand(each.workload, each.accelerator) for each in (one, other)]
        further = other.accelerators - one.accelerators
        if further:
            each_s = (paces[1] - paces[0]) / further
            found.append(paces[0] - (one.accelerators + 0.5) * each_s)
    return max(0.0, median(found)) if found else 0.0


def processes_per_host(known: Sequence[Result]) -> float:
    """The most accelerators that a host ran in any known result: more were never seen to find cores.

    >>> processes_per_host([Result("resnet50", "a100", 144, 1), Result("resnet50", "a100", 500, 10)])
    144.0
    """
    return max((each.accelerators / each.hosts for each in known), default=math.inf)
