"""What no size and no file may break: counts add up and grow, and a faulty file is refused, never a crash."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.catalog import hugging_face, transformers
from sim.catalog.hugging_face import READERS
from sim.errors import PlanError
from sim.perf.flops import forward_flops_per_token, lengths, training_flops_per_token
from sim.perf.transformer import LAYER_BIASES, Transformer
from sim.perf.tuning import Lora, Tuning, blocks, trainable_parameters

IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
widths = st.integers(1, 512)


@st.composite
def described(draw: st.DrawFn) -> Transformer:
    """A decoder, with or without experts, or an encoder with a decoder."""
    kv_heads = draw(st.integers(1, 8))
    layers = draw(st.integers(1, 12))
    experts = draw(st.integers(0, 16))
    routed: dict[str, Any] = {}
    if experts:
        routed = {
            "experts": experts,
            "experts_per_token": draw(st.integers(1, experts)),
            "expert_ffn": draw(widths),
            "shared_ffn": draw(st.integers(0, 512)),
            "dense_layers": draw(st.integers(0, layers)),
            "moe_every": draw(st.integers(1, 3)),
        }
    encoder = draw(st.integers(0, 4))
    return Transformer(
        name="drawn",
        family="encoder_decoder" if encoder else "decoder",
        layers=layers,
        encoder_layers=encoder,
        hidden=draw(widths),
        heads=kv_heads * draw(st.integers(1, 8)),
        kv_heads=kv_heads,
        head_dim=draw(st.integers(1, 64)),
        gated=draw(st.booleans()),
        ffn=draw(widths),
        vocab=draw(st.integers(1, 1000)),
        tied=draw(st.booleans()),
        biases=tuple(sorted(draw(st.sets(st.sampled_from((*LAYER_BIASES, "router", "head")))))),
        norm=draw(st.sampled_from(("rms", "layer", "layer_without_bias", "none"))),
        qk_norm=draw(st.booleans()),
        learned_positions=draw(st.integers(0, 100)),
        sequence=draw(st.integers(1, 4096)),
        **routed,
    )


@given(described())
def test_the_weights_of_all_layers_and_of_both_ends_are_the_whole(model: Transformer) -> None:
    parts = model.parameters_by_part
    ends = parts.embedding + parts.head + model.end_norm_parameters
    own = model.attention_parameters + model.ffn_parameters + model.norm_parameters
    layers = sum(model.layer_parameters(layer) for layer in range(model.layers))
    assert layers + model.encoder_layers * own + ends == model.parameters == trainable_parameters(model)
    assert 0 < model.active_parameters <= model.parameters
    assert sum(block.layers for block in blocks(model)) == model.layers + model.encoder_layers
    assert model.moe_layers == sum(map(model.has_experts, range(model.layers)))


@given(described())
def test_a_token_meets_every_active_matrix_once_and_training_takes_three_times_that(
    model: Transformer,
) -> None:
    """A decoder's products without scores are twice its active weights that are in matrices."""
    forward, training = forward_flops_per_token(model), training_flops_per_token(model)
    assert abs(training.total - 3 * forward.total) <= 1e-9 * training.total
    if model.encoder_layers:
        return
    plain = model.model_copy(update={"biases": (), "norm": "none", "qk_norm": False, "learned_positions": 0})
    tables = 0 if plain.tied else plain.vocab * plain.hidden
    products = forward.total - forward.attention_scores
    assert abs(products - 2 * (plain.active_parameters - tables)) <= 1e-6 * products


@given(described(), st.integers(1, 8))
def test_adapters_grow_with_their_rank_and_save_a_third_at_most(model: Transformer, rank: int) -> None:
    one, more = (Tuning(lora=Lora(rank=size, matrices=("query", "up"))) for size in (1, rank))
    assert trainable_parameters(model, more) == rank * trainable_parameters(model, one)
    tuned, whole = training_flops_per_token(model, tuning=more), training_flops_per_token(model)
    assert whole.total * 2 / 3 * (1 - 1e-9) <= tuned.total <= whole.total + tuned.adapters


@given(described(), st.integers(1, 2048))
def test_causal_attention_is_half_of_full_and_longer_samples_cost_more_a_token(
    model: Transformer, more: int
) -> None:
    if model.encoder_layers:
        return
    full = forward_flops_per_token(model, causal=False)
    assert 2 * forward_flops_per_token(model).attention_scores == full.attention_scores
    longer = forward_flops_per_token(model, sum(lengths(model)) + more)
    assert longer.attention_scores > forward_flops_per_token(model).attention_scores
    assert longer.ffn == forward_flops_per_token(model).ffn


letters = st.text(st.characters(categories=("L", "N", "P")), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**6) | st.floats() | letters,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(letters, inner, max_size=3),
    max_leaves=5,
)
SIZES = (
    *("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"),
    *("hidden_size", "n_embd", "d_model", "num_attention_heads", "n_head", "n_heads", "num_heads", "d_kv"),
    *("num_key_value_heads", "head_dim", "encoder_attention_heads", "intermediate_size", "ffn_dim", "d_ff"),
    *("encoder_ffn_dim", "vocab_size", "max_position_embeddings", "n_positions", "max_seq_len"),
    *("num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok", "sliding_window"),
    *("moe_intermediate_size", "n_shared_experts", "first_k_dense_replace", "num_nextn_predict_layers"),
    *("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
    *("type_vocab_size", "image_size", "patch_size", "num_mel_bins", "max_source_positions"),
    *("max_target_positions", "kv_n_heads", "ffn_hidden_size", "moe_num_experts", "moe_top_k"),
)
SOUND = dict.fromkeys(SIZES, 4)
SOUND_CONFIG: dict[str, Any] = SOUND | {"attn_config": SOUND, "ffn_config": SOUND}
OTHERS = (
    "tie_word_embeddings",
    "id2label",
    "attn_config",
    "ffn_config",
    "feed_forward_proj",
    "_name_or_path",
)
SOUND_FILE = {"name": "own", "layers": 2, "hidden": 8, "heads": 2, "vocab": 10, "sequence": 4}


def is_told(error: PlanError, path: Path) -> bool:
    return all(line.startswith(str(path)) for line in str(error).splitlines())


@pytest.mark.parametrize("kind", READERS)
def test_the_configuration_that_is_broken_below_is_sound(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": kind} | SOUND_CONFIG), "utf-8")
    assert hugging_face.read(path).parameters > 0


@IN_A_FOLDER
@given(st.sampled_from(sorted(READERS)), st.dictionaries(st.sampled_from((*SIZES, *OTHERS)), values))
def test_whatever_a_configuration_holds_is_read_or_refused(
    tmp_path: Path, kind: str, config: dict[str, Any]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": kind} | SOUND_CONFIG | config), "utf-8")
    try:
        read = hugging_face.read(path)
    except PlanError as error:
        told = is_told(error, path)
    else:
        told = read.parameters > 0
    assert told


@IN_A_FOLDER
@given(st.dictionaries(st.sampled_from(sorted(Transformer.model_fields)), values))
def test_whatever_an_own_file_holds_is_read_or_refused(tmp_path: Path, written: dict[str, Any]) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(SOUND_FILE | written), "utf-8")
    try:
        read = transformers.read(path)
    except PlanError as error:
        told = is_told(error, path)
    else:
        told = read.parameters > 0
    assert told
