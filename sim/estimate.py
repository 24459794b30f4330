"""How long a large model trains on so many GPUs, whether it fits, and how best to split it.

One job is estimated by the step-time model that published runs have set (``sim.perf.parallel``): a given
layout, or the fastest that fits of all that divide evenly. All layouts of a model on a fleet are evaluated at
once, in arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim import catalog, units, words
from sim.catalog.machines import NVL72, NVL72_DOMAIN, USUAL_FABRIC, machine_of, machines
from sim.catalog.training_fit import TrainingFit, training_fit
from sim.errors import PlanError
from sim.perf.flops import forward_flops_per_token, hardware_flops_per_token, training_flops_per_token
from sim.perf.parallel.layouts import Layout, Layouts, all_layouts, faults, layouts
from sim.perf.parallel.machines import Machines, NumberFormat, Software
from sim.perf.parallel.memory import LEAN, MEASURED, Memory, memory
from sim.perf.parallel.shapes import Shapes, shapes
from sim.perf.parallel.step_time import Step
from sim.perf.traffic import CHECKPOINT_BYTES, CHECKPOINT_BYTES_FP32, TOKEN_BYTES, Traffic
from sim.perf.transformer import Transformer
from sim.perf.tuning import EVERYTHING, Adaptable, Lora, Tuning, trainable_parameters

Floats = NDArray[np.float64]

USUAL_BATCH_TOKENS: Final = 4e6
"""Tokens of a step where nothing says: what GPT-3 to Llama 3 ended with, 3 to 16 million."""
HOUR_S: Final = 3600.0
DAY_S: Final = 86400.0
HOST_SHARE: Final = 1.4
"""Power of a node over that of its GPUs, where the catalog has no node: DGX H100, 10.2 kW over 8 x 700 W, is
1.8 with everything at its maximum; measured nodes in training are nearer to this."""
DRAW: Final = 0.85
"""Share of the rated power that training draws on average (Acme, MLPerf power: 0.7 to 0.95)."""
PUE: Final = 1.2
"""Power of the building over that of its computers, where nothing says."""
LARGEST_FLEET: Final = 131_072
ALL_MATRICES: Final[tuple[Adaptable, ...]] = ("query", "key", "value", "projection", "gate", "up", "down")


@dataclass(frozen=True, slots=True)
class Job:
    """A model, what it is trained on, and how."""

    model: Transformer
    gpu: str
    """The catalog's name."""
    gpus: int
    sequence: int
    """Tokens of a sample."""
    batch: int
    """Samples of a step, all GPUs together."""
    number_format: NumberFormat = "bf16"
    software: Software = "megatron-core"
    gpus_per_node: int = 8
    fabric: float = USUAL_FABRIC
    """Bytes a second of one GPU to other nodes, each direction."""
    lora_rank: int = 0
    """Rank of low-rank adapters beside every matrix of a layer, which alone learn; 0 trains everything."""

    @property
    def tuning(self) -> Tuning:
        """What learns."""
        return Tuning(lora=Lora(rank=self.lora_rank, matrices=ALL_MATRICES)) if self.lora_rank else EVERYTHING

    @property
    def trained(self) -> float:
        """Share of the weights that learn."""
        if not self.lora_rank:
            return 1.0
        return trainable_parameters(self.model, self.tuning) / self.model.parameters

    @property
    def domain(self) -> int:
        """GPUs that reach one another over the scale-up link."""
        return NVL72_DOMAIN if self.gpu in NVL72 else self.gpus_per_node

    @property
    def step_tokens(self) -> float:
        """Tokens of a step."""
        return float(self.batch) * self.sequence

    def machine(self, count: int = 1) -> Machines:
        """The hardware, as often as there are layouts. PlanError for a format that the GPU has not."""
        row = machine_of(
            self.gpu, self.number_format, self.software, float(self.domain), self.fabric, self.trained
        )
        return machines([row]).take(np.zeros(count, dtype=np.int64))

    def shape(self, count: int = 1) -> Shapes:
        """The model, as often as there are layouts."""
        return shapes([self.model], [self.sequence]).take(np.zeros(count, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one layout of a job takes."""

    job: Job
    layout: Layout
    step: Step
    memory: Memory
    factor: float
    """Step times between those divided and multiplied by it hold 80 % of such runs."""
    known: bool
    """Whether runs on this GPU in this format were in the fit."""

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return float(self.step.step_s[0])

    @property
    def interval_s(self) -> tuple[float, float]:
        """Seconds between which 80 % of such steps should be."""
        return self.step_s / self.factor, self.step_s * self.factor

    @property
    def tokens_per_s(self) -> float:
        """Of all GPUs together."""
        return self.job.step_tokens / self.step_s

    @property
    def mfu(self) -> float:
        """Model FLOP/s over the dense peak, causal attention counted half."""
        flops = training_flops_per_token(self.job.model, self.job.sequence, tuning=self.job.tuning)
        return self.tokens_per_s * flops.total / self._peak

    @property
    def hfu(self) -> float:
        """The same with what is computed again."""
        flops = hardware_flops_per_token(
            self.job.model, self.job.sequence, recompute=self.layout.recompute, tuning=self.job.tuning
        )
        return self.tokens_per_s * flops.total / self._peak

    @property
    def _peak(self) -> float:
        return float(self.job.machine().peak[0]) * self.job.gpus

    @property
    def verdict(self) -> str:
        """``fits``, ``tight`` (only if little is kept at once) or ``does not fit``."""
        return str(verdicts(self.job, layouts(self.layout, self.job.batch))[0])

    def steps(self, tokens: float) -> int:
        """Steps for so many tokens."""
        return math.ceil(tokens / self.job.step_tokens)

    def time_s(self, tokens: float) -> float:
        """Seconds of training, without failures and restarts."""
        return self.steps(tokens) * self.step_s

    def energy_kwh(self, tokens: float, pue: float = PUE) -> float:
        """Energy at the meter of the building."""
        return self.time_s(tokens) / HOUR_S * self.job.gpus * DRAW * HOST_SHARE * pue * _watts(self.job) / 1e3

    def where(self) -> dict[str, float]:
        """Seconds of a step by what they go to; they add up to the step."""
        parts = {
            "products and attention": self.step.compute_s,
            "element by element": self.step.memory_s,
            "computed again": self.step.recompute_s,
            "logits": self.step.logits_s,
            "waiting for launches": self.step.launch_s,
            "tensor parallelism": self.step.tensor_s,
            "expert parallelism": self.step.expert_s,
            "context parallelism": self.step.context_s,
            "pipeline bubble": self.step.bubble_s,
            "between stages": self.step.pipeline_s,
            "data parallelism": self.step.data_s,
            "update of weights": self.step.update_s,
            "slowest node, and the rest": self.step.other_s,
        }
        return {name: float(seconds[0]) for name, seconds in parts.items()}

    @property
    def forward_s(self) -> float:
        """Seconds that the forward passes of a step take: their share of the operations."""
        flops = hardware_flops_per_token(
            self.job.model, self.job.sequence, recompute=self.layout.recompute, tuning=self.job.tuning
        )
        forward = forward_flops_per_token(self.job.model, self.job.sequence)
        return self.step_s * forward.total / flops.total

    def traffic(self) -> Traffic:
        """What a step and a checkpoint ask of network and storage."""
        step, job = self.step, self.job
        of_weight = CHECKPOINT_BYTES_FP32 if job.number_format == "fp32" else CHECKPOINT_BYTES
        return Traffic(
            tensor_bytes=float(step.tensor_bytes[0]),
            expert_bytes=float(step.expert_bytes[0]),
            pipeline_bytes=float(step.pipeline_bytes[0]),
            data_bytes=float(step.data_bytes[0]),
            input_bytes=TOKEN_BYTES * job.step_tokens,
            checkpoint_bytes=of_weight * job.trained * job.model.parameters,
            weight_bytes=float(job.shape().parameters[0]) * (4.0 if job.number_format == "fp32" else 2.0),
        )

    def out_of_a_node(self) -> tuple[float, float]:
        """Bytes a second that a node sends to others at full speed: by rings and in pairs, and to all evenly.

        Tensor parallelism stays in a domain as far as it reaches. Gradients are added up in each node
        first, so that each GPU sends its share of them to its like in the other nodes. Stages next to one
        another are taken to be on different nodes.
        """
        job, layout, traffic = self.job, self.layout, self.traffic()
        per_node = min(job.gpus_per_node, job.gpus)
        if job.gpus <= per_node:
            return 0.0, 0.0
        inside = max(1, per_node // layout.tp)
        ranks = layout.dp * layout.cp
        near = min(inside, ranks)
        across = ranks / near
        data = traffic.data_bytes * (across - 1) / across / near / ((ranks - 1) / ranks) if ranks > 1 else 0.0
        tensor = traffic.tensor_bytes * max(0.0, 1 - per_node / layout.tp)
        experts = traffic.expert_bytes * max(0.0, (layout.ep - inside) / layout.ep)
        rate = per_node / self.step_s
        return (data + tensor + traffic.pipeline_bytes) * rate, experts * rate

    def memory_parts(self) -> dict[str, float]:
        """Bytes of the fullest GPU by what they hold."""
        names = ("weights", "gradients", "optimiser", "activations", "logits", "gathered", "fixed")
        return {name: float(getattr(self.memory, name)[0]) for name in names}


@dataclass(frozen=True, slots=True)
class Search:
    """All layouts of a job, the fastest first, with those that do not fit left out."""

    job: Job
    layouts: Layouts
    step_s: Floats
    memory_bytes: Floats
    tight: NDArray[np.bool_]
    evaluated: int

    def __len__(self) -> int:
        """How many fit."""
        return len(self.step_s)


def usual_batch(sequence: int) -> int:
    """Samples of a step of about four million tokens, a power of two.

    >>> usual_batch(2048), usual_batch(8192)
    (2048, 512)
    """
    return int(2 ** round(math.log2(USUAL_BATCH_TOKENS / sequence)))


def verdicts(job: Job, layout: Layouts) -> NDArray[np.str_]:
    """Whether each layout fits, by what allocators reserve, or only by what is needed at least."""
    shape, machine = job.shape(len(layout)), job.machine(len(layout))
    usual = memory(shape, layout, machine, MEASURED).fits(machine)
    lean = memory(shape, layout, machine, LEAN).fits(machine)
    return np.where(usual, "fits", np.where(lean, "tight", "does not fit"))


def estimate(job: Job, layout: Layout | None = None, fit: TrainingFit | None = None) -> Estimate:
    """What a job takes in a layout, or in the fastest that fits.

    Raises PlanError where the layout does not divide, and where no layout fits.
    """
    fitted = (fit or training_fit()).fitted
    chosen = layout
    if chosen is None:
        found = search(job, fit)
        chosen = found.layouts.one(0)
    wrong = faults(job.model, chosen, job.gpus, job.batch, job.sequence)
    if wrong:
        raise PlanError("the layout is not possible: " + "; ".join(wrong))
    one, shape, machine = layouts(chosen, job.batch), job.shape(), job.machine()
    return Estimate(
        job,
        chosen,
        fitted.times(shape, one, machine),
        memory(shape, one, machine),
        float(fitted.factors(shape, one, machine)[0]),
        fitted.knows(job.gpu, job.number_format, job.software),
    )


def search(job: Job, fit: TrainingFit | None = None) -> Search:
    """Every layout that divides evenly and fits, the fastest first; PlanError with what is missing."""
    fitted = (fit or training_fit()).fitted
    every = all_layouts(job.model, job.gpus, job.batch, job.sequence, job.domain)
    if not len(every):
        raise PlanError(
            f"no layout of {job.model.name} divides evenly over {words.count(job.gpus, 'GPU')} with a batch"
            f" of {words.count(job.batch, 'sample')}; choose numbers with common divisors"
        )
    fit_how = verdicts(job, every)
    fits = fit_how != "does not fit"
    if not fits.any():
        raise PlanError(_what_is_missing(job, every))
    possible = every.take(fits)
    shape, machine = job.shape(len(possible)), job.machine(len(possible))
    step_s = fitted.times(shape, possible, machine).step_s
    tight = fit_how[fits] == "tight"
    order = np.lexsort((step_s, tight))
    held = memory(shape, possible, machine).total
    return Search(job, possible.take(order), step_s[order], held[order], tight[order], len(every))


def smallest(job: Job, tokens: float, deadline_s: float, fit: TrainingFit | None = None) -> Estimate:
    """The smallest fleet tried that is done in time; PlanError if none is.

    Fleets of 1 to 8, 10, 12, 14, 16, 20, ... nodes are tried: powers of two, and three, five and seven times
    those, where batches and layers divide. One between two of them might do as well.
    """
    sizes = sorted({base << power for base in (1, 3, 5, 7) for power in range(18)})
    tried = [job.gpus_per_node * size for size in sizes if job.gpus_per_node * size <= LARGEST_FLEET]
    slowest: Estimate | None = None
    for gpus in tried:
        try:
            found = estimate(replace(job, gpus=gpus), None, fit)
        except PlanError:
            continue
        if found.time_s(tokens) <= deadline_s:
            return found
        slowest = found
    if slowest is None:
        raise PlanError(f"{job.model.name} fits on no fleet of {job.gpu} up to {LARGEST_FLEET:,} GPUs")
    raise PlanError(
        f"no fleet of {job.gpu} up to {LARGEST_FLEET:,} GPUs is done in {units.human_duration(deadline_s)};"
        f" {slowest.job.gpus:,} take {units.human_duration(slowest.time_s(tokens))}; a larger batch uses more"
    )


def _what_is_missing(job: Job, every: Layouts) -> str:
    shape, machine = job.shape(len(every)), job.machine(len(every))
    least = float(memory(shape, every, machine, LEAN).total.min())
    there = float(machine.memory_bytes[0])
    return (
        f"{job.model.name} fits in no layout on {words.count(job.gpus, 'GPU')} of {job.gpu}: the best needs"
        f" {least / 1e9:,.0f} GB of each, and there are {there / 1e9:,.0f} GB; take more GPUs or larger ones"
    )


def _watts(job: Job) -> float:
    return float(catalog.gpu(job.gpu).power)
