"""The time of one training step of a transformer: what each GPU computes, moves, sends and waits for.

A layer's products take their operations at the peak rate, longer where they are small; attention, what is
element by element, and experts take theirs; the host launches kernels meanwhile. Tensor and expert
parallelism add collectives to each layer, a pipeline its bubble (p - 1)/(m v) (Narayanan et al., SC'21) and
its stage of logits, data parallelism the gradients that do not hide behind the backward pass, or, sharded
(ZeRO 3), the weights that are gathered for every micro-batch. Collectives take alpha + bytes/rate, in a
domain first and then across (nccl-tests, doc/PERFORMANCE.md; Thakur et al. 2005).

Everything is in arrays: one element for each run or layout.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.perf.collectives import TYPICAL, by_protocol
from sim.perf.parallel.layouts import FULL, SHARDED, Layouts
from sim.perf.parallel.machines import NARROW, UNFUSED, Machines
from sim.perf.parallel.parameters import Values
from sim.perf.parallel.shapes import Shapes

Floats = NDArray[np.float64]

TILE: Final = 128
REFERENCE_PEAK: Final = 312e12
REFERENCE_BANDWIDTH: Final = 1.86e12
"""Of the A100, on which half sizes are stated; a device that computes faster for its memory needs more."""
HOST_SHARPNESS: Final = 4.0
BACKWARD_SHARE: Final = 0.6
GRADIENT_BYTES: Final = 3.0
"""Bytes of a weight in half an all-reduce: gradients of four, weights of two (Megatron's own optimiser)."""
KERNELS_UNFUSED: Final = 34.0
KERNELS_FUSED: Final = 26.0
FROZEN: Final = 0.5
"""Below this share of weights that learn, most have no gradients of their own."""
LANES: Final = 8.0
"""Experts of a token on other nodes are reached by one copy for each node, of which there are few."""


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of a step, and where they go; the parts add up to the whole."""

    step_s: Floats
    compute_s: Floats
    """Products and attention, forward and backward."""
    memory_s: Floats
    """What is element by element, moved through memory."""
    recompute_s: Floats
    launch_s: Floats
    """What the GPU waits for the host to launch kernels."""
    tensor_s: Floats
    expert_s: Floats
    context_s: Floats
    logits_s: Floats
    bubble_s: Floats
    pipeline_s: Floats
    """Traffic between stages that is waited for."""
    data_s: Floats
    """Traffic of data parallelism that does not hide."""
    update_s: Floats
    other_s: Floats
    """Waiting for the slowest of many nodes, and what each step takes beyond its work."""
    tensor_bytes: Floats
    """Sent by each GPU in a step, over the scale-up links or the fabric."""
    expert_bytes: Floats
    pipeline_bytes: Floats
    data_bytes: Floats

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Step:
        """Those of some layouts."""
        return Step(*(getattr(self, part.name)[chosen] for part in fields(self)))


def step_time(logarithms: Floats, shape: Shapes, layout: Layouts, machine: Machines) -> Step:
    """Times of steps, for parameters as ``sim.perf.parallel.parameters`` lists them."""
    return _Model(logarithms, shape, layout, machine).step()


class _Model:
    """One evaluation: what its parts share is computed once."""

    def __init__(self, logarithms: Floats, shape: Shapes, layout: Layouts, machine: Machines) -> None:
        self.value = Values(logarithms, machine)
        self.shape, self.layout, self.machine = shape, layout, machine
        value = self.value
        self.wide = machine.element_bytes
        self.memory_rate = machine.memory_bandwidth * 0.8 * value.of_gpu("memory")
        waste = value["waste"] * value.of_software("waste") * value.of_gpu("waste")
        self.efficiency = 1 / (1 + waste * value.of_format("waste"))
        self.efficiency_16 = 1 / (1 + waste)
        self.unfused = np.isin(machine.software, UNFUSED)
        self.narrow = np.isin(machine.number_format, NARROW)
        self.tokens = layout.micro_batch * shape.sequence / layout.cp
        self.scale_up_rate = machine.scale_up_bandwidth * value["scale_up"]
        self.fabric_rate = machine.fabric_bandwidth * value["fabric"] * value.of_software("fabric")
        self.half = machine.peak / REFERENCE_PEAK * REFERENCE_BANDWIDTH / machine.memory_bandwidth

    def product(
        self, rows: Floats, columns: Floats, length: Floats, efficiency: Floats, peak: Floats
    ) -> Floats:
        """Seconds to multiply matrices: operations at the peak, longer where small, and their bytes."""
        value, tiles = self.value, rows * columns / TILE**2
        longer = (
            (1 + value["half_length"] / length * np.sqrt(self.half))
            * (1 + value["half_tiles"] / tiles * self.half)
            * (1 + value["half_columns"] / columns)
            * (1 + value["half_rows"] / rows)
        )
        moved = self.wide * (rows * length + length * columns + rows * columns)
        return 2 * rows * columns * length / (peak * efficiency) * longer + 0.3 * moved / self.memory_rate

    def step(self) -> Step:
        value, shape, layout, machine = self.value, self.shape, self.layout, self.machine
        moe_share = shape.moe_layers / shape.layers
        products = (self._attention_products() + self._ffn() + moe_share * self._experts()) * shape.extra_work
        scores, scores_backward = self._scores()
        moved = self._element_wise(moe_share)
        forward = products + scores + moved
        backward = 2 * products + scores_backward + 1.5 * moved
        frozen = machine.trained < FROZEN
        backward = np.where(frozen, backward - products, backward)
        selective = np.where(self.unfused, scores, 0.35 * scores)
        again = np.where(
            layout.recompute == FULL,
            forward * value["again"],
            np.where(layout.recompute == 1, selective, 0.0),
        )
        tensor, tensor_bytes = self._tensor()
        experts, expert_bytes = self._exchange()
        experts, expert_bytes = moe_share * experts, moe_share * expert_bytes
        context = self._context(scores + scores_backward)
        busy = forward + backward + again + tensor
        layer = _larger(busy, self._launches(moe_share), HOST_SHARPNESS) + experts + context
        of_stage = shape.layers / layout.pp
        logits = self._logits()
        piped = layout.pp > 1
        slowest = np.where(piped, value["logit_stage"] * logits, logits)
        micro_s = layer * of_stage + slowest
        sent = self.tokens * shape.hidden * self.wide
        shared = np.where((layout.sequence_parallel > 0) | (layout.tp == 1), layout.tp, 1.0)
        between = np.where(
            piped,
            2
            * layout.interleave
            * (value["fabric_s"] + sent / shared / self.fabric_rate)
            * value["pipeline_exposed"],
            0.0,
        )
        micro = layout.micro_batches
        bubble = (layout.pp - 1) / layout.interleave * micro_s
        rest_of_logits = np.where(piped, logits - slowest, 0.0)
        pipe = micro * micro_s + bubble + micro * between + rest_of_logits
        data, data_bytes = self._data(pipe, micro_s)
        update = self._update()
        before = pipe + data + update
        waiting = value["waiting"] * np.log2(np.maximum(1.0, layout.gpus / 8))
        whole = before * (1 + waiting) + value["step_s"]
        times = micro * of_stage
        return Step(
            step_s=whole,
            compute_s=times * (forward + backward - 2.5 * moved),
            memory_s=times * 2.5 * moved,
            recompute_s=times * again,
            launch_s=times * (layer - experts - context - busy),
            tensor_s=times * tensor,
            expert_s=times * experts,
            context_s=times * context,
            logits_s=micro * slowest + rest_of_logits,
            bubble_s=bubble,
            pipeline_s=micro * between,
            data_s=data,
            update_s=update,
            other_s=whole - before,
            tensor_bytes=times * tensor_bytes,
            expert_bytes=times * expert_bytes,
            pipeline_bytes=np.where(piped, 2 * micro * layout.interleave * sent / shared, 0.0),
            data_bytes=data_bytes,
        )

    def _attention_products(self) -> Floats:
        shape, tp, peak = self.shape, self.layout.tp, self.machine.peak
        into = (shape.query_width + shape.key_value_width) / tp
        return self.product(self.tokens, into, shape.hidden, self.efficiency, peak) + self.product(
            self.tokens, shape.hidden, shape.query_width / tp, self.efficiency, peak
        )

    def _ffn(self) -> Floats:
        shape, peak = self.shape, self.machine.peak
        width = np.maximum(shape.ffn, 1.0) / self.layout.tp
        seconds = self.product(
            self.tokens, shape.gates * width, shape.hidden, self.efficiency, peak
        ) + self.product(self.tokens, shape.hidden, width, self.efficiency, peak)
        return np.where(shape.ffn > 0, seconds, 0.0)

    def _experts(self) -> Floats:
        """Products of routed experts of one layer: each local expert has its share of the tokens."""
        shape, layout, peak = self.shape, self.layout, self.machine.peak
        local = np.maximum(1.0, shape.experts / layout.ep)
        rows = np.maximum(1.0, self.tokens / layout.tp * shape.experts_per_token / local)
        width = np.maximum(shape.expert_ffn, 1.0)
        efficiency = self.efficiency * min(self.value["experts"], 1.0)
        one = self.product(rows, shape.gates * width, shape.hidden, efficiency, peak) + self.product(
            rows, shape.hidden, width, efficiency, peak
        )
        return np.where(shape.experts > 0, one * local * self.value["imbalance"], 0.0)

    def _scores(self) -> tuple[Floats, Floats]:
        """Attention of one layer, forward and backward, fused (FlashAttention) or through memory."""
        value, shape, machine = self.value, self.shape, self.machine
        tp, sequence = self.layout.tp, shape.sequence
        pairs = shape.score_flops_per_pair / tp * self.tokens
        rate = machine.peak_16 * value["attention"] * self.efficiency_16
        narrow_heads = (1 + 32 / shape.head_dim) / 1.25
        fused = pairs * shape.attended / rate * narrow_heads * (1 + 1024 / sequence)
        written = value["traffic_scores"] * shape.heads / tp * sequence * self.tokens * self.wide
        through_memory = pairs * sequence / rate * (1 + 32 / shape.head_dim) + written / self.memory_rate
        return (
            np.where(self.unfused, through_memory, fused),
            np.where(self.unfused, 2 * through_memory, 2.5 * fused * value["attention_backward"]),
        )

    def _element_wise(self, moe_share: Floats) -> Floats:
        """Norms, activations, residuals and casts of one layer, forward."""
        value, shape, layout = self.value, self.shape, self.layout
        shared = np.where((layout.sequence_parallel > 0) | (layout.tp == 1), layout.tp, 1.0)
        moved_more = value.of_software("traffic")
        inner = np.where(shape.experts > 0, 0.0, shape.gates * shape.ffn)
        widths = inner + shape.query_width + shape.key_value_width
        through = (
            value["traffic_hidden"] * shape.hidden / shared + value["traffic_inner"] * widths / layout.tp
        )
        elements = self.tokens * self.wide * moved_more * through
        of_experts = (
            moe_share
            * self.tokens
            / layout.tp
            * self.wide
            * value["traffic_experts"]
            * shape.experts_per_token
            * (shape.hidden + shape.gates * shape.expert_ffn / 2)
        )
        cast = self.tokens * value["traffic_cast"] * (2 * shape.hidden + inner) / layout.tp
        return (elements + of_experts + np.where(self.narrow, cast, 0.0)) / self.memory_rate

    def _launches(self, moe_share: Floats) -> Floats:
        """Time of the host to launch the kernels of one layer, all passes."""
        value, layout = self.value, self.layout
        kernels = np.where(self.unfused, KERNELS_UNFUSED, KERNELS_FUSED) * value["kernels"]
        kernels = kernels * np.where(self.narrow, 1.5, 1.0)
        local = np.maximum(1.0, self.shape.experts / layout.ep)
        kernels = kernels + moe_share * value["expert_kernels"] * (12 + 2 * local)
        passes = np.where(layout.recompute == FULL, 4.0, 3.0)
        return np.asarray(kernels * passes * value["host_s"] * value.of_software("host_s"))

    def _tensor(self) -> tuple[Floats, Floats]:
        """All-reduces of one layer, or as many gathers and scatters, in the domain and then across."""
        value, layout = self.value, self.layout
        inside = np.minimum(layout.tp, self.machine.domain)
        across = np.maximum(1.0, layout.tp / self.machine.domain)
        message = self.tokens * self.shape.hidden * self.wide
        one = self._inside(message, inside)
        far = value["fabric_s"] * 2 * np.log2(across) + (
            2 * (across - 1) / across * message / inside / self.fabric_rate
        )
        times = np.where(layout.recompute == FULL, 6.0, 4.0)
        exposed = value["tensor_exposed"] * value.of_software("tensor_exposed")
        seconds = times * (one + np.where(across > 1, far, 0.0)) * exposed
        sent = times * 2 * (layout.tp - 1) / layout.tp * message
        return np.where(layout.tp > 1, seconds, 0.0), sent

    def _exchange(self) -> tuple[Floats, Floats]:
        """Four exchanges of tokens with their experts: out and back, forward and backward."""
        value, shape, layout, machine = self.value, self.shape, self.layout, self.machine
        far = np.clip((layout.ep - machine.domain) / layout.ep, 0.0, 1.0)
        near = np.maximum((layout.ep - 1) / layout.ep - far, 0.0)
        used = np.maximum(shape.experts_per_token, 1.0)
        message = self.tokens / layout.tp * used * shape.hidden * self.wide
        slow = (
            near / machine.scale_up_bandwidth + far * np.minimum(1.0, LANES / used) / machine.fabric_bandwidth
        )
        seconds = 4 * (value["fabric_s"] + message * slow / value["all_to_all"])
        exchanged = (shape.experts > 0) & (layout.ep > 1)
        return np.where(exchanged, seconds, 0.0), np.where(exchanged, 4 * message * (near + far), 0.0)

    def _context(self, scores: Floats) -> Floats:
        """Keys and values go round the ranks of context parallelism behind attention; what does not hide."""
        layout = self.layout
        inside = layout.cp * layout.tp <= self.machine.domain
        rate = np.where(inside, self.scale_up_rate, self.fabric_rate)
        block = self.tokens * self.shape.key_value_width / layout.tp * self.wide
        around = 3 * (layout.cp - 1) * (self.value["scale_up_s"] + block / rate)
        return np.where(layout.cp > 1, _larger(scores, around, HOST_SHARPNESS) - scores, 0.0)

    def _logits(self) -> Floats:
        """Products with the table of the vocabulary, three passes, and the loss."""
        shape, tp = self.shape, self.layout.tp
        vocab = np.maximum(shape.vocab, 1.0) / tp
        products = 3 * self.product(
            self.tokens, vocab, shape.hidden, self.efficiency_16, self.machine.peak_16
        )
        moved = 4 * self.value["traffic_logits"] * self.tokens * vocab / self.memory_rate
        return np.where(shape.vocab > 0, products + moved, 0.0)

    def _data(self, pipe: Floats, micro_s: Floats) -> tuple[Floats, Floats]:
        """What is waited for of gradients, or of weights that are sharded, and bytes sent for them."""
        value, layout, machine = self.value, self.layout, self.machine
        ranks = layout.dp * layout.cp
        more = value.of_software("data_traffic")
        sharded = layout.zero == SHARDED
        of_gradients = np.where(layout.zero == 0, self.wide, GRADIENT_BYTES) * machine.trained
        weights = self._local_weights()
        gradients = self._all_reduce(weights * of_gradients, ranks)
        behind = BACKWARD_SHARE * micro_s
        exposed = _larger(behind, gradients * more, value["overlap"]) - behind
        gathered = 1.5 * self._all_reduce(weights * self.wide, ranks) * layout.micro_batches
        exposed_sharded = _larger(pipe, gathered * more, value["overlap_sharded"]) - pipe
        ring = 2 * (ranks - 1) / ranks * weights
        sent = np.where(sharded, 1.5 * layout.micro_batches * self.wide, of_gradients) * ring
        return np.where(ranks > 1, np.where(sharded, exposed_sharded, exposed), 0.0), sent

    def _all_reduce(self, message: Floats, ranks: Floats) -> Floats:
        """In the domain first, then across it with each GPU's share, then in the domain again."""
        layout = self.layout
        inside = np.clip(self.machine.domain / (layout.tp * layout.cp), 1.0, ranks)
        across = np.maximum(1.0, ranks / inside)
        near = np.where(inside > 1, self._inside(message, inside), 0.0)
        far = 2 * (across - 1) / across * message / inside / self.fabric_rate
        hops = np.where(across > 1, self.value["fabric_s"] * 2 * np.log2(across + 1), 0.0)
        return near + far + hops

    def _inside(self, message: Floats, ranks: Floats) -> Floats:
        """All-reduce over the links of a domain, by the protocol that is fastest for its size."""
        share = 2 * (ranks - 1) / ranks
        slower = self.value["scale_up_s"] / TYPICAL.first_s
        return by_protocol(TYPICAL, share * message / self.scale_up_rate, 2 * (ranks - 1), slower)

    def _local_weights(self) -> Floats:
        shape, layout = self.shape, self.layout
        plain = (shape.parameters - shape.routed_parameters) / (layout.tp * layout.pp)
        return plain + shape.routed_parameters / (layout.ep * layout.pp)

    def _update(self) -> Floats:
        layout, ranks = self.layout, self.layout.dp * self.layout.cp
        local = self._local_weights() / np.where(layout.zero >= 1, ranks, 1.0)
        mine = np.where(layout.zero == SHARDED, self.shape.parameters / layout.gpus, local)
        return mine * self.machine.trained * self.value["update"] / self.memory_rate


def _larger(first: Floats, second: Floats, sharpness: float) -> Floats:
    """Two things that overlap: their sum at sharpness 1, the larger of them at infinity."""
    most = np.maximum(np.maximum(first, second), 1e-30)
    return np.asarray(most * ((first / most) ** sharpness + (second / most) ** sharpness) ** (1 / sharpness))
