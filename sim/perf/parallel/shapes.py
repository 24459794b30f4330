"""What the time and the memory of a step need to know of transformers: one array element for each.

The numbers are those of ``sim.perf.transformer``, as floats in arrays, so that thousands of layouts of one
model, or hundreds of measured runs of many models, are one computation. Layers that differ (dense ones among
those with experts) are counted, not listed. What the plain matrices of a decoder leave out (compressed
queries, an encoder, a front end, further predicted tokens) is in ``extra_work``, a factor on its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sim.perf.flops import attended, forward_flops_per_token
from sim.perf.transformer import Transformer

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shapes:
    """Transformers in numbers, each trained on samples of ``sequence`` tokens; arrays of one shape."""

    layers: Floats
    hidden: Floats
    heads: Floats
    head_dim: Floats
    query_width: Floats
    """Query heads times elements of a head."""
    key_value_width: Floats
    """Outputs of the key and value matrices together."""
    score_flops_per_pair: Floats
    attended: Floats
    """Mean number of tokens that a token attends to, over the layers."""
    ffn: Floats
    """Width that every token goes through, shared experts included; 0 where there is none."""
    gates: Floats
    """Matrices into the feed-forward: 2 with a gate, 1 without."""
    moe_layers: Floats
    experts: Floats
    experts_per_token: Floats
    expert_ffn: Floats
    shared_ffn: Floats
    vocab: Floats
    sequence: Floats
    parameters: Floats
    embedding_parameters: Floats
    """Weights of the first stage beside its layers: tables of tokens and positions."""
    routed_parameters: Floats
    """Weights of routed experts, which expert parallelism divides."""
    active_parameters: Floats
    extra_work: Floats
    flops_per_token: Floats
    """Forward operations, causal attention counted half."""

    def __len__(self) -> int:
        """How many."""
        return len(self.layers)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Shapes:
        """Some of them, or one of them many times."""
        return Shapes(*(getattr(self, part.name)[chosen] for part in fields(self)))


def shapes(transformers: Sequence[Transformer], sequences: Sequence[int]) -> Shapes:
    """Transformers in numbers, each with the length of its samples in tokens."""
    rows = [_numbers(model, sequence) for model, sequence in zip(transformers, sequences, strict=True)]
    return Shapes(*np.array(rows, dtype=float).T) if rows else Shapes(*np.empty((len(fields(Shapes)), 0)))


def _numbers(model: Transformer, sequence: int) -> tuple[float, ...]:
    parts = model.parameters_by_part
    flops = forward_flops_per_token(model, sequence)
    layers = model.layers + model.encoder_layers
    reaches = [
        attended(sequence, causal=model.causal, window=model.window if model.has_window(layer) else 0)
        for layer in range(model.layers)
    ]
    mean_attended = float(np.mean(reaches))
    key_value = model.kv_heads * (model.key_dim + model.value_dim)
    query = model.heads * (model.key_dim + model.value_dim) / 2
    gates = 2 if model.gated else 1
    moe = model.moe_layers
    dense = layers - moe
    every_token = (dense * model.ffn + moe * model.shared_ffn) / layers
    plain = (
        layers * 2 * model.hidden * (2 * query + key_value)
        + layers * model.score_flops_per_pair * mean_attended
        + layers * 2 * model.hidden * (gates + 1) * every_token
        + moe * 2 * model.hidden * (gates + 1) * model.expert_ffn * model.experts_per_token
        + 2 * model.hidden * model.vocab
    )
    return (
        layers,
        model.hidden,
        model.heads,
        model.head_dim,
        query,
        key_value,
        model.score_flops_per_pair,
        mean_attended,
        every_token,
        gates,
        moe,
        model.experts,
        model.experts_per_token,
        model.expert_ffn,
        model.shared_ffn,
        model.vocab,
        sequence,
        model.parameters,
        parts.embedding + parts.front_end,
        parts.experts,
        model.active_parameters,
        flops.total / plain,
        flops.total,
    )
