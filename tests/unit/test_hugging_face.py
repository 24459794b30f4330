"""The config.json of Hugging Face: the transformers of the catalog, and clear faults for what is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from sim.catalog import hugging_face
from sim.catalog.hugging_face import READERS
from sim.catalog.transformers import described, transformer
from sim.errors import PlanError
from sim.perf.transformer import Transformer


def rotary(
    layers: int, hidden: int, heads: int, ffn: int, vocab: int, length: int, **more: Any
) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": ffn,
        "vocab_size": vocab,
        "max_position_embeddings": length,
    } | more


DEEPSEEK = {
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "moe_layer_freq": 1,
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-2-7b": ("llama", rotary(32, 4096, 32, 11008, 32000, 4096, num_key_value_heads=32)),
    "llama-3-8b": ("llama", rotary(32, 4096, 32, 14336, 128256, 8192, num_key_value_heads=8)),
    "llama-3.2-1b": (
        "llama",
        rotary(
            16, 2048, 32, 8192, 128256, 8192, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True
        ),
    ),
    "mistral-7b": (
        "mistral",
        rotary(32, 4096, 32, 14336, 32000, 8192, num_key_value_heads=8, sliding_window=4096),
    ),
    "mixtral-8x7b": (
        "mixtral",
        rotary(
            32,
            4096,
            32,
            14336,
            32000,
            32768,
            num_key_value_heads=8,
            sliding_window=None,
            num_local_experts=8,
            num_experts_per_tok=2,
        ),
    ),
    "qwen2.5-7b": (
        "qwen2",
        rotary(28, 3584, 28, 18944, 152064, 4096, num_key_value_heads=4, sliding_window=1024),
    ),
    "qwen3-8b": ("qwen3", rotary(36, 4096, 32, 12288, 151936, 4096, num_key_value_heads=8, head_dim=128)),
    "qwen3-30b-a3b": (
        "qwen3_moe",
        rotary(
            48,
            2048,
            32,
            6144,
            151936,
            4096,
            num_key_value_heads=4,
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            moe_intermediate_size=768,
            decoder_sparse_step=1,
            mlp_only_layers=[],
        ),
    ),
    "gemma-7b": ("gemma", rotary(28, 3072, 16, 24576, 256000, 8192, num_key_value_heads=16, head_dim=256)),
    "gemma-2-9b": (
        "gemma2",
        rotary(42, 3584, 16, 14336, 256000, 8192, num_key_value_heads=8, head_dim=256, sliding_window=4096),
    ),
    "gemma-3-1b": (
        "gemma3_text",
        rotary(26, 1152, 4, 6912, 262144, 32768, num_key_value_heads=1, head_dim=256, sliding_window=512),
    ),
    "nemotron-4-15b": ("nemotron", rotary(32, 6144, 48, 24576, 256000, 4096, num_key_value_heads=8)),
    "gpt-oss-20b": (
        "gpt_oss",
        rotary(
            24,
            2880,
            64,
            2880,
            201088,
            4096,
            num_key_value_heads=8,
            head_dim=64,
            sliding_window=128,
            num_local_experts=32,
            num_experts_per_tok=4,
        ),
    ),
    "deepseek-v2-lite": (
        "deepseek_v2",
        rotary(27, 2048, 16, 10944, 102400, 4096)
        | DEEPSEEK
        | {
            "q_lora_rank": None,
            "n_routed_experts": 64,
            "num_experts_per_tok": 6,
            "moe_intermediate_size": 1408,
            "n_shared_experts": 2,
            "first_k_dense_replace": 1,
        },
    ),
    "deepseek-v3": (
        "deepseek_v3",
        rotary(61, 7168, 128, 18432, 129280, 4096)
        | DEEPSEEK
        | {
            "q_lora_rank": 1536,
            "n_routed_experts": 256,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
            "n_shared_experts": 1,
            "first_k_dense_replace": 3,
            "num_nextn_predict_layers": 1,
        },
    ),
    "dbrx": (
        "dbrx",
        {
            "d_model": 6144,
            "n_heads": 48,
            "n_layers": 40,
            "max_seq_len": 32768,
            "vocab_size": 100352,
            "attn_config": {"kv_n_heads": 8},
            "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
        },
    ),
    "gpt2": (
        "gpt2",
        {
            "n_layer": 12,
            "n_embd": 768,
            "n_head": 12,
            "n_positions": 1024,
            "vocab_size": 50257,
            "n_inner": None,
        },
    ),
    "gpt-neox-20b": ("gpt_neox", rotary(44, 6144, 64, 24576, 50432, 2048)),
    "opt-125m": (
        "opt",
        {
            "num_hidden_layers": 12,
            "hidden_size": 768,
            "num_attention_heads": 12,
            "ffn_dim": 3072,
            "vocab_size": 50272,
            "max_position_embeddings": 2048,
            "word_embed_proj_dim": 768,
        },
    ),
    "bloom-560m": ("bloom", {"n_layer": 24, "hidden_size": 1024, "n_head": 16, "vocab_size": 250880}),
    "falcon-7b": (
        "falcon",
        {
            "num_hidden_layers": 32,
            "hidden_size": 4544,
            "num_attention_heads": 71,
            "vocab_size": 65024,
            "multi_query": True,
            "parallel_attn": True,
            "new_decoder_architecture": False,
        },
    ),
    "falcon-40b": (
        "falcon",
        {
            "num_hidden_layers": 60,
            "hidden_size": 8192,
            "num_attention_heads": 128,
            "num_kv_heads": 8,
            "vocab_size": 65024,
            "new_decoder_architecture": True,
        },
    ),
    "mpt-7b": (
        "mpt",
        {
            "d_model": 4096,
            "n_heads": 32,
            "n_layers": 32,
            "vocab_size": 50368,
            "max_seq_len": 2048,
            "expansion_ratio": 4,
            "no_bias": False,
            "attn_config": {"alibi": False},
        },
    ),
    "mpt-7b-alibi": (
        "mpt",
        {
            "d_model": 4096,
            "n_heads": 32,
            "n_layers": 32,
            "vocab_size": 50432,
            "max_seq_len": 2048,
            "no_bias": True,
            "attn_config": {"alibi": True},
        },
    ),
    "phi-2": ("phi", rotary(32, 2560, 32, 10240, 51200, 2048)),
    "bert-base": ("bert", rotary(12, 768, 12, 3072, 30522, 512, type_vocab_size=2)),
    "t5-small": (
        "t5",
        {"num_layers": 6, "d_model": 512, "num_heads": 8, "d_kv": 64, "d_ff": 2048, "vocab_size": 32128},
    ),
    "vit-b-16": (
        "vit",
        {
            "num_hidden_layers": 12,
            "hidden_size": 768,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "image_size": 224,
            "patch_size": 16,
            "id2label": {str(label): "" for label in range(1000)},
        },
    ),
    "whisper-tiny": (
        "whisper",
        {
            "d_model": 384,
            "encoder_layers": 4,
            "decoder_layers": 4,
            "encoder_attention_heads": 6,
            "decoder_attention_heads": 6,
            "encoder_ffn_dim": 1536,
            "num_mel_bins": 80,
            "max_source_positions": 1500,
            "max_target_positions": 448,
            "vocab_size": 51865,
        },
    ),
}
LENGTHS = {"sequence", "encoder_sequence"}


def read(folder: Path, config: object) -> Transformer:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config), "utf-8")
    return hugging_face.read(path)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_is_the_transformer_of_the_catalog(tmp_path: Path, name: str) -> None:
    kind, config = CONFIGS[name]
    known = described(name)
    found = read(tmp_path, {"model_type": kind} | config)
    different = {
        field
        for field in Transformer.model_fields
        if getattr(found, field) != getattr(known, field) and field not in {"name", "biases"}
    }
    assert different <= (LENGTHS if kind == "t5" else set())
    assert set(found.biases) == set(known.biases)
    assert found.parameters == known.parameters


def test_every_type_but_two_that_are_like_another_is_among_those_configurations() -> None:
    assert set(READERS) - {kind for kind, _ in CONFIGS.values()} == {"roberta", "phi3"}


def test_roberta_has_two_rows_of_positions_that_it_does_not_use(tmp_path: Path) -> None:
    """124,645,632 weights with its pooler, and 512 tokens."""
    found = read(
        tmp_path, rotary(12, 768, 12, 3072, 50265, 514, type_vocab_size=1) | {"model_type": "roberta"}
    )
    assert (found.parameters, found.sequence) == (124_645_632, 512)


def test_phi_3_mini_is_a_llama_of_its_own_sizes(tmp_path: Path) -> None:
    """3,821,079,552 weights; its window is as long as its sequence, so there is none."""
    config = rotary(32, 3072, 32, 8192, 32064, 4096, num_key_value_heads=32, sliding_window=4096)
    found = read(tmp_path, config | {"model_type": "phi3"})
    assert (found.parameters, found.window) == (3_821_079_552, 0)


def test_a_configuration_is_named_as_its_folder_or_as_it_says(tmp_path: Path) -> None:
    _, config = CONFIGS["llama-2-7b"]
    folder = tmp_path / "mine"
    folder.mkdir()
    assert read(folder, {"model_type": "llama"} | config).name == "mine"
    named = {"model_type": "llama", "_name_or_path": "meta/own"} | config
    assert read(folder, named).name == "meta/own"
    assert transformer("mine/config.json", tmp_path).name == "meta/own"


LLAMA = {"model_type": "llama"} | CONFIGS["llama-2-7b"][1]


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        ({}, ["model_type: is missing; this reads bert, bloom, "]),
        (
            {"model_type": "lama"},
            ['model_type: "lama" is not a type that this reads; did you mean "llama"?; it reads bert, '],
        ),
        ({"model_type": 3}, ["model_type: 3 is not a type that this reads"]),
        (
            {name: value for name, value in LLAMA.items() if name not in {"hidden_size", "vocab_size"}},
            ["hidden_size: is missing", "vocab_size: is missing"],
        ),
        (
            LLAMA | {"num_hidden_layers": "32", "intermediate_size": 0},
            [
                'num_hidden_layers: "32" is not a whole number of at least 1',
                "intermediate_size: 0 is not a whole number of at least 1",
            ],
        ),
        (
            {"model_type": "deepseek_v3"} | CONFIGS["deepseek-v3"][1] | {"first_k_dense_replace": -1},
            ["first_k_dense_replace: -1 is not a whole number"],
        ),
        (LLAMA | {"num_attention_heads": True}, ["num_attention_heads: true is not a whole number"]),
        (LLAMA | {"num_key_value_heads": 5}, ["32 heads cannot share 5 key-value heads evenly"]),
        (
            {"model_type": "dbrx"} | CONFIGS["dbrx"][1] | {"ffn_config": {"moe_top_k": 4}},
            ["ffn_config.ffn_hidden_size: is missing", "ffn_config.moe_num_experts: is missing"],
        ),
        (
            {"model_type": "opt"} | CONFIGS["opt-125m"][1] | {"word_embed_proj_dim": 512},
            ["word_embed_proj_dim: a table of another width is not read"],
        ),
        (
            {"model_type": "qwen3_moe"} | CONFIGS["qwen3-30b-a3b"][1] | {"mlp_only_layers": [3]},
            ["mlp_only_layers: layers without experts by number are not read"],
        ),
        (
            {"model_type": "whisper"} | CONFIGS["whisper-tiny"][1] | {"decoder_attention_heads": 8},
            ["decoder_attention_heads: is not as many as the encoder has"],
        ),
        ('{\n"model_type": "llama",\n"layers" 3}', ["config.json:3: not JSON: expecting ':' delimiter"]),
        ("[1, 2]", ["config.json:1: a configuration is an object, not a list"]),
        ("", ["config.json:1: not JSON: expecting value"]),
    ],
)
def test_a_configuration_that_cannot_be_read_says_why(
    tmp_path: Path, config: object, lines: list[str]
) -> None:
    with pytest.raises(PlanError) as refused:
        read(tmp_path, config)
    told = str(refused.value).splitlines()
    assert len(told) == len(lines)
    for line, part in zip(told, lines, strict=True):
        assert line.startswith(str(tmp_path / "config.json"))
        assert part in line


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="there is no such file"):
        transformer("config.json", tmp_path)
    with pytest.raises(PlanError, match="cannot be read: is a directory"):
        hugging_face.read(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match="not JSON"):
        transformer("config.json", tmp_path)
    (tmp_path / "config.json").write_bytes(b" " * 10_000_001)
    with pytest.raises(PlanError, match="name the configuration, not the weights"):
        transformer("config.json", tmp_path)
