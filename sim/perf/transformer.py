"""A transformer in the field's standard terms, and how many weights it has where.

A description is what a paper's table or a ``config.json`` states: layers, hidden size, heads, widths. All
else follows from it exactly: the matrices of a layer, their shapes, and the number of parameters. What is
left out is as in Llama (Touvron et al., arXiv:2302.13971): a gated feed-forward, RMS norms, no biases, rotary
positions, an output matrix of its own.

``layers`` are those of the decoder where there is one; an encoder that feeds it has ``encoder_layers``, of
the same widths. Sizes are numbers of elements; nothing here knows bytes, precisions or devices.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sim.parts import Name, Part
from sim.perf.front_ends import Convolutions, Patches

Family = Literal["decoder", "encoder", "encoder_decoder", "vision", "speech"]
Norm = Literal["rms", "layer", "layer_without_bias", "none"]
Bias = Literal["query", "key", "value", "projection", "ffn", "router", "head"]
Role = Literal["query", "key", "value", "projection", "gate", "up", "down", "router", "head"]
"""What a matrix does in a layer, in the words that adapters are placed by."""

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]

LAYER_BIASES: Final[tuple[Bias, ...]] = ("query", "key", "value", "projection", "ffn")
"""Biases at every matrix of a layer, as GPT-2, GPT-3, BERT and OPT have them."""

_GATED_MULTIPLE: Final = 256
_NORM_VECTORS: Final[Mapping[Norm, int]] = {"rms": 1, "layer": 2, "layer_without_bias": 1, "none": 0}


@dataclass(frozen=True, slots=True)
class Matrix:
    """Weights that multiply each token: from ``inputs`` elements to ``outputs``.

    A layer has ``copies`` of it, of which a token goes through ``used``: both 1 except for experts. A matrix
    that is another one's transpose (tied embeddings) has no copies of its own.
    """

    role: Role
    inputs: int
    outputs: int
    bias: bool = False
    copies: int = 1
    used: int = 1

    @property
    def parameters(self) -> int:
        """Weights and biases of all copies."""
        return self.copies * self._one

    @property
    def active_parameters(self) -> int:
        """Weights and biases that one token goes through."""
        return min(self.copies, self.used) * self._one

    @property
    def forward_flops_per_token(self) -> int:
        """Two floating-point operations, a product and a sum, for each weight that a token meets."""
        return 2 * self.used * self.inputs * self.outputs

    @property
    def _one(self) -> int:
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of weights, by part of the network, biases with their matrices."""

    embedding: int
    """Tables of tokens, learned positions, token types and relative positions."""
    front_end: int
    """From pixels or sound to the first layer: patches, convolutions, class token."""
    attention: int
    ffn: int
    """Feed-forward matrices that every token goes through, those of shared experts included."""
    experts: int
    """Feed-forward matrices of routed experts."""
    router: int
    norms: int
    head: int
    """From the last layer to the answer: logits unless tied, classes, pooler."""

    @property
    def total(self) -> int:
        """All of them."""
        return (
            self.embedding
            + self.front_end
            + self.attention
            + self.ffn
            + self.experts
            + self.router
            + self.norms
            + self.head
        )


class Latent(Part):
    """Multi-head latent attention: keys and values share one short vector (DeepSeek-V2, arXiv:2405.04434)."""

    q_rank: Count = Field(0, description="length of the compressed query; 0 where queries are not compressed")
    kv_rank: Positive = Field(description="length of the compressed keys and values")
    nope: Positive = Field(description="elements of a query's or key's head without position")
    rope: Positive = Field(description="elements of a head with rotary position; keys share theirs")
    value: Positive = Field(description="elements of a value's head")


def _heads(read: dict[str, Any]) -> int:
    return int(read.get("heads", 1))


def _head_dim(read: dict[str, Any]) -> int:
    return int(read.get("hidden", 1)) // _heads(read) or 1


def _ffn(read: dict[str, Any]) -> int:
    """Four times the hidden size; gated, two thirds of that, rounded up, so that the weights stay as many."""
    hidden = int(read.get("hidden", 1))
    if not read.get("gated", True):
        return 4 * hidden
    return math.ceil(8 * hidden / 3 / _GATED_MULTIPLE) * _GATED_MULTIPLE


def _sequence(read: dict[str, Any]) -> int:
    front_end = read.get("front_end")
    return 0 if front_end is None or read.get("encoder_layers", 0) else int(front_end.tokens)


def _encoder_sequence(read: dict[str, Any]) -> int:
    if not read.get("encoder_layers", 0):
        return 0
    front_end = read.get("front_end")
    return int(front_end.tokens) if front_end is not None else int(read.get("sequence", 0))


def _causal(read: dict[str, Any]) -> bool:
    return read.get("family") in ("decoder", "encoder_decoder") or bool(read.get("encoder_layers", 0))


class Transformer(Part):
    """A transformer: what it is made of, and how many weights that gives."""

    name: Name
    family: Family = "decoder"
    layers: Positive = Field(description="layers; of the decoder where an encoder feeds one")
    encoder_layers: Count = Field(0, description="layers of an encoder that a decoder attends to")
    hidden: Positive = Field(description="elements of a token between layers")
    heads: Positive = Field(description="query heads of attention")
    kv_heads: Positive = Field(
        default_factory=_heads, description="heads of keys and values; left out, as many as of queries"
    )
    head_dim: Positive = Field(
        default_factory=_head_dim, description="elements of a head; left out, hidden over heads"
    )
    gated: bool = Field(True, description="whether the feed-forward has a gate: three matrices, not two")
    ffn: Positive = Field(
        default_factory=_ffn,
        description="width of the feed-forward; left out, 4 hidden, or gated 8/3 hidden rounded up to 256s",
    )
    vocab: Count = Field(0, description="rows of the token table, padding included; 0 without one")
    tied: bool = Field(False, description="whether logits use the token table again")

    experts: Count = Field(0, description="routed experts of a layer; 0 for a dense model")
    experts_per_token: Count = Field(0, description="routed experts that a token goes through")
    expert_ffn: Count = Field(
        default_factory=lambda read: int(read.get("ffn", 0)) if read.get("experts") else 0,
        description="width of one expert; left out, ffn",
    )
    shared_ffn: Count = Field(0, description="width of all shared experts of a layer together")
    dense_layers: Count = Field(0, description="leading layers without experts")
    moe_every: Positive = Field(1, description="of the layers after those, one in so many has experts")
    prediction_layers: Count = Field(
        0, description="layers that predict further tokens in training (DeepSeek-V3, arXiv:2412.19437)"
    )

    latent: Latent | None = Field(None, description="multi-head latent attention in place of key-value heads")
    window: Count = Field(0, description="tokens that attention looks back at most; 0 for all")
    full_attention_every: Count = Field(
        0, description="where there is a window, one layer in so many is without; 0 for none"
    )
    sinks: bool = Field(False, description="whether each head has a learned sink, as in gpt-oss")
    biases: tuple[Bias, ...] = Field((), description="which matrices have biases")
    norm: Norm = "rms"
    norms_per_layer: Count = Field(2, description="not counting that of cross attention")
    qk_norm: bool = Field(False, description="whether queries and keys are normalised head by head")
    embedding_norm: bool = False
    final_norm: bool = True
    learned_positions: Count = Field(0, description="rows of a learned table of positions")
    relative_buckets: Count = Field(0, description="learned distances of each head, as in T5")
    token_types: Count = Field(0, description="rows of a table of token types, as in BERT")
    pooler: bool = Field(False, description="whether a square matrix follows the last layer, as in BERT")
    classes: Count = Field(0, description="classes that the head tells apart, as in ViT")
    front_end: Annotated[Patches | Convolutions, Field(discriminator="kind")] | None = Field(
        None, description="what makes tokens of images or sound"
    )

    sequence: Count = Field(
        default_factory=_sequence,
        description="tokens of a training sample; an image or a window of sound knows its own",
    )
    encoder_sequence: Count = Field(
        default_factory=_encoder_sequence,
        description="tokens that the encoder reads of a sample; left out, as many as the decoder",
    )
    causal: bool = Field(
        default_factory=_causal, description="whether a token attends only to those before it"
    )

    @field_validator("kv_heads")
    @classmethod
    def _heads_share_evenly(cls, kv_heads: int, others: ValidationInfo) -> int:
        heads = others.data.get("heads", kv_heads)
        if heads % kv_heads:
            raise ValueError(f"{heads} heads cannot share {kv_heads} key-value heads evenly")
        return kv_heads

    @field_validator("experts_per_token")
    @classmethod
    def _experts_suffice(cls, used: int, others: ValidationInfo) -> int:
        experts = others.data.get("experts", used)
        if used > experts:
            raise ValueError(f"a token cannot go through {used} of {experts} experts")
        return used

    @field_validator("dense_layers")
    @classmethod
    def _some_layers_have_experts(cls, dense: int, others: ValidationInfo) -> int:
        layers = others.data.get("layers", dense)
        if dense > layers:
            raise ValueError(f"{dense} leading layers of {layers} cannot be dense")
        return dense

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        told = [sentence for sentence, wrong in self._contradictions() if wrong]
        if told:
            raise ValueError("; ".join(told))
        return self

    def _contradictions(self) -> tuple[tuple[str, bool], ...]:
        """What does not go together, and whether it is so here."""
        words = self.family in ("decoder", "encoder", "encoder_decoder")
        patches = isinstance(self.front_end, Patches)
        sound = isinstance(self.front_end, Convolutions)
        expert_fields = self.experts_per_token or self.shared_ffn or self.dense_layers or self.moe_every > 1
        return (
            ("vocab is missing (rows of the token table)", words and self.vocab == 0),
            ("sequence is missing (tokens of a training sample)", self.sequence == 0),
            ("front_end is missing (kind: patches)", self.family == "vision" and not patches),
            ("front_end is missing (kind: convolutions)", self.family == "speech" and not sound),
            ("a model of text has no front_end", words and self.front_end is not None),
            (
                "encoder_layers is missing (layers of the encoder)",
                self.family == "encoder_decoder" and self.encoder_layers == 0,
            ),
            (
                f'encoder_layers belongs to family encoder_decoder or speech, not "{self.family}"',
                self.family in ("decoder", "encoder", "vision") and self.encoder_layers > 0,
            ),
            (
                "experts_per_token is missing (experts that a token goes through)",
                self.experts > 0 and self.experts_per_token == 0,
            ),
            ("experts is missing (routed experts of a layer)", self.experts == 0 and bool(expert_fields)),
            ("a window is for causal attention", self.window > 0 and not self.causal),
            ("full_attention_every needs a window", self.full_attention_every > 0 and self.window == 0),
            ("latent attention has as many key heads as heads", self.latent is not None and self.groups > 1),
        )

    # ---- shapes

    @property
    def groups(self) -> int:
        """Query heads that share a key-value head: 1 for plain attention."""
        return self.heads // self.kv_heads

    @property
    def key_dim(self) -> int:
        """Elements of a head of queries and keys."""
        return self.latent.nope + self.latent.rope if self.latent else self.head_dim

    @property
    def value_dim(self) -> int:
        """Elements of a head of values."""
        return self.latent.value if self.latent else self.head_dim

    @property
    def qkv_width(self) -> int:
        """Outputs of the query, key and value matrices together, as attention takes them."""
        return self.heads * self.key_dim + self.kv_heads * (self.key_dim + self.value_dim)

    @property
    def projection_width(self) -> int:
        """Inputs of the matrix after attention."""
        return self.heads * self.value_dim

    @property
    def score_flops_per_pair(self) -> int:
        """Operations for one token to attend to one other, all heads: the products with key and value."""
        return 2 * self.heads * (self.key_dim + self.value_dim)

    @property
    def moe_layers(self) -> int:
        """Layers with experts."""
        return (self.layers - self.dense_layers) // self.moe_every if self.experts else 0

    def has_experts(self, layer: int) -> bool:
        """Whether a layer, counted from 0, has experts; with ``moe_every`` it is the last of each so many."""
        after = layer - self.dense_layers
        return bool(self.experts) and after >= 0 and (after + 1) % self.moe_every == 0

    def has_window(self, layer: int) -> bool:
        """Whether attention of a layer, counted from 0, looks back at most a window."""
        every = self.full_attention_every
        return self.window > 0 and not (every and (layer + 1) % every == 0)

    @property
    def attention_matrices(self) -> tuple[Matrix, ...]:
        """Those of one attention; a decoder's layer has two attentions where an encoder feeds it."""
        projection = self._matrix("projection", self.projection_width, self.hidden)
        if self.latent is None:
            query = self._matrix("query", self.hidden, self.heads * self.head_dim)
            key = self._matrix("key", self.hidden, self.kv_heads * self.head_dim)
            value = self._matrix("value", self.hidden, self.kv_heads * self.head_dim)
            return query, key, value, projection
        asked = self.heads * self.key_dim
        down = (self._matrix("query", self.hidden, self.latent.q_rank),) if self.latent.q_rank else ()
        return (
            *down,
            self._matrix("query", self.latent.q_rank or self.hidden, asked),
            self._matrix("key", self.hidden, self.latent.kv_rank + self.latent.rope),
            self._matrix("value", self.latent.kv_rank, self.heads * (self.latent.nope + self.latent.value)),
            projection,
        )

    @property
    def ffn_matrices(self) -> tuple[Matrix, ...]:
        """The feed-forward of a layer without experts."""
        return self._feed_forward(self.ffn)

    @property
    def expert_matrices(self) -> tuple[Matrix, ...]:
        """The routed experts of a layer that has them."""
        return self._feed_forward(self.expert_ffn, self.experts, self.experts_per_token)

    @property
    def shared_matrices(self) -> tuple[Matrix, ...]:
        """The shared experts of a layer that has experts, as one."""
        return self._feed_forward(self.shared_ffn) if self.shared_ffn else ()

    @property
    def router_matrix(self) -> Matrix:
        """What chooses the experts of a token."""
        return self._matrix("router", self.hidden, self.experts)

    @property
    def prediction_matrix(self) -> Matrix:
        """What joins a token's last layer and the next token's embedding before a prediction layer."""
        return Matrix("projection", 2 * self.hidden, self.hidden)

    @property
    def logits_matrix(self) -> Matrix:
        """From the last layer to a number for each token of the vocabulary."""
        copies = 0 if self.tied else 1
        return Matrix("head", self.hidden, self.vocab, bias="head" in self.biases, copies=copies)

    def _feed_forward(self, width: int, copies: int = 1, used: int = 1) -> tuple[Matrix, ...]:
        bias = "ffn" in self.biases
        gate = (Matrix("gate", self.hidden, width, bias, copies, used),) if self.gated else ()
        return (
            *gate,
            Matrix("up", self.hidden, width, bias, copies, used),
            Matrix("down", width, self.hidden, bias, copies, used),
        )

    def _matrix(
        self, role: Literal["query", "key", "value", "projection", "router"], inputs: int, outputs: int
    ) -> Matrix:
        return Matrix(role, inputs, outputs, bias=role in self.biases)

    # ---- counts

    @property
    def attention_parameters(self) -> int:
        """Weights of one attention, without norms."""
        return _parameters(self.attention_matrices) + (self.heads if self.sinks else 0)

    @property
    def ffn_parameters(self) -> int:
        """Weights of the feed-forward of a layer without experts."""
        return _parameters(self.ffn_matrices)

    @property
    def expert_parameters(self) -> int:
        """Weights of all routed experts of one layer; one expert has an ``experts``-th of it."""
        return _parameters(self.expert_matrices) if self.experts else 0

    @property
    def shared_parameters(self) -> int:
        """Weights of the shared experts of one layer."""
        return _parameters(self.shared_matrices)

    @property
    def router_parameters(self) -> int:
        """Weights of the router of one layer."""
        return self.router_matrix.parameters if self.experts else 0

    @property
    def norm_parameters(self) -> int:
        """Weights of the norms of one layer that attends to no encoder."""
        latent = self.latent.q_rank + self.latent.kv_rank if self.latent else 0
        return (
            self.norms_per_layer * self.one_norm_parameters
            + latent
            + (2 * self.key_dim if self.qk_norm else 0)
        )

    def layer_parameters(self, layer: int = 0) -> int:
        """Weights of a layer, counted from 0; of the decoder, with cross attention, where there are two."""
        attention = (self.attention_parameters + self.one_norm_parameters) if self.encoder_layers else 0
        mixed = self.expert_parameters + self.shared_parameters + self.router_parameters
        ffn = mixed if self.has_experts(layer) else self.ffn_parameters
        return attention + self.attention_parameters + ffn + self.norm_parameters

    @property
    def parameters_by_part(self) -> Parameters:
        """Weights by part of the network, without layers that predict further tokens."""
        dense = self.layers - self.moe_layers + self.encoder_layers
        return Parameters(
            embedding=self._embedding,
            front_end=self.front_end.parameters(self.hidden) if self.front_end else 0,
            attention=self._attentions * self.attention_parameters,
            ffn=dense * self.ffn_parameters + self.moe_layers * self.shared_parameters,
            experts=self.moe_layers * self.expert_parameters,
            router=self.moe_layers * self.router_parameters,
            norms=self._norms,
            head=self._head,
        )

    @property
    def parameters(self) -> int:
        """All weights, as papers count: a tied table once, layers that predict further tokens not at all."""
        return self.parameters_by_part.total

    @property
    def active_parameters(self) -> int:
        """Weights that a token goes through, tables included: those of experts it does not meet left out."""
        if not self.experts:
            return self.parameters
        met = sum(matrix.active_parameters for matrix in self.expert_matrices)
        return self.parameters - self.moe_layers * (self.expert_parameters - met)

    @property
    def prediction_parameters(self) -> int:
        """Weights of the layers that predict further tokens: a layer each, a matrix and three norms."""
        joined = self.prediction_matrix.parameters + 3 * self.one_norm_parameters
        return self.prediction_layers * (self.layer_parameters(self.layers - 1) + joined)

    @property
    def one_norm_parameters(self) -> int:
        """Weights of one norm of the hidden size."""
        return _NORM_VECTORS[self.norm] * self.hidden

    @property
    def end_norm_parameters(self) -> int:
        """Weights of the norms before the first layer and after the last, of both stacks together."""
        stacks = 2 if self.encoder_layers else 1
        return self.one_norm_parameters * (stacks * self.final_norm + self.embedding_norm)

    @property
    def _attentions(self) -> int:
        return self.layers * (2 if self.encoder_layers else 1) + self.encoder_layers

    @property
    def _embedding(self) -> int:
        rows = self.vocab + self.learned_positions + self.token_types
        stacks = 2 if self.encoder_layers else 1
        return rows * self.hidden + stacks * self.relative_buckets * self.heads

    @property
    def _norms(self) -> int:
        cross = self.layers * self.one_norm_parameters if self.encoder_layers else 0
        layers = self.layers + self.encoder_layers
        return layers * self.norm_parameters + cross + self.end_norm_parameters

    @property
    def _head(self) -> int:
        classes = self.classes * (self.hidden + 1)
        pooler = self.hidden * (self.hidden + 1) if self.pooler else 0
        return self.logits_matrix.parameters + classes + pooler


def _parameters(matrices: tuple[Matrix, ...]) -> int:
    return sum(matrix.parameters for matrix in matrices)
