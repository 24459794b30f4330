"""Operations of transformers: counted by hand, by the field's formulas, and fewer where parts are frozen."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.errors import PlanError
from sim.perf.flops import (
    Flops,
    attended,
    forward_flops_per_token,
    hardware_flops_per_token,
    lengths,
    training_flops_per_token,
)
from sim.perf.front_ends import Convolution, Convolutions, Patches
from sim.perf.transformer import LAYER_BIASES, Latent, Transformer
from sim.perf.tuning import EVERYTHING, Lora, Tuning, trainable_parameters

GPT: dict[str, Any] = {"gated": False, "tied": True, "norm": "layer", "biases": LAYER_BIASES}
LLAMA = Transformer(
    name="llama-3-8b",
    layers=32,
    hidden=4096,
    heads=32,
    kv_heads=8,
    ffn=14336,
    vocab=128256,
    sequence=8192,
)
SMALL = Transformer(name="small", layers=2, hidden=8, heads=2, ffn=16, vocab=10, sequence=4, causal=False)
"""Attention 4 x 64 weights, feed-forward 3 x 128, head 80: small enough to count on paper."""
T5 = Transformer(
    name="t5",
    family="encoder_decoder",
    layers=1,
    encoder_layers=1,
    hidden=8,
    heads=2,
    ffn=16,
    gated=False,
    tied=True,
    vocab=10,
    sequence=3,
    encoder_sequence=5,
)


def gpt(layers: int, hidden: int, vocab: int, sequence: int) -> Transformer:
    return Transformer(
        name="gpt", layers=layers, hidden=hidden, heads=8, vocab=vocab, sequence=sequence, **GPT
    )


sizes = st.builds(
    gpt,
    st.integers(1, 100),
    st.integers(1, 200).map(lambda width: 64 * width),
    st.integers(1, 300_000),
    st.integers(1, 100_000),
)


@given(sizes)
def test_a_plain_gpt_takes_what_the_formula_of_sc21_says(model: Transformer) -> None:
    layers, hidden, vocab, length = model.layers, model.hidden, model.vocab, model.sequence
    once = 72 * layers * hidden**2 * (1 + length / (6 * hidden) + vocab / (12 * layers * hidden))
    assert training_flops_per_token(model, causal=False).total == pytest.approx(once, rel=1e-12)
    twice = 96 * layers * hidden**2 * (1 + length / (6 * hidden) + vocab / (16 * layers * hidden))
    again = hardware_flops_per_token(model, causal=False, recompute="full").total
    assert again == pytest.approx(twice, rel=1e-12)


def test_llama_3_8b_takes_what_nvidia_published_with_full_and_with_causal_attention() -> None:
    """57.9 GFLOP a token in NeMo's table of 24.07 and 51.5 in that of 25.11."""
    assert training_flops_per_token(LLAMA, causal=False).total == pytest.approx(57.9e9, rel=1e-3)
    assert training_flops_per_token(LLAMA).total == pytest.approx(51.5e9, rel=1e-3)


def test_a_small_model_is_counted_on_paper() -> None:
    assert forward_flops_per_token(SMALL) == Flops(
        attention_projections=2 * 2 * 256,
        attention_scores=2 * 4 * 4 * 8,
        ffn=2 * 2 * 384,
        logits=2 * 80,
    )


def test_selective_recomputation_runs_the_scores_again_and_full_whole_layers() -> None:
    once = training_flops_per_token(SMALL)
    forward = forward_flops_per_token(SMALL)
    selective = hardware_flops_per_token(SMALL, recompute="selective")
    assert selective == replace(once, attention_scores=once.attention_scores + forward.attention_scores)
    full = hardware_flops_per_token(SMALL, recompute="full")
    assert full.total == once.total + forward.total - forward.logits


def test_attention_reaches_half_as_far_when_causal_and_no_further_than_a_window() -> None:
    assert attended(100.0, causal=True) == 50.0
    assert attended(100.0, causal=True, window=200) == 50.0
    assert attended(100.0, causal=True, window=10) == 9.5
    windowed = LLAMA.model_copy(update={"window": 4096, "full_attention_every": 2})
    scores = forward_flops_per_token(windowed).attention_scores
    assert scores == 4 * 4096 * (16 * 3072 + 16 * 4096)


def test_a_token_meets_its_experts_the_shared_ones_and_the_router() -> None:
    mixed = Transformer(
        name="moe",
        layers=3,
        hidden=8,
        heads=2,
        ffn=16,
        vocab=10,
        sequence=4,
        experts=6,
        experts_per_token=2,
        expert_ffn=4,
        shared_ffn=5,
        dense_layers=1,
    )
    flops = forward_flops_per_token(mixed)
    assert flops.ffn == 2 * 3 * 8 * (16 + 2 * (2 * 4 + 5))
    assert flops.router == 2 * 2 * 8 * 6


def test_latent_attention_multiplies_its_five_matrices_and_scores_with_long_keys() -> None:
    latent = Latent(q_rank=3, kv_rank=5, nope=4, rope=2, value=7)
    model = Transformer(
        name="mla", layers=1, hidden=8, heads=2, ffn=16, vocab=10, sequence=4, latent=latent, causal=False
    )
    weights = 8 * 3 + 3 * 2 * 6 + 8 * (5 + 2) + 5 * 2 * (4 + 7) + 2 * 7 * 8
    flops = forward_flops_per_token(model)
    assert flops.attention_projections == 2 * weights
    assert flops.attention_scores == 2 * 2 * 4 * (6 + 7)
    assert (model.qkv_width, model.projection_width) == (2 * 6 + 2 * 13, 14)


def test_an_encoder_and_a_decoder_share_their_work_among_both_their_tokens() -> None:
    """Each multiplies its own tokens; keys and values of cross attention multiply the encoder's."""
    projections = 2 * (5 * 256 + 3 * 256 + (3 * 128 + 5 * 128))
    scores = 4 * 8 * (5 * 5 + 3 * 3 + 3 * 5)
    flops = forward_flops_per_token(T5, causal=False)
    assert sum(lengths(T5)) == 8
    assert flops.attention_projections * 8 == projections
    assert flops.attention_scores * 8 == scores
    assert flops.ffn * 8 == 2 * 8 * 256
    assert flops.logits * 8 == 2 * 3 * 80


def test_images_and_sound_pay_for_their_front_end_and_for_their_head_once() -> None:
    vit = Transformer(
        name="vit",
        family="vision",
        layers=1,
        hidden=8,
        heads=2,
        front_end=Patches(image=8, patch=4),
        classes=3,
        **GPT | {"tied": False},
    )
    flops = forward_flops_per_token(vit)
    assert flops.front_end * vit.sequence == 2 * 4 * 48 * 8
    assert flops.logits * vit.sequence == 2 * 8 * 3
    sound = Convolutions(
        channels=2, steps=10, window=1.0, layers=(Convolution(channels=8, kernel=2, stride=2),)
    )
    heard = Transformer(
        name="heard", family="speech", layers=1, hidden=8, heads=2, front_end=sound, **GPT | {"tied": False}
    )
    assert heard.sequence == 5
    assert forward_flops_per_token(heard).front_end == 2 * 8 * 2 * 2


def test_layers_that_predict_further_tokens_are_counted_apart() -> None:
    more = SMALL.model_copy(update={"prediction_layers": 1})
    flops = forward_flops_per_token(more)
    assert flops.prediction == 2 * (256 + 384 + 2 * 64 + 80) + 4 * 4 * 8
    assert replace(flops, prediction=0.0) == forward_flops_per_token(SMALL)
    assert more.prediction_parameters == 256 + 384 + 16 + 2 * 64 + 3 * 8
    once, full = training_flops_per_token(more), hardware_flops_per_token(more, recompute="full")
    assert full.prediction - once.prediction == flops.prediction - 2 * 80


# ---- what learns


def test_adapters_of_llama_have_the_weights_that_peft_counts() -> None:
    """41,943,040 at rank 16 on all seven matrices, 3,407,872 at rank 8 on queries and values."""
    every = Lora(rank=16, matrices=("query", "key", "value", "projection", "gate", "up", "down"))
    assert trainable_parameters(LLAMA, Tuning(lora=every)) == 41_943_040
    assert trainable_parameters(LLAMA, Tuning(lora=Lora(rank=8))) == 3_407_872


def test_adapters_save_the_weight_gradients_of_what_is_frozen() -> None:
    forward = forward_flops_per_token(SMALL)
    tuned = training_flops_per_token(SMALL, tuning=Tuning(lora=Lora(rank=3)))
    assert tuned.ffn == 2 * forward.ffn
    assert tuned.attention_projections == 2 * forward.attention_projections
    assert tuned.attention_scores == 3 * forward.attention_scores
    assert tuned.logits == 2 * forward.logits
    assert tuned.adapters == 3 * 2 * 2 * 2 * 3 * 16


def test_frozen_leading_layers_run_forward_only() -> None:
    half = training_flops_per_token(SMALL, tuning=Tuning(frozen_layers=1))
    forward = forward_flops_per_token(SMALL)
    assert half.ffn == forward.ffn / 2 + 3 * forward.ffn / 2
    assert half.attention_scores == 2 * forward.attention_scores
    assert half.logits == 3 * forward.logits
    one_layer = SMALL.layer_parameters()
    assert trainable_parameters(SMALL, Tuning(frozen_layers=1)) == one_layer + 8 + 80


def test_a_head_alone_learns_without_a_backward_pass_through_the_layers() -> None:
    head = Tuning(frozen=("embedding", "attention", "ffn", "norms"))
    flops, forward = training_flops_per_token(SMALL, tuning=head), forward_flops_per_token(SMALL)
    assert replace(flops, logits=0.0) == replace(forward, logits=0.0)
    assert flops.logits == 2 * forward.logits
    assert trainable_parameters(SMALL, head) == 80
    assert hardware_flops_per_token(SMALL, tuning=head, recompute="full") == flops


def test_a_frozen_part_saves_its_weight_gradients_only() -> None:
    flops = training_flops_per_token(SMALL, tuning=Tuning(frozen=("ffn",)))
    forward = forward_flops_per_token(SMALL)
    assert flops.ffn == 2 * forward.ffn
    assert flops.attention_projections == 3 * forward.attention_projections
    assert trainable_parameters(SMALL, Tuning(frozen=("ffn",))) == SMALL.parameters - 2 * 384


def test_a_frozen_encoder_runs_forward_only_and_its_keys_and_values_pass_nothing_back() -> None:
    flops = training_flops_per_token(T5, causal=False, tuning=Tuning(frozen=("encoder",)))
    own, crossing = 3 * (256 + 128), 5 * 128
    assert flops.attention_projections * 8 == 2 * (5 * 256 + 3 * own + 2 * crossing)
    assert flops.ffn * 8 == 2 * 256 * (5 + 3 * 3)
    encoder = 256 + 256 + 16
    assert trainable_parameters(T5, Tuning(frozen=("encoder",))) == T5.parameters - encoder


@pytest.mark.parametrize(
    "model",
    [
        SMALL,
        T5,
        LLAMA,
        SMALL.model_copy(update={"sinks": True, "qk_norm": True, "embedding_norm": True}),
        LLAMA.model_copy(update={"experts": 8, "experts_per_token": 2, "expert_ffn": 100, "dense_layers": 3}),
    ],
)
def test_when_nothing_is_frozen_all_weights_learn(model: Transformer) -> None:
    assert trainable_parameters(model) == model.parameters


@given(
    st.sets(st.sampled_from(["embedding", "attention", "ffn", "norms", "head"])),
    st.integers(0, 2),
    st.sampled_from(["none", "selective", "full"]),
)
def test_freezing_never_costs_more_and_never_less_than_a_forward_pass(
    frozen: set[Any], layers: int, recompute: Any
) -> None:
    tuning = Tuning(frozen=tuple(sorted(frozen)), frozen_layers=layers)
    least, most = forward_flops_per_token(SMALL), hardware_flops_per_token(SMALL, recompute=recompute)
    found = hardware_flops_per_token(SMALL, recompute=recompute, tuning=tuning)
    for part in fields(Flops):
        assert getattr(least, part.name) <= getattr(found, part.name) <= getattr(most, part.name)
    assert trainable_parameters(SMALL, tuning) <= SMALL.parameters
    assert tuning != EVERYTHING or found == most


@pytest.mark.parametrize(
    ("model", "tuning", "message"),
    [
        (T5, Tuning(frozen_layers=1), '"t5" has two stacks: freeze its encoder, not leading layers'),
        (SMALL, Tuning(frozen_layers=3), '"small" has 2 layers, not 3 to freeze'),
        (SMALL, Tuning(frozen=("encoder",)), '"small" has no encoder to freeze'),
        (
            T5,
            Tuning(lora=Lora(rank=1, matrices=("gate",))),
            'the feed-forward of "t5" has no gate to adapt; choose up or down',
        ),
    ],
)
def test_a_tuning_of_what_is_not_there_is_refused(model: Transformer, tuning: Tuning, message: str) -> None:
    with pytest.raises(PlanError) as refused:
        trainable_parameters(model, tuning)
    assert str(refused.value) == message


def test_adapters_and_frozen_parts_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="everything but the adapters is frozen"):
        Tuning(lora=Lora(rank=1), frozen=("ffn",))
