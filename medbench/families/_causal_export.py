"""A tuned language model leaves medbench: an adapter, a merged folder, a GGUF or ONNX file; and what was left is tried.

`tried` reads an exported folder with the program it was written for and compares what is written, token by token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import MedbenchError
from medbench.families import _adapters as adapters
from medbench.families._causal_bases import obtain
from medbench.families._causal_network import load_lm, merged_tensors
from medbench.families._causal_onnx import greedy_onnx, read_onnx, write_onnx
from medbench.families._causal_prompts import tokenizer_json
from medbench.families._causal_trie import Ids
from medbench.families._gguf import Precision, write_gguf
from medbench.records import Device

if TYPE_CHECKING:
    from medbench.families.causal import CausalModel

FORMATS = ("adapter", "merged", "gguf", "gguf-q8_0", "gguf-f32", "onnx")
GGUF_FILE, ONNX_FILE, USE = "model.gguf", "model.onnx", "use.json"
_BESIDE = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def export(model: CausalModel, format: str, out: Path) -> None:
    """Write a tuned model into an existing folder, with `use.json`: how prompts are written for it.

    Args:
        model: A tuned model.
        format: "adapter" (peft's folder; needs the base), "merged" (a transformers folder, float16), "gguf" (float16,
            for llama.cpp and LM Studio), "gguf-q8_0" (8 bits a weight), "gguf-f32" or "onnx" (float32).
        out: The folder.

    Raises:
        MedbenchError: When the format does not exist, the weights are packed, or GGUF or ONNX cannot hold the base.
    """
    if format not in FORMATS:
        raise MedbenchError(f"--to {', '.join(FORMATS)} for a language model", repr(format), "Choose one of these.")
    base = obtain(model.card["base"])
    if format == "adapter":
        _write_adapter(model, out)
    elif getattr(model.lm, "is_quantized", False):
        raise MedbenchError(
            "a model with its adapter merged", "packed weights", "Load it on a CPU, or export the adapter."
        )
    elif format == "merged":
        _write_merged(model, base, out)
    elif format == "onnx":
        write_onnx(model.lm, out / ONNX_FILE)
        (out / "tokenizer.json").write_text(tokenizer_json(base), encoding="utf-8")
    else:
        _write_gguf(model, base, out / GGUF_FILE, "f16" if format == "gguf" else format.removeprefix("gguf-"))
    wording = model.prompts.wording
    use = {"format": format, "base": model.card["base"], "base_sha256": model.card["base_sha256"]}
    use |= {"before": wording.before, "after": wording.after, "labels": list(model.labels), "words": wording.words}
    (out / USE).write_text(json.dumps(use, ensure_ascii=False, indent=1), encoding="utf-8")


def _write_adapter(model: CausalModel, out: Path) -> None:
    if model.adapter is None:
        raise MedbenchError("a tuned model", "the base as it is", "Train it first.")
    adapters.save_adapter(model.adapter, out)


def _write_merged(model: CausalModel, base: Path, out: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {name: part.to(torch.float16).clone() for name, part in merged_tensors(model.lm).items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config |= {"dtype": "float16"}
    config.pop("torch_dtype", None)
    (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (out / "tokenizer.json").write_text(tokenizer_json(base), encoding="utf-8")
    for name in _BESIDE[1:]:
        if (base / name).exists():
            (out / name).write_bytes((base / name).read_bytes())


def _write_gguf(model: CausalModel, base: Path, path: Path, precision: Any) -> None:
    settings = base / "tokenizer_config.json"
    told = json.loads(settings.read_text(encoding="utf-8")) if settings.exists() else {}
    template = base / "chat_template.jinja"
    chat = template.read_text(encoding="utf-8") if template.exists() else told.get("chat_template")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    wording = model.prompts.wording
    config |= {"eos_token_id": wording.end_id, "pad_token_id": wording.pad_id}
    kind: Precision = precision
    write_gguf(
        path,
        {name: part.float().numpy() for name, part in merged_tensors(model.lm).items()},
        config,
        json.loads(tokenizer_json(base)),
        name=f"medbench {model.card['base'].rpartition('/')[2]}",
        chat_template=chat if isinstance(chat, str) else None,
        precision=kind,
    )


def tried(model: CausalModel, folder: Path, texts: Sequence[str], most: int = 24) -> dict[str, Any]:
    """Read an exported folder again and compare what it writes with what the model writes, greedily.

    Args:
        model: The model it was exported from.
        folder: What `export` left.
        texts: Texts to write answers for.
        most: Tokens of each answer.

    Returns:
        {"format", "program", "texts": n, "same": n with equal answers, "shared": mean share of an answer before the
        first token that differs, 0-1, "tokens_same": n that the program cuts into the same tokens, "different": the
        first three that differ, [theirs, ours]}.

    Raises:
        MedbenchError: When the folder is no export, is of another base, or the program is not installed.
    """
    use_path = folder / USE
    if not use_path.exists():
        raise MedbenchError(f"a folder that medbench export wrote ({USE})", f"none in {folder}", "Export it again.")
    use = json.loads(use_path.read_text(encoding="utf-8"))
    if use["base_sha256"] != model.card["base_sha256"] or use["labels"] != list(model.labels):
        raise MedbenchError("an export of this model", f"one of another model in {folder}", "Name its own export.")
    asked = model.prompts.prompts(texts)
    ours = [greedy(model.lm, ids, model.prompts.wording.end_id, most) for ids in asked]
    if use["format"].startswith("gguf"):
        program, theirs, alike = _by_llama(model, folder / GGUF_FILE, texts, asked, most)
    elif use["format"] == "onnx":
        file, end = read_onnx(folder / ONNX_FILE), model.prompts.wording.end_id
        program, alike = "OpenVINO", len(texts)
        theirs = [greedy_onnx(file, ids, end, most) for ids in asked]
    else:
        program, theirs, alike = "transformers", _by_transformers(model, folder, use, asked, most), len(texts)
    pairs = list(zip(theirs, ours, strict=True))
    different = [[model.prompts.text_of(one), model.prompts.text_of(other)] for one, other in pairs if one != other]
    same = len(pairs) - len(different)
    told = {"format": use["format"], "program": program, "texts": len(texts), "same": same}
    told["shared"] = sum(shared(*pair) for pair in pairs) / max(len(pairs), 1)
    return {**told, "tokens_same": alike, "different": different[:3]}


def shared(theirs: Ids, ours: Ids) -> float:
    """Return the share of the longer answer before the first token that differs, 0-1; 1 for two empty answers."""
    equal = 0
    while equal < min(len(theirs), len(ours)) and theirs[equal] == ours[equal]:
        equal += 1
    return equal / max(len(theirs), len(ours)) if theirs or ours else 1.0


def greedy(lm: Any, ids: Ids, end_id: int, most: int) -> Ids:
    """Return what a model writes after a prompt, always the likeliest token, up to `most` tokens or the end."""
    import torch
    from transformers import DynamicCache

    cache, given, written = DynamicCache(), ids, list[int]()
    with torch.inference_mode():
        while len(written) < most:
            read = lm(
                input_ids=torch.tensor([given], device=lm.device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            token = int(read.logits[0, -1].argmax())
            if token == end_id:
                break
            written.append(token)
            given = [token]
    return written


def _by_transformers(model: CausalModel, folder: Path, use: dict[str, Any], asked: list[Ids], most: int) -> list[Ids]:
    if use["format"] == "adapter":
        base = adapters.own_base(use, obtain)
        lm = adapters.put_on(load_lm(base, Device()), adapters.read_adapter(folder), "CAUSAL_LM").eval()
    else:
        lm = load_lm(folder, Device())
    return [greedy(lm, ids, model.prompts.wording.end_id, most) for ids in asked]


def _by_llama(
    model: CausalModel, path: Path, texts: Sequence[str], asked: list[Ids], most: int
) -> tuple[str, list[Ids], int]:
    """Return llama.cpp's name, what it writes, and how many prompts it cuts into the same tokens."""
    if not find_spec("llama_cpp"):
        raise MedbenchError(
            "llama.cpp (the package llama-cpp-python) to try a GGUF file",
            "none installed",
            "Install it: pip install llama-cpp-python (it needs a C++ compiler and cmake).",
        )
    from llama_cpp import Llama, __version__

    wording = model.prompts.wording
    longest = max(len(ids) for ids in asked) + most + 8
    llama = Llama(str(path), n_ctx=longest, n_threads=1, n_threads_batch=1, verbose=False, logits_all=False)
    theirs, alike = [], 0
    for text, ids in zip(texts, asked, strict=True):
        whole = f"{wording.before}{model.prompts.read(text)}{wording.after}".encode()
        alike += llama.tokenize(whole, add_bos=False, special=True) == ids
        llama.reset()
        written: Ids = []
        for token in llama.generate(ids, top_k=1, temp=0.0, repeat_penalty=1.0):
            if token == wording.end_id or len(written) == most:
                break
            written.append(int(token))
        theirs.append(written)
    llama.close()
    return f"llama.cpp (llama-cpp-python {__version__})", theirs, alike
