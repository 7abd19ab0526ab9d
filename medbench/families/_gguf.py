"""GGUF, the one-file format of llama.cpp: what a language model's folder becomes, and back.

Names of tensors and keys are those of the package `gguf`. Covered are Llama-like (Llama, Mistral, SmolLM) and
Qwen2-like networks with byte-level BPE vocabularies; everything else is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError

Precision = Literal["f32", "f16", "q8_0"]
Tensor = npt.NDArray[Any]
# model_type of config.json -> architecture of llama.cpp. Mistral differs from Llama in its window only.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2"}
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_BLOCK = 32
_SMOLLM_SPLIT = [
    {"type": "Digits", "individual_digits": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
]


def write_gguf(
    path: Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    *,
    name: str,
    chat_template: str | None = None,
    precision: Precision = "f16",
) -> None:
    """Write a causal language model as GGUF.

    Args:
        path: The file; its folder exists.
        tensors: Weights under their transformers names, float32 or float16.
        config: The model's config.json.
        tokenizer: The model's tokenizer.json.
        name: What programs show.
        chat_template: How turns of a conversation are written (Jinja), or None.
        precision: Number format of matrices; norms and biases stay float32.

    Raises:
        MedbenchError: When the architecture, its positions or its vocabulary are not covered.
    """
    import gguf

    architecture = _covered(config)
    writer = gguf.GGUFWriter(str(path), architecture)
    _write_shape(writer, config, name, precision)
    _write_vocabulary(writer, config, tokenizer, chat_template)
    for key, value in _renamed(tensors, config, architecture):
        data, kind = _stored(value, precision)
        writer.add_tensor(key, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _covered(config: Mapping[str, Any]) -> str:
    kind = str(config.get("model_type"))
    if kind not in ARCHITECTURES:
        raise MedbenchError(
            f"a base of the kind {', '.join(ARCHITECTURES)} for GGUF", repr(kind), "Export it as merged or adapter."
        )
    rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rotary.get("rope_type", rotary.get("type", "default")) != "default":
        raise MedbenchError("plain rotary positions for GGUF", repr(rotary), "Export it as merged or adapter.")
    return ARCHITECTURES[kind]


def _head_size(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _write_shape(writer: Any, config: Mapping[str, Any], name: str, precision: Precision) -> None:
    import gguf

    rotary = config.get("rope_parameters") or {}
    size = _head_size(config)
    writer.add_name(name)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(int(config["num_attention_heads"]))
    writer.add_head_count_kv(_kv_heads(config))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_rope_freq_base(float(rotary.get("rope_theta") or config.get("rope_theta") or 10_000.0))
    writer.add_rope_dimension_count(size)
    writer.add_key_length(size)
    writer.add_value_length(size)
    kinds = gguf.LlamaFileType
    writer.add_file_type({"f32": kinds.ALL_F32, "f16": kinds.MOSTLY_F16, "q8_0": kinds.MOSTLY_Q8_0}[precision])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _kv_heads(config: Mapping[str, Any]) -> int:
    return int(config.get("num_key_value_heads") or config["num_attention_heads"])


def _write_vocabulary(
    writer: Any, config: Mapping[str, Any], tokenizer: Mapping[str, Any], chat_template: str | None
) -> None:
    model = tokenizer["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise MedbenchError(
            "a byte-level BPE vocabulary for GGUF", f"{model['type']}", "Export it as merged or adapter."
        )
    added = {entry["id"]: entry for entry in tokenizer.get("added_tokens", [])}
    words = {number: word for word, number in model["vocab"].items()} | {
        number: entry["content"] for number, entry in added.items()
    }
    size = max(int(config["vocab_size"]), max(words) + 1)
    # Networks may have more rows than words; llama.cpp wants a name for each.
    tokens = [words.get(number, f"[PAD{number}]") for number in range(size)]
    kinds = [_token_kind(number, words, added) for number in range(size)]
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(tokenizer))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    for role in ("bos", "eos", "pad"):
        value = config.get(f"{role}_token_id")
        number = value[0] if isinstance(value, list) else value
        if number is not None:
            getattr(writer, f"add_{role}_token_id")(int(number))
    writer.add_add_bos_token(False)  # chat formats write it themselves
    writer.add_add_space_prefix(False)
    if chat_template:
        writer.add_chat_template(chat_template)


def _token_kind(number: int, words: Mapping[int, str], added: Mapping[int, Mapping[str, Any]]) -> int:
    if number in added:
        return _CONTROL if added[number].get("special") else _USER_DEFINED
    return _NORMAL if number in words else _UNUSED


def pre_tokenizer(tokenizer: Mapping[str, Any]) -> str:
    """Return llama.cpp's name for how a tokenizer.json cuts a text before its merges.

    Raises:
        MedbenchError: When llama.cpp has no name for it that we know.
    """
    found = tokenizer.get("pre_tokenizer") or {}
    steps = found.get("pretokenizers", [found])
    kinds = [str(step.get("type")) for step in steps]
    patterns = " ".join(str(step.get("pattern", {}).get("Regex", "")) for step in steps)
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    if kinds == ["ByteLevel"]:
        return "gpt-2"
    if kinds[-1:] == ["ByteLevel"] and r"\p{N}{1,3}" in patterns:
        return "llama-bpe"
    if kinds[-1:] == ["ByteLevel"] and r"\p{N}" in patterns:
        return "qwen2"
    raise MedbenchError("a way of cutting words that llama.cpp knows", repr(kinds), "Export it as merged or adapter.")


def _renamed(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], architecture: str
) -> Iterator[tuple[str, Tensor]]:
    names = _names(config, architecture)
    for key, value in tensors.items():
        if key == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        target = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise MedbenchError("weights that GGUF has a name for", repr(key), "Export it as merged or adapter.")
        yield target, _turned(key, value, config, architecture, back=False)


def _names(config: Mapping[str, Any], architecture: str) -> Any:
    import gguf

    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    return gguf.get_tensor_name_map(kinds[architecture], int(config["num_hidden_layers"]))


def _turned(key: str, value: Tensor, config: Mapping[str, Any], architecture: str, *, back: bool) -> Tensor:
    """Order the rows of query and key as llama.cpp's Llama wants them: rotary pairs side by side, not in halves."""
    heads = {"q_proj": int(config["num_attention_heads"]), "k_proj": _kv_heads(config)}
    found = next((count for part, count in heads.items() if f".{part}." in key), 0)
    if architecture != "llama" or not found:
        return value
    half = value.shape[0] // found // 2
    pairs = (found, half, 2) if back else (found, 2, half)
    return value.reshape(*pairs, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def _stored(value: Tensor, precision: Precision) -> tuple[Tensor, Any]:
    import gguf

    if value.ndim == 1 or precision == "f32":
        return np.ascontiguousarray(value, dtype=np.float32), gguf.GGMLQuantizationType.F32
    if precision == "q8_0" and value.shape[-1] % _BLOCK == 0:
        kind = gguf.GGMLQuantizationType.Q8_0
        return gguf.quants.quantize(np.ascontiguousarray(value, dtype=np.float32), kind), kind
    return np.ascontiguousarray(value, dtype=np.float16), gguf.GGMLQuantizationType.F16


def read_gguf(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any], str]:
    """Read a Llama-like GGUF file.

    Returns:
        Weights under their transformers names (float32), config.json, tokenizer.json, and the chat template.

    Raises:
        MedbenchError: When the file is damaged or not Llama-like.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(str(path))
        facts = {key: field.contents() for key, field in reader.fields.items()}
        tensors = {each.name: gguf.quants.dequantize(each.data, each.tensor_type) for each in reader.tensors}
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise MedbenchError("a whole GGUF file", f"{path} ({error})", "Fetch or install it again.") from error
    if facts.get("general.architecture") != "llama":
        found = repr(facts.get("general.architecture"))
        raise MedbenchError("a Llama-like GGUF file", found, "Give the model's transformers folder instead.")
    config = _config_of(facts, "output.weight" not in tensors)
    return _hugging_names(tensors, config), config, _tokenizer_of(facts), str(facts.get("tokenizer.chat_template", ""))


def _config_of(facts: Mapping[str, Any], tied: bool) -> dict[str, Any]:
    heads = int(facts["llama.attention.head_count"])
    width = int(facts["llama.embedding_length"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": int(facts["llama.feed_forward_length"]),
        "num_hidden_layers": int(facts["llama.block_count"]),
        "num_attention_heads": heads,
        "num_key_value_heads": int(facts.get("llama.attention.head_count_kv", heads)),
        "head_dim": int(facts.get("llama.attention.key_length", width // heads)),
        "max_position_embeddings": int(facts["llama.context_length"]),
        "rms_norm_eps": round(float(facts["llama.attention.layer_norm_rms_epsilon"]), 9),
        "rope_theta": float(facts.get("llama.rope.freq_base", 10_000.0)),
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "bos_token_id": int(facts["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(facts["tokenizer.ggml.eos_token_id"]),
        "pad_token_id": int(facts.get("tokenizer.ggml.padding_token_id", facts["tokenizer.ggml.eos_token_id"])),
    }


def _hugging_names(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    names = _names(config, "llama")
    inside = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    inside += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm"]
    wanted = ["model.embed_tokens.weight", "model.norm.weight"]
    wanted += [f"model.layers.{at}.{part}.weight" for at in range(config["num_hidden_layers"]) for part in inside]
    wanted += [] if config["tie_word_embeddings"] else ["lm_head.weight"]
    found = {key: tensors[names.get_name(key, try_suffixes=(".weight",))] for key in wanted}
    return {key: _turned(key, value, config, "llama", back=True) for key, value in found.items()}


def _tokenizer_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    if facts["tokenizer.ggml.model"] != "gpt2" or facts["tokenizer.ggml.pre"] != "smollm":
        found = f"{facts['tokenizer.ggml.model']}, {facts['tokenizer.ggml.pre']}"
        raise MedbenchError("SmolLM's vocabulary in the GGUF file", found, "Give the model's transformers folder.")
    tokens, kinds = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.token_type"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": number, "content": word, "special": kind == _CONTROL, **flags}
        for number, (word, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _SMOLLM_SPLIT},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {word: number for number, word in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in facts["tokenizer.ggml.merges"]],
        },
    }
    whole: dict[str, Any] = json.loads(json.dumps(definition))
    return whole
