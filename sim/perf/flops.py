"""Floating-point operations of a transformer: forward, in training, and with what is computed again.

Counted as the field does: two operations, a product and a sum, for each weight that a token meets; a backward
pass of twice the forward (gradients of activations and of weights); attention scores over the mean number of
tokens attended to. Norms, activations, softmax and look-ups in tables count nothing. For plain attention and
a feed-forward of 4 hidden, a training token takes 72 L h^2 (1 + s / (6 h) + V / (12 L h)): Narayanan et al.,
"Efficient Large-Scale Language Model Training", SC'21, without what is computed again.

A sample has ``sequence`` tokens, and where an encoder feeds a decoder also ``encoder_sequence``; "per token"
is per token of both, so that operations per token times tokens of the sample are the whole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

from sim.perf.transformer import Transformer
from sim.perf.tuning import EVERYTHING, Block, Freezable, Tuning, blocks

FlopPart = Literal[
    "attention_projections",
    "attention_scores",
    "ffn",
    "router",
    "logits",
    "front_end",
    "adapters",
    "prediction",
]
Recompute = Literal["none", "selective", "full"]
_COUNTED_WITH: dict[Freezable, FlopPart] = {
    "attention": "attention_projections",
    "ffn": "ffn",
    "experts": "ffn",
    "router": "router",
}


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations by what they are for."""

    attention_projections: float = 0.0
    """Query, key, value and output matrices."""
    attention_scores: float = 0.0
    """Queries with keys, and weights with values."""
    ffn: float = 0.0
    """Feed-forward matrices: dense, of routed and of shared experts."""
    router: float = 0.0
    logits: float = 0.0
    """The head: logits, classes, pooler."""
    front_end: float = 0.0
    """Patches or convolutions."""
    adapters: float = 0.0
    """Low-rank matrices beside frozen ones."""
    prediction: float = 0.0
    """Layers that predict further tokens, with their logits."""

    @property
    def total(self) -> float:
        """All of them."""
        return sum(float(getattr(self, part.name)) for part in fields(self))


class Lengths(NamedTuple):
    """Tokens of a sample: of the only stack or the decoder, and of the encoder that feeds it."""

    sequence: int
    encoder_sequence: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """Work of one kind in the forward pass of a sample."""

    part: FlopPart
    flops: float
    backward: int
    """How many times as much the backward pass does: 2, 1 with one kind of gradients, 0 with none."""
    again: Recompute = "none"
    """The least recomputation that runs it a second time."""


def attended(sequence: float, *, causal: bool, window: int = 0) -> float:
    """Mean number of tokens that a token attends to.

    Half of them where attention is causal, as Megatron and FlashAttention count (exactly it is half a token
    more); with a window, no more than that.

    >>> attended(4096.0, causal=True), attended(8192.0, causal=True, window=4096)
    (2048.0, 3072.0)
    """
    reach = min(float(window or sequence), sequence)
    return reach * (1 - reach / (2 * sequence)) if causal else reach


def lengths(
    transformer: Transformer, sequence: int | None = None, encoder_sequence: int | None = None
) -> Lengths:
    """Tokens of a sample; what is left out is as the transformer says."""
    encoded = transformer.encoder_sequence if encoder_sequence is None else encoder_sequence
    return Lengths(
        transformer.sequence if sequence is None else sequence, encoded if transformer.encoder_layers else 0
    )


def forward_flops_per_token(
    transformer: Transformer,
    sequence: int | None = None,
    *,
    causal: bool | None = None,
    encoder_sequence: int | None = None,
) -> Flops:
    """Operations of a forward pass in training, per token of samples of ``sequence`` tokens.

    ``causal=False`` counts attention to all tokens for causal models too, as SC'21, the tables of
    Megatron-core and llm-foundry do; left out, it is as the transformer says.
    """
    sample = lengths(transformer, sequence, encoder_sequence)
    pieces = _pieces(transformer, sample, _causal(transformer, causal), EVERYTHING)
    return _summed(((piece.part, piece.flops) for piece in pieces), sum(sample))


def training_flops_per_token(
    transformer: Transformer,
    sequence: int | None = None,
    *,
    causal: bool | None = None,
    encoder_sequence: int | None = None,
    tuning: Tuning = EVERYTHING,
) -> Flops:
    """Operations of a training step, per token: three times the forward pass, less what frozen parts save.

    Frozen matrices have no gradients of weights, and layers below the lowest that learns have no backward
    pass. These are the model FLOPs of MFU.
    """
    return hardware_flops_per_token(
        transformer, sequence, causal=causal, encoder_sequence=encoder_sequence, tuning=tuning
    )


def hardware_flops_per_token(
    transformer: Transformer,
    sequence: int | None = None,
    *,
    recompute: Recompute = "none",
    causal: bool | None = None,
    encoder_sequence: int | None = None,
    tuning: Tuning = EVERYTHING,
) -> Flops:
    """Operations that devices run in a training step, per token, with what they compute twice.

    ``selective`` runs attention scores again (Korthikanti et al., arXiv:2205.05198), ``full`` whole layers;
    the head and the front end run once. These are the hardware FLOPs of HFU.
    """
    sample = lengths(transformer, sequence, encoder_sequence)
    pieces = _pieces(transformer, sample, _causal(transformer, causal), tuning)
    return _summed(
        (
            (piece.part, piece.flops * (1 + piece.backward + _runs_again(piece, recompute)))
            for piece in pieces
        ),
        sum(sample),
    )


def _causal(transformer: Transformer, causal: bool | None) -> bool:  # noqa: FBT001 - None is a third answer
    return transformer.causal if causal is None else causal


def _runs_again(piece: _Piece, recompute: Recompute) -> bool:
    order: tuple[Recompute, ...] = ("none", "selective", "full")
    return piece.backward > 0 and piece.again != "none" and order.index(piece.again) <= order.index(recompute)


def _summed(pieces: Iterable[tuple[FlopPart, float]], tokens: int) -> Flops:
    sums: dict[FlopPart, float] = {}
    for part, flops in pieces:
        sums[part] = sums.get(part, 0.0) + flops
    return Flops(**{part: flops / tokens for part, flops in sums.items()})


def _pieces(
    transformer: Transformer,
    sample: Lengths,
    causal: bool,  # noqa: FBT001 - passed on
    tuning: Tuning,
) -> Iterator[_Piece]:
    """All work of a sample's forward pass, with the backward passes that follow from what learns."""
    yield from _front_end(transformer, sample, tuning)
    gradients = tuning.learns("embedding") or (
        transformer.front_end is not None and tuning.learns("front_end")
    )
    of_encoder = False
    for block in blocks(transformer, tuning):
        gradients = gradients or block.has_gradients(tuning)
        if block.stack == "encoder":
            of_encoder = gradients and not block.frozen
            yield from _layers(block, sample, tuning, gradients=of_encoder, of_encoder=of_encoder)
            yield _scores(transformer, block, sample, causal=False, gradients=of_encoder)
            gradients = of_encoder or tuning.learns("embedding")
        else:
            yield from _layers(block, sample, tuning, gradients=gradients, of_encoder=of_encoder)
            yield _scores(transformer, block, sample, causal=causal, gradients=gradients)
    yield from _head(transformer, sample, tuning, gradients=gradients)
    if transformer.prediction_layers and tuning == EVERYTHING:
        yield from _prediction(transformer, sample, causal=causal)


def _front_end(transformer: Transformer, sample: Lengths, tuning: Tuning) -> Iterator[_Piece]:
    """Patches or convolutions, as many as the tokens that are read; nothing passes back through them."""
    if transformer.front_end is not None:
        read = sample.encoder_sequence or sample.sequence
        flops = transformer.front_end.forward_flops(transformer.hidden) * read / transformer.front_end.tokens
        learns = tuning.learns("front_end") and "encoder" not in tuning.frozen
        yield _Piece("front_end", flops, int(learns))


def _layers(
    block: Block, sample: Lengths, tuning: Tuning, *, gradients: bool, of_encoder: bool
) -> Iterator[_Piece]:
    """The matrices of layers that are alike, with their adapters."""
    for weights in block.weights:
        tokens = sample.encoder_sequence if weights.of_encoder else sample.sequence
        back = of_encoder if weights.of_encoder else gradients
        learns = not block.frozen and tuning.learns(weights.part)
        flops = block.layers * tokens * weights.matrix.forward_flops_per_token
        yield _Piece(_COUNTED_WITH[weights.part], flops, learns + back, "full")
        if tuning.lora is not None and not block.frozen:
            flops = block.layers * tokens * tuning.lora.forward_flops_per_token(weights.matrix)
            yield _Piece("adapters", flops, 2, "full")


def _scores(
    transformer: Transformer, block: Block, sample: Lengths, *, causal: bool, gradients: bool
) -> _Piece:
    """Queries with keys and weights with values, of layers that are alike; they have no weights to learn."""
    window = transformer.window if block.windowed else 0
    if block.stack == "encoder":
        pairs = sample.encoder_sequence * attended(sample.encoder_sequence, causal=False)
    else:
        pairs = sample.sequence * attended(sample.sequence, causal=causal, window=window)
        pairs += sample.sequence * sample.encoder_sequence
    return _Piece(
        "attention_scores",
        block.layers * pairs * transformer.score_flops_per_pair,
        2 * gradients,
        "selective",
    )


def _head(transformer: Transformer, sample: Lengths, tuning: Tuning, *, gradients: bool) -> Iterator[_Piece]:
    """Logits of every token; classes and the pooler look at one token of a sample."""
    hidden, logits = transformer.hidden, transformer.logits_matrix
    learns = tuning.learns("embedding" if transformer.tied else "head")
    yield _Piece("logits", sample.sequence * logits.forward_flops_per_token, learns + gradients)
    once = 2 * hidden * transformer.classes + (2 * hidden**2 if transformer.pooler else 0)
    yield _Piece("logits", once, tuning.learns("head") + gradients)


def _prediction(transformer: Transformer, sample: Lengths, *, causal: bool) -> Iterator[_Piece]:
    """Layers that predict further tokens: like the last layer, with a matrix before and logits after."""
    last = blocks(transformer)[-1]
    tokens = transformer.prediction_layers * sample.sequence
    matrices = [weights.matrix for weights in last.weights]
    for matrix in (*matrices, transformer.prediction_matrix):
        yield _Piece("prediction", tokens * matrix.forward_flops_per_token, 2, "full")
    pairs = tokens * attended(sample.sequence, causal=causal)
    yield _Piece("prediction", pairs * transformer.score_flops_per_pair, 2, "selective")
    yield _Piece("prediction", tokens * transformer.logits_matrix.forward_flops_per_token, 2)
