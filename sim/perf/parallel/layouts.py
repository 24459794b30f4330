"""How a model is split over GPUs: tensor, pipeline, data, context and expert parallelism, and what follows.

A layout uses ``tensor x pipeline x data x context`` GPUs. Expert parallelism takes its ranks from data,
context and tensor parallelism and adds none (Megatron Core). Tensor parallelism is innermost, so its ranks
share a node first, then context, then data; pipeline stages are outermost.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sim.parts import Part
from sim.perf.flops import Recompute
from sim.perf.transformer import Transformer

Floats = NDArray[np.float64]
Count = Annotated[int, Field(ge=1)]
RECOMPUTE: Final[tuple[Recompute, ...]] = ("none", "selective", "full")
FULL: Final = 2
"""Full recomputation, by its place there."""
SHARDED: Final = 3
"""The stage of ZeRO that divides weights too, as FSDP does."""


class Layout(Part):
    """One way to split one model over GPUs, in the field's terms."""

    tp: Count = Field(1, description="tensor parallelism: GPUs that share each matrix")
    pp: Count = Field(1, description="pipeline stages")
    dp: Count = Field(1, description="data-parallel replicas")
    cp: Count = Field(1, description="context parallelism: GPUs that share a sample's tokens")
    ep: Count = Field(1, description="expert parallelism: GPUs that share the experts of a layer")
    interleave: Count = Field(1, description="virtual stages on each GPU")
    micro_batch: Count = Field(1, description="samples that go through the pipeline at once")
    sequence_parallel: bool = Field(
        True, description="whether tensor parallelism also divides norms and dropout"
    )
    recompute: Recompute = Field("none", description="what the backward pass computes again")
    zero: Literal[0, 1, 2, 3] = Field(
        1, description="what data parallelism divides: 1 optimiser states, 2 and gradients, 3 and weights"
    )

    @property
    def gpus(self) -> int:
        """GPUs that the layout uses."""
        return self.tp * self.pp * self.dp * self.cp

    def told(self) -> str:
        """In few words, without what is one.

        >>> Layout(tp=8, pp=4, dp=2).told()
        'tp 8, pp 4, dp 2, micro-batch 1, ZeRO 1'
        """
        ways = [f"{name} {value}" for name, value in self.ways() if value > 1]
        if self.interleave > 1:
            ways.append(f"{self.interleave} virtual stages")
        ways.append(f"micro-batch {self.micro_batch}")
        if self.recompute != "none":
            ways.append(f"{self.recompute} recompute")
        return ", ".join([*ways, f"ZeRO {self.zero}"])

    def ways(self) -> tuple[tuple[str, int], ...]:
        """The five ways to split, by name."""
        return (("tp", self.tp), ("pp", self.pp), ("dp", self.dp), ("cp", self.cp), ("ep", self.ep))


@dataclass(frozen=True, slots=True)
class Layouts:
    """Many layouts: arrays of one shape, whole numbers as floats."""

    tp: Floats
    pp: Floats
    dp: Floats
    cp: Floats
    ep: Floats
    interleave: Floats
    micro_batch: Floats
    micro_batches: Floats
    """Micro-batches that each replica has in a step."""
    sequence_parallel: Floats
    recompute: Floats
    """0 none, 1 selective, 2 full."""
    zero: Floats

    def __len__(self) -> int:
        """How many."""
        return len(self.tp)

    @property
    def gpus(self) -> Floats:
        """GPUs that each uses."""
        return self.tp * self.pp * self.dp * self.cp

    @property
    def global_batch(self) -> Floats:
        """Samples of a step."""
        return self.micro_batch * self.micro_batches * self.dp

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Layouts:
        """Some of them."""
        return Layouts(*(getattr(self, part.name)[chosen] for part in fields(self)))

    def one(self, place: int) -> Layout:
        """The layout at a place, for people."""
        return Layout(
            **{name: int(getattr(self, name)[place]) for name in ("tp", "pp", "dp", "cp", "ep")},
            interleave=int(self.interleave[place]),
            micro_batch=int(self.micro_batch[place]),
            sequence_parallel=bool(self.sequence_parallel[place]),
            recompute=RECOMPUTE[int(self.recompute[place])],
            zero=int(self.zero[place]),
        )


def layouts(one: Layout, global_batch: int) -> Layouts:
    """A single layout as arrays of one element, with the micro-batches that a step of so many samples has."""
    values = (
        one.tp, one.pp, one.dp, one.cp, one.ep, one.interleave, one.micro_batch,
        global_batch / (one.micro_batch * one.dp), one.sequence_parallel,
        RECOMPUTE.index(one.recompute), one.zero,
    )  # fmt: skip
    return Layouts(*(np.array([float(value)]) for value in values))


def faults(model: Transformer, layout: Layout, gpus: int, global_batch: int, sequence: int) -> list[str]:
    """Why a model cannot be split like that, as sentences without a dot; empty where it can."""
    told = []
    if layout.gpus != gpus:
        product = " x ".join(f"{name} {value}" for name, value in layout.ways()[:4])
        told.append(f"{product} makes {layout.gpus} GPUs, not {gpus}")
    layers = model.layers + model.encoder_layers
    if not _staged(layers, layout.pp * layout.interleave):
        stages = f"pp {layout.pp}" + (
            f" x {layout.interleave} virtual stages" if layout.interleave > 1 else ""
        )
        told.append(f"{layers} layers cannot be divided evenly by {stages}")
    if model.heads % layout.tp:
        told.append(f"{model.heads} heads cannot be divided evenly by tp {layout.tp}")
    if global_batch % (layout.dp * layout.micro_batch):
        told.append(
            f"a batch of {global_batch} samples cannot be divided evenly"
            f" by dp {layout.dp} x micro-batch {layout.micro_batch}"
        )
    if sequence % (2 * layout.cp) and layout.cp > 1:
        told.append(f"{sequence} tokens cannot be divided evenly by 2 x cp {layout.cp}")
    if layout.interleave > 1 and layout.pp == 1:
        told.append("virtual stages need a pipeline (pp 2 or more)")
    if layout.ep > 1 and model.experts == 0:
        told.append(f"ep {layout.ep} is for experts, and {model.name} has none")
    elif layout.ep > 1 and model.experts % layout.ep:
        told.append(f"{model.experts} experts cannot be divided evenly by ep {layout.ep}")
    elif layout.ep > 1 and (layout.dp * layout.cp * layout.tp) % layout.ep:
        told.append(f"ep {layout.ep} does not divide dp x cp x tp = {layout.dp * layout.cp * layout.tp}")
    return told


def all_layouts(
    model: Transformer,
    gpus: int,
    global_batch: int,
    sequence: int,
    gpus_per_node: int,
    *,
    largest_micro_batch: int = 16,
) -> Layouts:
    """Every layout of a model on so many GPUs that divides evenly.

    Tensor parallelism stays within a scale-up domain; expert parallelism is as wide as there are data ranks
    to take, or narrower; a long sample may be split by context parallelism; ZeRO 3 is not combined with
    a pipeline, as it would gather the weights again for every micro-batch.
    """
    layers = model.layers + model.encoder_layers
    found = [
        (tp, pp, dp, cp, ep, virtual, micro, global_batch / (micro * dp), 1.0 if tp > 1 else 0.0, again, zero)
        for tp in _divisors(gpus)
        if tp <= gpus_per_node and model.heads % tp == 0
        for pp in _divisors(gpus // tp)
        if _staged(layers, pp)
        for cp in _divisors(gpus // (tp * pp))
        if cp == 1 or (sequence >= 8192 * cp // 2 and sequence % (2 * cp) == 0)
        for dp in (gpus // (tp * pp * cp),)
        if global_batch % dp == 0
        for ep in (_divisors(dp * cp * tp) if model.experts else (1,))
        if ep == 1 or model.experts % ep == 0
        for virtual in (_virtual_stages(layers, pp) if pp > 1 else (1,))
        for micro in _powers(largest_micro_batch)
        if global_batch % (dp * micro) == 0
        for again in range(len(RECOMPUTE))
        for zero in ((1, 3) if pp == 1 and dp * cp > 1 else (1,))
    ]
    columns = np.array(found, dtype=float).T if found else np.empty((11, 0))
    return Layouts(*columns)


def _staged(layers: int, stages: int) -> bool:
    """Whether layers make stages alike; the first and the last may be a layer short, as in Llama 3.

    Their embedding and logits take the place of it (Llama team, arXiv:2407.21783, section 3.3.2).

    >>> _staged(96, 8), _staged(126, 16), _staged(126, 9), _staged(96, 10)
    (True, True, True, False)
    """
    return layers % stages == 0 or (layers + 2) % stages == 0


def _virtual_stages(layers: int, pp: int) -> tuple[int, ...]:
    return tuple(virtual for virtual in range(1, layers // pp + 1) if _staged(layers, pp * virtual))


def _divisors(number: int) -> tuple[int, ...]:
    small = [divisor for divisor in range(1, int(number**0.5) + 1) if number % divisor == 0]
    return tuple(sorted({*small, *(number // divisor for divisor in small)}))


def _powers(largest: int) -> tuple[int, ...]:
    return tuple(1 << power for power in range(largest.bit_length()) if 1 << power <= largest)
