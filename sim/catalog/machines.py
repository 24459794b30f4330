"""GPUs of the catalog as the step-time model takes them: peak rates by number format, links, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from sim import catalog
from sim.errors import PlanError
from sim.perf.parallel.machines import Machines, NumberFormat

Row = tuple[str, str, str, float, float, float, float, float, float, float, float]

RATE_OF: Final[Mapping[NumberFormat, tuple[str, ...]]] = {
    "fp32": ("tf32", "fp32"),
    "fp16": ("fp16",),
    "bf16": ("bf16", "fp16"),
    "fp8": ("fp8",),
    "fp8-rowwise": ("fp8",),
    "mxfp8": ("fp8",),
    "nvfp4": ("fp4",),
}
"""Which peak of a data sheet products in a format have; eager fp32 products run as TF32."""
NVL72: Final = ("gb200-gpu-186gb", "gb300-gpu-279gb")
NVL72_DOMAIN: Final = 64
"""GPUs of a rack of 72 that a job of a power of two uses."""
USUAL_FABRIC: Final = 50e9
"""Bytes a second of a GPU to other nodes where nothing says: 400 Gbit/s."""


def machine_of(
    gpu: str, number_format: NumberFormat, software: str, domain: float, fabric: float, trained: float = 1.0
) -> Row:
    """What ``Machines`` has of one run; PlanError if the GPU has no such number format."""
    known = catalog.gpu(gpu)
    rates = [getattr(known, name) for name in RATE_OF[number_format] if getattr(known, name)]
    if not rates:
        offered = [name for name, rates in RATE_OF.items() if any(getattr(known, rate) for rate in rates)]
        raise PlanError(f"{known.name} has no {number_format}; it has {', '.join(offered)}")
    narrow = number_format == "fp32"
    wide = rates[0] if narrow else (known.bf16 or known.fp16)
    link = known.scale_up_bandwidth or fabric
    return (
        known.name, software, number_format, rates[0], wide, known.memory_bandwidth, known.memory,
        link, domain, fabric, trained,
    )  # fmt: skip


def machines(rows: Sequence[Row]) -> Machines:
    """Several of them as arrays."""
    return Machines(*(np.array(column) for column in zip(*rows, strict=True)))
