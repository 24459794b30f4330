"""The ``config.json`` of a model of Hugging Face as a description of a transformer.

What a file leaves out is as the library's own configuration of that type has it. ``sequence`` is the longest
that the model is made for, which is not always the length that it was trained at.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sim.errors import Fault, PlanError, ScenarioError, hint, listed, shown
from sim.perf.transformer import LAYER_BIASES, Transformer

Fields = dict[str, Any]
FOLLOWS: Final = "default_factory_not_called"
"""What pydantic adds for fields that would follow from a faulty one."""
_LARGEST_BYTES: Final = 10_000_000
_QKV: Final = ("query", "key", "value")
_CALLED: Final = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers"),
    "hidden": ("hidden_size", "n_embd", "n_embed", "d_model"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
}
"""What the library calls the same thing in its older and newer types."""


@dataclass(slots=True)
class _Config:
    """The values of a file, and what was found wrong with those that were asked for."""

    values: Mapping[str, Any]
    path: str = ""
    faults: list[Fault] = field(default_factory=list)

    def size(self, *names: str) -> int:
        """A whole number of at least 1, by whichever of these names it has."""
        found = self.maybe(*names)
        if found is None:
            self.faults.append(Fault(None, self.path + names[0], "is missing"))
        return found or 1

    def maybe(self, *names: str) -> int | None:
        """A whole number of at least 1, None where the file has none."""
        name = next((name for name in names if self.values.get(name) is not None), None)
        if name is None:
            return None
        value = self.values[name]
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self.faults.append(
            Fault(None, self.path + name, f"{shown(value)} is not a whole number of at least 1")
        )
        return 1

    def count(self, name: str) -> int:
        """A whole number, 0 where the file has none."""
        return 0 if self.values.get(name) == 0 else self.maybe(name) or 0

    def says(self, name: str, *, otherwise: bool) -> bool:
        """Whether something is so."""
        value = self.values.get(name)
        return otherwise if value is None else bool(value)

    def inside(self, name: str) -> "_Config":
        """A group of values in the file, empty where there is none."""
        inner = self.values.get(name)
        return _Config(inner if isinstance(inner, dict) else {}, f"{self.path}{name}.", self.faults)

    def basics(self) -> Fields:
        """What every type has, under one name or another."""
        found: Fields = {name: self.size(*called) for name, called in _CALLED.items()}
        return found | {"vocab": self.size("vocab_size")}


def read(path: Path) -> Transformer:
    """The transformer that a ``config.json`` describes; PlanError with all that is wrong with it."""
    values = _values(path)
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in READERS:
        told = f"is missing; this reads {listed(sorted(READERS))}" if kind is None else _unknown(kind)
        raise ScenarioError(str(path), [Fault(None, "model_type", told)])
    config = _Config(values)
    fields = READERS[kind](config)
    if config.faults:
        raise ScenarioError(str(path), config.faults)
    name = values.get("_name_or_path") or path.parent.name or path.stem
    try:
        return Transformer.model_validate({"name": str(name)[-100:], **fields})
    except ValidationError as error:
        raise ScenarioError(str(path), list(_faults(error))) from None


def _faults(error: ValidationError) -> Iterator[Fault]:
    """What does not go together, in the words of the description that was made of the file."""
    for one in error.errors():
        if one["type"] != FOLLOWS:
            told = one.get("ctx", {}).get("error", one["msg"])
            yield Fault(None, ".".join(map(str, one["loc"])), str(told))


def _unknown(kind: object) -> str:
    known = listed(sorted(READERS))
    return f"{shown(kind)} is not a type that this reads; {hint(str(kind), READERS)}; it reads {known}"


def _values(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise PlanError(f"{path}: there is no such file") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(content) > _LARGEST_BYTES:
        raise PlanError(f"{path}: is too large for a config.json; name the configuration, not the weights")
    try:
        values = json.loads(content)
    except json.JSONDecodeError as error:
        raise ScenarioError(str(path), [Fault(error.lineno, "", f"not JSON: {error.msg.lower()}")]) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ScenarioError(str(path), [Fault(None, "", f"not JSON: {error}")]) from None
    if not isinstance(values, dict):
        raise ScenarioError(str(path), [Fault(1, "", f"a configuration is an object, not {shown(values)}")])
    return values


def _biases(config: _Config, *, attention: bool = False, ffn: bool = False) -> tuple[str, ...]:
    """Biases of attention and feed-forward, where the file or its type says so."""
    wide = (*_QKV, "projection") if config.says("attention_bias", otherwise=attention) else ()
    return (*wide, *(("ffn",) if config.says("mlp_bias", otherwise=ffn) else ()))


def _window(config: _Config, *, used: bool = True) -> int:
    """Tokens that attention looks back; 0 where that is no less than the sequence."""
    window = config.maybe("sliding_window") if used else None
    return 0 if window is None or window >= config.size("max_position_embeddings") else window


def _llama(config: _Config, *, tied: bool = False) -> Fields:
    """Llama and what came after it: gated, RMS norms, rotary positions, key-value heads."""
    basics = config.basics()
    return basics | {
        "kv_heads": config.maybe("num_key_value_heads") or basics["heads"],
        "head_dim": config.maybe("head_dim") or max(1, basics["hidden"] // basics["heads"]),
        "ffn": config.size("intermediate_size"),
        "tied": config.says("tie_word_embeddings", otherwise=tied),
        "biases": _biases(config),
        "sequence": config.size("max_position_embeddings"),
    }


def _mistral(config: _Config) -> Fields:
    return _llama(config) | {"window": _window(config)}


def _mixtral(config: _Config) -> Fields:
    return _mistral(config) | {
        "experts": config.size("num_local_experts"),
        "experts_per_token": config.size("num_experts_per_tok"),
    }


def _gpt_oss(config: _Config) -> Fields:
    found = _mixtral(config)
    return found | {
        "full_attention_every": 2 if found["window"] else 0,
        "sinks": True,
        "biases": (*LAYER_BIASES, "router"),
    }


def _qwen2(config: _Config) -> Fields:
    window = _window(config, used=config.says("use_sliding_window", otherwise=False))
    return _llama(config) | {"biases": _QKV, "window": window}


def _qwen3(config: _Config) -> Fields:
    window = _window(config, used=config.says("use_sliding_window", otherwise=False))
    return _llama(config) | {"qk_norm": True, "window": window}


def _qwen3_moe(config: _Config) -> Fields:
    if config.values.get("mlp_only_layers"):
        config.faults.append(Fault(None, "mlp_only_layers", "layers without experts by number are not read"))
    return _qwen3(config) | {
        "experts": config.size("num_experts", "num_local_experts"),
        "experts_per_token": config.size("num_experts_per_tok"),
        "expert_ffn": config.size("moe_intermediate_size"),
        "moe_every": config.maybe("decoder_sparse_step") or 1,
    }


def _gemma(config: _Config) -> Fields:
    return _llama(config, tied=True)


def _gemma2(config: _Config) -> Fields:
    window = _window(config)
    every = config.maybe("sliding_window_pattern") or 2
    return _gemma(config) | {
        "norms_per_layer": 4,
        "window": window,
        "full_attention_every": every if window else 0,
    }


def _gemma3(config: _Config) -> Fields:
    every = config.maybe("sliding_window_pattern") or 6
    found = _gemma2(config) | {"qk_norm": True}
    return found | ({"full_attention_every": every} if found["window"] else {})


def _phi3(config: _Config) -> Fields:
    return _mistral(config)


def _nemotron(config: _Config) -> Fields:
    return _llama(config) | {"gated": False, "norm": "layer"}


def _deepseek(config: _Config) -> Fields:
    basics = config.basics()
    shared = config.maybe("n_shared_experts") or 0
    width = config.size("moe_intermediate_size")
    return basics | {
        "ffn": config.size("intermediate_size"),
        "tied": config.says("tie_word_embeddings", otherwise=False),
        "experts": config.size("n_routed_experts"),
        "experts_per_token": config.size("num_experts_per_tok"),
        "expert_ffn": width,
        "shared_ffn": shared * width,
        "dense_layers": config.count("first_k_dense_replace"),
        "moe_every": config.maybe("moe_layer_freq") or 1,
        "latent": {
            "q_rank": config.maybe("q_lora_rank") or 0,
            "kv_rank": config.size("kv_lora_rank"),
            "nope": config.size("qk_nope_head_dim"),
            "rope": config.size("qk_rope_head_dim"),
            "value": config.size("v_head_dim"),
        },
        "sequence": config.size("max_position_embeddings"),
    }


def _deepseek_v3(config: _Config) -> Fields:
    """As V2, with a bias at the router and layers that predict further tokens."""
    return _deepseek(config) | {
        "biases": ("router",),
        "prediction_layers": config.count("num_nextn_predict_layers"),
    }


def _dbrx(config: _Config) -> Fields:
    attention, experts = config.inside("attn_config"), config.inside("ffn_config")
    return config.basics() | {
        "kv_heads": attention.size("kv_n_heads"),
        "ffn": experts.size("ffn_hidden_size"),
        "experts": experts.size("moe_num_experts"),
        "experts_per_token": experts.size("moe_top_k"),
        "norm": "layer_without_bias",
        "sequence": config.size("max_seq_len"),
    }


def _gpt2(config: _Config) -> Fields:
    positions = config.size("n_positions", "n_ctx")
    return _plain(config, config.maybe("n_inner")) | {"learned_positions": positions, "sequence": positions}


def _plain(config: _Config, ffn: int | None, *, tied: bool = True) -> Fields:
    """GPT-2 and what is like it: two matrices in the feed-forward, layer norms, biases everywhere."""
    basics = config.basics()
    return basics | {
        "gated": False,
        "ffn": ffn or 4 * basics["hidden"],
        "norm": "layer",
        "biases": LAYER_BIASES,
        "tied": config.says("tie_word_embeddings", otherwise=tied),
    }


def _gpt_neox(config: _Config) -> Fields:
    biases = LAYER_BIASES if config.says("attention_bias", otherwise=True) else ("ffn",)
    return _plain(config, config.size("intermediate_size"), tied=False) | {
        "biases": biases,
        "sequence": config.size("max_position_embeddings"),
    }


def _opt(config: _Config) -> Fields:
    found = _plain(config, config.size("ffn_dim"))
    positions = config.size("max_position_embeddings")
    if config.maybe("word_embed_proj_dim") not in (None, found["hidden"]):
        config.faults.append(Fault(None, "word_embed_proj_dim", "a table of another width is not read"))
    return found | {
        "learned_positions": positions + 2,
        "sequence": positions,
        "final_norm": config.says("do_layer_norm_before", otherwise=True),
    }


def _bloom(config: _Config) -> Fields:
    return _plain(config, None) | {"embedding_norm": True, "sequence": config.maybe("seq_length") or 2048}


def _falcon(config: _Config) -> Fields:
    found = _plain(config, config.maybe("ffn_hidden_size"))
    newer = config.says("new_decoder_architecture", otherwise=False)
    single = config.says("multi_query", otherwise=True)
    apart = newer or not config.says("parallel_attn", otherwise=True)
    return found | {
        "kv_heads": (config.maybe("num_kv_heads") or found["heads"])
        if newer
        else 1
        if single
        else found["heads"],
        "norms_per_layer": 2 if apart else 1,
        "biases": LAYER_BIASES if config.says("bias", otherwise=False) else (),
        "sequence": config.maybe("max_position_embeddings") or 2048,
    }


def _mpt(config: _Config) -> Fields:
    attention = config.inside("attn_config")
    bare = config.says("no_bias", otherwise=True)
    learned = not attention.says("alibi", otherwise=True) and config.says("learned_pos_emb", otherwise=True)
    length = config.size("max_seq_len")
    basics = config.basics()
    return basics | {
        "kv_heads": attention.maybe("kv_n_heads") or basics["heads"],
        "gated": False,
        "ffn": (config.maybe("expansion_ratio") or 4) * basics["hidden"],
        "norm": "layer_without_bias" if bare else "layer",
        "biases": () if bare else LAYER_BIASES,
        "tied": config.says("tie_word_embeddings", otherwise=True),
        "learned_positions": length if learned else 0,
        "sequence": length,
    }


def _phi(config: _Config) -> Fields:
    return _plain(config, config.size("intermediate_size"), tied=False) | {
        "kv_heads": config.maybe("num_key_value_heads") or config.size(*_CALLED["heads"]),
        "norms_per_layer": 1,
        "biases": (*LAYER_BIASES, "head"),
        "sequence": config.size("max_position_embeddings"),
    }


def _bert(config: _Config, *, kept: int = 0) -> Fields:
    """BERT with its pooler; RoBERTa has as many rows of positions that it does not use as are ``kept``."""
    positions = config.size("max_position_embeddings")
    return _plain(config, config.size("intermediate_size")) | {
        "family": "encoder",
        "learned_positions": positions,
        "token_types": config.size("type_vocab_size"),
        "embedding_norm": True,
        "final_norm": False,
        "pooler": True,
        "sequence": positions - kept,
    }


def _roberta(config: _Config) -> Fields:
    return _bert(config, kept=2)


def _t5(config: _Config) -> Fields:
    layers = config.size("num_layers")
    return {
        "family": "encoder_decoder",
        "encoder_layers": layers,
        "layers": config.maybe("num_decoder_layers") or layers,
        "hidden": config.size("d_model"),
        "heads": config.size("num_heads"),
        "head_dim": config.size("d_kv"),
        "ffn": config.size("d_ff"),
        "gated": str(config.values.get("feed_forward_proj", "relu")).startswith("gated"),
        "vocab": config.size("vocab_size"),
        "tied": config.says("tie_word_embeddings", otherwise=True),
        "relative_buckets": config.maybe("relative_attention_num_buckets") or 32,
        "sequence": config.maybe("n_positions") or 512,
    }


def _vit(config: _Config) -> Fields:
    image, patch = config.size("image_size"), config.size("patch_size")
    biased = config.says("qkv_bias", otherwise=True)
    labels = config.values.get("id2label")
    return {
        "family": "vision",
        "layers": config.size("num_hidden_layers"),
        "hidden": config.size("hidden_size"),
        "heads": config.size("num_attention_heads"),
        "gated": False,
        "ffn": config.size("intermediate_size"),
        "norm": "layer",
        "biases": LAYER_BIASES if biased else ("projection", "ffn"),
        "learned_positions": (image // patch) ** 2 + 1,
        "classes": len(labels) if isinstance(labels, dict) else 0,
        "front_end": {
            "kind": "patches",
            "image": image,
            "patch": patch,
            "channels": config.maybe("num_channels") or 3,
        },
    }


def _whisper(config: _Config) -> Fields:
    hidden, heads = config.size("d_model"), config.size("encoder_attention_heads")
    if config.maybe("decoder_attention_heads") not in (None, heads):
        config.faults.append(Fault(None, "decoder_attention_heads", "is not as many as the encoder has"))
    steps = 2 * config.size("max_source_positions")
    positions = config.size("max_target_positions")
    return {
        "family": "speech",
        "layers": config.size("decoder_layers"),
        "encoder_layers": config.size("encoder_layers"),
        "hidden": hidden,
        "heads": heads,
        "gated": False,
        "ffn": config.size("encoder_ffn_dim"),
        "norm": "layer",
        "biases": ("query", "value", "projection", "ffn"),
        "vocab": config.size("vocab_size"),
        "tied": True,
        "learned_positions": positions,
        "sequence": positions,
        "front_end": {
            "kind": "convolutions",
            "channels": config.size("num_mel_bins"),
            "steps": steps,
            "window": steps / 100,
            "layers": (
                {"channels": hidden, "kernel": 3, "padding": 1},
                {"channels": hidden, "kernel": 3, "padding": 1, "stride": 2},
            ),
        },
    }


READERS: Final[Mapping[str, Callable[[_Config], Fields]]] = {
    "bert": _bert,
    "bloom": _bloom,
    "dbrx": _dbrx,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek_v3,
    "falcon": _falcon,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "gpt_oss": _gpt_oss,
    "llama": _llama,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "mpt": _mpt,
    "nemotron": _nemotron,
    "opt": _opt,
    "phi": _phi,
    "phi3": _phi3,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "roberta": _roberta,
    "t5": _t5,
    "vit": _vit,
    "whisper": _whisper,
}
"""What reads each ``model_type``."""
