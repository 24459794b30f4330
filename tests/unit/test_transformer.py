"""Descriptions of transformers: weights counted as published, to the last one, and contradictions refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from sim.perf.front_ends import Convolution, Convolutions, Patches
from sim.perf.transformer import LAYER_BIASES, Latent, Transformer

GPT: dict[str, Any] = {"gated": False, "tied": True, "norm": "layer", "biases": LAYER_BIASES}
SMALL: dict[str, Any] = {"name": "small", "layers": 2, "hidden": 64, "heads": 4, "vocab": 100, "sequence": 32}
MEL = Convolutions(
    channels=80,
    steps=3000,
    window=30.0,
    layers=(
        Convolution(channels=384, kernel=3, padding=1),
        Convolution(channels=384, kernel=3, stride=2, padding=1),
    ),
)

PUBLISHED = {
    "llama-3-8b": (
        8_030_261_248,
        {"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336, "vocab": 128256},
    ),
    "llama-2-7b": (6_738_415_616, {"layers": 32, "hidden": 4096, "heads": 32, "vocab": 32000}),
    "gpt2": (
        124_439_808,
        {"layers": 12, "hidden": 768, "heads": 12, "vocab": 50257, "learned_positions": 1024} | GPT,
    ),
    "mixtral-8x7b": (
        46_702_792_704,
        {
            "layers": 32,
            "hidden": 4096,
            "heads": 32,
            "kv_heads": 8,
            "ffn": 14336,
            "vocab": 32000,
            "experts": 8,
            "experts_per_token": 2,
        },
    ),
    "bert-base": (
        109_482_240,
        {
            "family": "encoder",
            "layers": 12,
            "hidden": 768,
            "heads": 12,
            "vocab": 30522,
            "learned_positions": 512,
            "token_types": 2,
            "pooler": True,
            "embedding_norm": True,
            "final_norm": False,
        }
        | GPT,
    ),
    "vit-b-16": (
        86_567_656,
        {
            "family": "vision",
            "layers": 12,
            "hidden": 768,
            "heads": 12,
            "learned_positions": 197,
            "classes": 1000,
            "front_end": Patches(image=224, patch=16),
        }
        | GPT
        | {"tied": False},
    ),
    "t5-small": (
        60_506_624,
        {
            "family": "encoder_decoder",
            "layers": 6,
            "encoder_layers": 6,
            "hidden": 512,
            "heads": 8,
            "ffn": 2048,
            "gated": False,
            "tied": True,
            "vocab": 32128,
            "relative_buckets": 32,
        },
    ),
    "whisper-tiny": (
        37_184_640,
        {
            "family": "speech",
            "layers": 4,
            "encoder_layers": 4,
            "hidden": 384,
            "heads": 6,
            "vocab": 51865,
            "learned_positions": 448,
            "front_end": MEL,
        }
        | GPT
        | {"biases": ("query", "value", "projection", "ffn")},
    ),
    "deepseek-v3": (
        671_026_419_200,
        {
            "layers": 61,
            "hidden": 7168,
            "heads": 128,
            "ffn": 18432,
            "vocab": 129280,
            "experts": 256,
            "experts_per_token": 8,
            "expert_ffn": 2048,
            "shared_ffn": 2048,
            "dense_layers": 3,
            "prediction_layers": 1,
            "biases": ("router",),
            "latent": Latent(q_rank=1536, kv_rank=512, nope=128, rope=64, value=128),
        },
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_are_counted_as_published_to_the_last_one(name: str) -> None:
    published, fields = PUBLISHED[name]
    length = {} if fields.get("family") == "vision" else {"sequence": 448}
    assert Transformer(name=name, **fields, **length).parameters == published


def test_a_token_of_mixtral_meets_two_experts_of_eight() -> None:
    _, fields = PUBLISHED["mixtral-8x7b"]
    mixtral = Transformer(name="mixtral", sequence=4096, **fields)
    idle = 32 * 6 * 3 * 4096 * 14336
    assert mixtral.active_parameters == mixtral.parameters - idle == 12_879_925_248


def test_a_plain_gpt_has_the_weights_of_the_formula_of_megatron() -> None:
    """12 L h^2 (1 + 13 / (12 h) + (V + s) / (12 L h)) of Narayanan et al., SC'21, and the last norm."""
    layers, hidden, vocab, length = 24, 2304, 51200, 2048
    gpt = Transformer(
        name="gpt",
        layers=layers,
        hidden=hidden,
        heads=24,
        vocab=vocab,
        sequence=length,
        learned_positions=length,
        **GPT,
    )
    formula = 12 * layers * hidden**2 + 13 * layers * hidden + (vocab + length) * hidden
    assert gpt.parameters == formula + 2 * hidden


def test_the_parts_are_the_whole_and_layers_are_what_stands_between_the_ends() -> None:
    mixed = Transformer(
        **SMALL, experts=4, experts_per_token=2, dense_layers=1, biases=("query",), sinks=True
    )
    parts = mixed.parameters_by_part
    ends = parts.embedding + parts.head + mixed.hidden
    assert sum(mixed.layer_parameters(layer) for layer in range(2)) + ends == mixed.parameters == parts.total
    assert [mixed.has_experts(layer) for layer in range(2)] == [False, True]


def test_what_is_left_out_is_as_in_llama() -> None:
    own = Transformer(**SMALL | {"hidden": 4096, "heads": 32})
    assert (own.kv_heads, own.head_dim, own.ffn, own.causal, own.biases) == (32, 128, 11008, True, ())
    assert Transformer(**SMALL, gated=False).ffn == 256


def test_an_image_and_a_window_of_sound_know_their_tokens() -> None:
    assert Patches(image=224, patch=16).tokens == 197
    assert MEL.tokens == 1500


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kv_heads": 3}, "4 heads cannot share 3 key-value heads evenly"),
        ({"experts": 2, "experts_per_token": 4}, "a token cannot go through 4 of 2 experts"),
        ({"experts": 2}, "experts_per_token is missing"),
        ({"shared_ffn": 64}, "experts is missing"),
        ({"experts": 4, "experts_per_token": 1, "dense_layers": 3}, "3 leading layers of 2 cannot be dense"),
        ({"vocab": 0}, "vocab is missing"),
        ({"sequence": 0}, "sequence is missing (tokens of a training sample)"),
        ({"layers": -1}, "greater than 0"),
        ({"family": "vision"}, "front_end is missing (kind: patches)"),
        ({"family": "speech"}, "front_end is missing (kind: convolutions)"),
        ({"family": "encoder_decoder"}, "encoder_layers is missing"),
        ({"encoder_layers": 2}, 'encoder_layers belongs to family encoder_decoder or speech, not "decoder"'),
        ({"front_end": MEL}, "a model of text has no front_end"),
        ({"full_attention_every": 2}, "full_attention_every needs a window"),
        (
            {"kv_heads": 2, "latent": {"kv_rank": 8, "nope": 8, "rope": 8, "value": 8}},
            "as many key heads as heads",
        ),
    ],
)
def test_contradictions_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Transformer(**SMALL | changed)
    assert message in str(refused.value)


def test_patches_that_do_not_tile_an_image_are_refused() -> None:
    with pytest.raises(ValidationError, match="patches of 15 pixels do not tile an image of 224"):
        Patches(image=224, patch=15)
