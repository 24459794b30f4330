"""Which weights of a transformer learn: all, some, or low-rank adapters beside them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sim.errors import PlanError
from sim.parts import Part
from sim.perf.transformer import Matrix, Transformer

Freezable = Literal[
    "embedding", "front_end", "encoder", "attention", "ffn", "experts", "router", "norms", "head"
]
Adaptable = Literal["query", "key", "value", "projection", "gate", "up", "down"]


class Lora(Part):
    """Low-rank adapters: beside a frozen matrix, two narrow ones that learn (Hu et al., arXiv:2106.09685)."""

    rank: Annotated[int, Field(gt=0)]
    matrices: tuple[Adaptable, ...] = Field(
        ("query", "value"), min_length=1, description="which matrices of every layer have adapters"
    )

    def parameters(self, matrix: Matrix) -> int:
        """Weights of the adapters of a matrix, one for each of its copies."""
        return matrix.copies * self._narrow(matrix)

    def forward_flops_per_token(self, matrix: Matrix) -> int:
        """Operations of the adapters that a token goes through."""
        return 2 * matrix.used * self._narrow(matrix)

    def _narrow(self, matrix: Matrix) -> int:
        return self.rank * (matrix.inputs + matrix.outputs) if matrix.role in self.matrices else 0


class Tuning(Part):
    """What of a transformer learns; as it is, everything."""

    frozen_layers: Annotated[int, Field(ge=0)] = Field(
        0, description="leading layers that do not learn, and with them the embedding and the front end"
    )
    frozen: tuple[Freezable, ...] = Field((), description="parts that do not learn, in any layer")
    lora: Lora | None = Field(None, description="adapters that learn, and nothing else does")

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        if self.lora is not None and self.frozen:
            raise ValueError("with lora everything but the adapters is frozen; leave out frozen")
        return self

    def learns(self, part: Freezable) -> bool:
        """Whether the weights of a part learn, where no layer is frozen as a whole."""
        before = part in {"embedding", "front_end"} and self.frozen_layers > 0
        return self.lora is None and not before and part not in self.frozen


EVERYTHING = Tuning()


@dataclass(frozen=True, slots=True)
class Weights:
    """A matrix of a layer, the part that it is frozen with, and whose tokens it multiplies."""

    part: Freezable
    matrix: Matrix
    of_encoder: bool = False
    """Whether it multiplies the encoder's tokens: in an encoder all, in cross attention keys and values."""


@dataclass(frozen=True, slots=True)
class Block:
    """Layers of one stack that are alike."""

    stack: Literal["encoder", "decoder"]
    layers: int
    weights: tuple[Weights, ...]
    norms: int
    """Weights of the norms of one layer."""
    sinks: int
    """Learned sinks of the attentions of one layer."""
    windowed: bool
    frozen: bool
    """Whether nothing here learns, adapters included."""

    def has_gradients(self, tuning: Tuning) -> bool:
        """Whether anything here learns, so that gradients reach it."""
        if self.frozen:
            return False
        if tuning.lora is not None:
            return any(tuning.lora.parameters(weights.matrix) for weights in self.weights)
        return tuning.learns("norms") or any(tuning.learns(weights.part) for weights in self.weights)

    def trainable_parameters(self, tuning: Tuning) -> int:
        """Weights that learn, in all of these layers."""
        if self.frozen:
            return 0
        if tuning.lora is not None:
            return self.layers * sum(tuning.lora.parameters(weights.matrix) for weights in self.weights)
        learning = [weights.matrix.parameters for weights in self.weights if tuning.learns(weights.part)]
        norms = self.norms if tuning.learns("norms") else 0
        sinks = self.sinks if tuning.learns("attention") else 0
        return self.layers * (sum(learning) + norms + sinks)


def blocks(transformer: Transformer, tuning: Tuning = EVERYTHING) -> tuple[Block, ...]:
    """The layers of a transformer, those that are alike together, from the input on.

    Raises PlanError where a tuning names layers or matrices that the transformer does not have.
    """
    _check(transformer, tuning)
    kinds = Counter(
        (layer >= tuning.frozen_layers, transformer.has_experts(layer), transformer.has_window(layer))
        for layer in range(transformer.layers)
    )
    decoder = tuple(
        _block(transformer, "decoder", count, experts=experts, windowed=windowed, frozen=not learns)
        for (learns, experts, windowed), count in sorted(kinds.items())
    )
    if not transformer.encoder_layers:
        return decoder
    frozen = "encoder" in tuning.frozen
    encoder = _block(
        transformer, "encoder", transformer.encoder_layers, experts=False, windowed=False, frozen=frozen
    )
    return (encoder, *decoder)


def trainable_parameters(transformer: Transformer, tuning: Tuning = EVERYTHING) -> int:
    """Weights that learn: with adapters, theirs. Layers that predict further tokens are left out."""
    inside = sum(block.trainable_parameters(tuning) for block in blocks(transformer, tuning))
    if tuning.lora is not None:
        return inside
    parts = transformer.parameters_by_part
    ends: tuple[tuple[Freezable, int], ...] = (
        ("embedding", parts.embedding),
        ("front_end", parts.front_end),
        ("norms", transformer.end_norm_parameters),
        ("head", parts.head),
    )
    return inside + sum(count for part, count in ends if tuning.learns(part))


def _check(transformer: Transformer, tuning: Tuning) -> None:
    if tuning.frozen_layers and transformer.encoder_layers:
        raise PlanError(f'"{transformer.name}" has two stacks: freeze its encoder, not leading layers')
    if tuning.frozen_layers > transformer.layers:
        raise PlanError(
            f'"{transformer.name}" has {transformer.layers} layers, not {tuning.frozen_layers} to freeze'
        )
    if "encoder" in tuning.frozen and not transformer.encoder_layers:
        raise PlanError(f'"{transformer.name}" has no encoder to freeze')
    if tuning.lora is not None and "gate" in tuning.lora.matrices and not transformer.gated:
        raise PlanError(f'the feed-forward of "{transformer.name}" has no gate to adapt; choose up or down')


def _block(
    transformer: Transformer,
    stack: Literal["encoder", "decoder"],
    layers: int,
    *,
    experts: bool,
    windowed: bool,
    frozen: bool,
) -> Block:
    of_encoder = stack == "encoder"
    crosses = stack == "decoder" and transformer.encoder_layers > 0
    attention = [Weights("attention", matrix, of_encoder) for matrix in transformer.attention_matrices]
    if crosses:
        attention += [
            Weights("attention", matrix, matrix.role in {"key", "value"})
            for matrix in transformer.attention_matrices
        ]
    return Block(
        stack,
        layers,
        (*attention, *_feed_forward(transformer, experts=experts, of_encoder=of_encoder)),
        norms=transformer.norm_parameters + (transformer.one_norm_parameters if crosses else 0),
        sinks=transformer.heads * (2 if crosses else 1) if transformer.sinks else 0,
        windowed=windowed,
        frozen=frozen,
    )


def _feed_forward(transformer: Transformer, *, experts: bool, of_encoder: bool) -> Iterator[Weights]:
    if not experts:
        yield from (Weights("ffn", matrix, of_encoder) for matrix in transformer.ffn_matrices)
        return
    yield Weights("router", transformer.router_matrix)
    yield from (Weights("experts", matrix) for matrix in transformer.expert_matrices)
    yield from (Weights("ffn", matrix) for matrix in transformer.shared_matrices)
