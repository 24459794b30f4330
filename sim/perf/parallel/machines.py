"""What a step runs on: rates of GPUs and links, the number format, and the software that drives them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Names = NDArray[np.str_]

NumberFormat = Literal["fp32", "fp16", "bf16", "fp8", "fp8-rowwise", "mxfp8", "nvfp4"]
FORMATS: Final[tuple[NumberFormat, ...]] = get_args(NumberFormat)
NARROW: Final = ("fp8", "fp8-rowwise", "mxfp8", "nvfp4")
"""Formats of products only, into which everything else must be cast."""

Software = Literal["megatron", "megatron-core", "fsdp", "torchtitan", "eager"]
SOFTWARE: Final[dict[Software, str]] = {
    "megatron": "Megatron-LM and Megatron-DeepSpeed of 2020 to 2023, without fused attention",
    "megatron-core": "Megatron Core, NeMo and Megatron Bridge",
    "fsdp": "PyTorch FSDP with fused attention, as in llm-foundry",
    "torchtitan": "PyTorch FSDP2 with torch.compile, as in torchtitan",
    "eager": "plain PyTorch",
}
"""Kinds of training software that the published runs tell apart."""
UNFUSED: Final = ("megatron", "eager")
"""Software that writes the scores of attention to memory."""


@dataclass(frozen=True, slots=True)
class Machines:
    """GPUs, links, format and software of runs; arrays of one shape, rates in SI units."""

    gpu: Names
    """The catalog's name."""
    software: Names
    number_format: Names
    peak: Floats
    """Dense operations a second of products in the format, without sparsity."""
    peak_16: Floats
    """Those of what stays in 16 bits (or TF32 for fp32): attention and logits."""
    memory_bandwidth: Floats
    memory_bytes: Floats
    scale_up_bandwidth: Floats
    """Of one GPU to those of its scale-up domain, each direction, bytes a second."""
    domain: Floats
    """GPUs of a scale-up domain that a job can use: a node of 8, or 64 of an NVL72."""
    fabric_bandwidth: Floats
    """Of one GPU to those of other domains, each direction, bytes a second."""
    trained: Floats
    """Share of the weights that learn: 1, or next to nothing for low-rank adapters."""

    def __len__(self) -> int:
        """How many."""
        return len(self.gpu)

    @property
    def element_bytes(self) -> Floats:
        """Bytes of an activation: 4 for fp32, else 2."""
        return np.where(self.number_format == "fp32", 4.0, 2.0)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Machines:
        """Some of them, or one of them many times."""
        return Machines(*(getattr(self, part.name)[chosen] for part in fields(self)))
