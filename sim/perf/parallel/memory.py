"""Memory of a GPU in training: states of the weights, activations kept for the backward pass, and the rest.

States: two bytes of weight, gradients, and twelve of optimiser (a copy, momentum and variance in fp32) for
each weight, as ZeRO divides them (Rajbhandari et al., arXiv:1910.02054; Megatron-LM, theoretical memory).
Activations of a layer: Korthikanti et al., arXiv:2205.05198, 34 bytes a token and hidden element of a plain
layer, written out for other widths, and 5 a s / h more where scores of attention are kept. A first stage
holds as many micro-batches as there are stages, interleaved (1 + (p - 1)/(p v)) as many.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.perf.parallel.layouts import FULL, SHARDED, Layouts
from sim.perf.parallel.machines import UNFUSED, Machines
from sim.perf.parallel.shapes import Shapes

Floats = NDArray[np.float64]

GRADIENTS: Final = 2
"""The stage of ZeRO that divides gradients too."""
OPTIMISER_BYTES: Final = 12.0
MAIN_GRADIENT_BYTES: Final = 4.0
KEPT_HIDDEN: Final = 18.0
"""Bytes a token and hidden element: inputs of norms, attention and feed-forward, and dropout masks."""
KEPT_UNSHARED: Final = 10.0
"""Those of them that tensor parallelism divides only with sequence parallelism."""
SCORE_BYTES: Final = 5.0
LOGIT_BYTES: Final = 8.0
"""Bytes of a logit: fp32, and its gradient."""
USABLE: Final = 0.97
"""Share of a GPU's memory that is not taken by the driver and by fragments too small to use."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of the fullest GPU, by what they hold."""

    weights: Floats
    gradients: Floats
    optimiser: Floats
    activations: Floats
    logits: Floats
    gathered: Floats
    """Weights gathered for the layer at hand where they are sharded."""
    fixed: Floats
    """Context of the driver, buffers of collectives, workspace."""

    @property
    def total(self) -> Floats:
        """All of it."""
        return np.asarray(np.sum([getattr(self, part.name) for part in fields(self)], axis=0))

    def fits(self, machine: Machines) -> NDArray[np.bool_]:
        """Whether that is within the memory of the GPUs that a job can use."""
        return np.asarray(self.total <= USABLE * machine.memory_bytes)


@dataclass(frozen=True, slots=True)
class Measures:
    """What measured runs say that the formulas do not: 40 of BigScience and torchtitan."""

    none: float = 0.75
    """Times the activations that the formulas count, where nothing is computed again."""
    selective: float = 0.4
    """The same with selective recomputation, which compilers and per-operator rules widen."""
    full: float = 1.2
    """The same with full recomputation: inputs of stages are held in more copies than one."""
    logits: float = 1.2
    fixed_bytes: float = 8e9
    """Context of the driver, buffers of collectives, and what the allocator keeps."""

    def activations(self, recompute: Floats) -> Floats:
        """The factor of each layout."""
        factors: Floats = np.array([self.none, self.selective, self.full])
        return np.asarray(factors[recompute.astype(int)])


MEASURED: Final = Measures()
"""What the allocator of a run has reserved at its peak, as published runs tell it."""
LEAN: Final = Measures(none=0.5, selective=0.34, full=0.8, logits=0.4, fixed_bytes=1.5e9)
"""With less kept at once (fused losses, logits in pieces, narrow copies): what runs that are known to have
run at the limit of their GPUs must at least have got by with."""


def memory(shape: Shapes, layout: Layouts, machine: Machines, measured: Measures = MEASURED) -> Memory:
    """Memory of the fullest GPU of each layout.

    The first stage of a pipeline holds the most micro-batches, the last the logits of one; what those need
    beyond the activations that the first has more is added to the first.
    """
    wide = machine.element_bytes
    ranks = layout.dp * layout.cp
    routed = shape.routed_parameters / (layout.ep * layout.pp)
    layers = shape.parameters - shape.routed_parameters - shape.embedding_parameters
    plain = layers / (layout.tp * layout.pp) + shape.embedding_parameters / layout.tp
    held = plain + routed
    learning = held * machine.trained
    sharded = layout.zero >= SHARDED
    of_states = np.where(layout.zero >= 1, ranks, 1.0)
    piped = layout.pp > 1
    of_gradients = np.where((layout.zero >= GRADIENTS) & ~(sharded & piped), ranks, 1.0)
    of_weights = np.where(sharded & ~piped, ranks, 1.0)
    main = ((layout.zero == 1) & (machine.software == "megatron-core")) | sharded
    gradient_bytes = np.where(main, MAIN_GRADIENT_BYTES, wide)
    a_layer = (layers / shape.layers / layout.tp) + routed / (shape.layers / layout.pp)
    of_tokens, working = _activations(shape, layout, machine)
    in_flight = np.minimum(layout.pp, layout.micro_batches) / layout.pp
    interleaved = np.where(layout.interleave > 1, 1 + (layout.pp - 1) / (layout.pp * layout.interleave), 1.0)
    kept = of_tokens * shape.layers * in_flight * interleaved
    tokens = layout.micro_batch * shape.sequence / layout.cp
    factor = measured.activations(layout.recompute)
    of_last = of_tokens * shape.layers / layout.pp
    logits = measured.logits * LOGIT_BYTES * tokens * shape.vocab / layout.tp - factor * (kept - of_last)
    return Memory(
        weights=wide * held / of_weights,
        gradients=gradient_bytes * learning / of_gradients,
        optimiser=OPTIMISER_BYTES * learning / of_states,
        activations=factor * (kept + working),
        logits=np.maximum(logits, 0.0),
        gathered=np.where(sharded, 2 * wide * a_layer, 0.0),
        fixed=np.full(np.broadcast(tokens, wide).shape, measured.fixed_bytes),
    )


def _activations(shape: Shapes, layout: Layouts, machine: Machines) -> tuple[Floats, Floats]:
    """Bytes that one layer keeps of one micro-batch, and bytes that only the layer at hand needs."""
    tokens = layout.micro_batch * shape.sequence / layout.cp
    half = machine.element_bytes / 2
    tp = layout.tp
    of_experts = (
        shape.moe_layers
        / shape.layers
        * shape.experts_per_token
        * (2 * (shape.gates + 1) * shape.expert_ffn + 4 * shape.hidden)
    )
    inner = (KEPT_HIDDEN - KEPT_UNSHARED) * shape.hidden + 2 * (shape.gates + 1) * shape.ffn
    inner = inner + 2 * (shape.key_value_width - 2 * shape.hidden) * (shape.key_value_width > 0)
    outer = KEPT_UNSHARED * shape.hidden / np.where(layout.sequence_parallel > 0, tp, 1.0)
    unfused = np.isin(machine.software, UNFUSED)
    scores = np.where(unfused, SCORE_BYTES * shape.heads * shape.sequence, 0.0)
    whole = half * tokens * (outer + (np.maximum(inner, 0.0) + of_experts) / tp)
    with_scores = whole + half * tokens * scores / tp
    inputs = 2 * half * tokens * shape.hidden / np.where(layout.sequence_parallel > 0, tp, 1.0)
    full = layout.recompute == FULL
    kept = np.where(full, inputs, np.where(layout.recompute == 1, whole, with_scores))
    return kept, np.where(full | (layout.recompute == 1), with_scores, 0.0)
