"""Low-rank adapters (LoRA; Hu et al. 2021): put on a base to be trained, taken out, saved, and put on again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import MedbenchError
from medbench.families._bases import weights_sha256
from medbench.workspace import read_json, write_json

if TYPE_CHECKING:
    import torch

    from medbench.families._training_options import AdapterOptions

ADAPTER_FILE, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
Adapter = tuple[dict[str, "torch.Tensor"], dict[str, Any]]
"""Tensors by name, and peft's configuration."""


@dataclass(frozen=True, slots=True)
class Lora:
    """Settings of low-rank adapters: rank, scale (alpha / rank), dropout, target module names.

    `targets` holds module name endings, or "all" (every linear layer), or "attention" (query and value).
    """

    rank: int
    alpha: int
    dropout: float
    targets: str | tuple[str, ...]


def lora_of(options: AdapterOptions) -> Lora:
    """Return the adapter settings that the options ask for."""
    asked = [part.strip() for part in options.lora_targets.split(",") if part.strip()]
    named = {"auto": "all", "all": "all", "attention": "attention"}
    targets = named.get(asked[0], tuple(asked)) if len(asked) == 1 else tuple(asked)
    return Lora(options.lora_rank, options.lora_alpha, options.lora_dropout, targets)


def with_adapters(backbone: Any, lora: Lora, base: str) -> Any:
    """Return the backbone frozen, with trainable low-rank adapters in it.

    Raises:
        MedbenchError: When the targets name no module of this architecture.
    """
    from peft import LoraConfig, get_peft_model

    named = {"all": "all-linear", "attention": attention_targets(backbone)}
    targets: Any = named.get(lora.targets, lora.targets) if isinstance(lora.targets, str) else list(lora.targets)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="FEATURE_EXTRACTION",
    )
    try:
        adapted = get_peft_model(backbone, config)
    except ValueError as error:
        raise MedbenchError(
            "adapter targets that are modules of the base",
            repr(lora.targets),
            'Set lora_targets to "auto", or name linear modules of this architecture.',
        ) from error
    # The folder's path on this machine is nobody's business.
    adapted.peft_config["default"].base_model_name_or_path = base
    return adapted


def attention_targets(backbone: Any) -> list[str]:
    """Return the endings of the query and value projections of this architecture."""
    from torch import nn

    linear = {name.rsplit(".", 1)[-1] for name, module in backbone.named_modules() if isinstance(module, nn.Linear)}
    pairs = (("query", "value"), ("q_lin", "v_lin"), ("q_proj", "v_proj"), ("q", "v"), ("query_proj", "value_proj"))
    found = next((list(pair) for pair in (*pairs, ("Wqkv",), ("in_proj",)) if set(pair) <= linear), None)
    return found if found else sorted(linear)


def taken_out(adapted: Any, task_type: str) -> Adapter:
    """Return the adapter's tensors on the CPU and its configuration, JSON-ready.

    Args:
        adapted: A network with one adapter.
        task_type: What peft calls the task, for programs that read the folder.
    """
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    tensors = {name: part.detach().cpu().contiguous().clone() for name, part in found.items()}
    config = adapted.peft_config["default"].to_dict()
    config["target_modules"] = sorted(config["target_modules"])
    config["task_type"] = task_type
    return tensors, json.loads(json.dumps(config, default=str))


def save_adapter(adapter: Adapter, folder: Path) -> None:
    """Write an adapter as peft names its files."""
    from safetensors.torch import save_file

    tensors, config = adapter
    save_file(tensors, folder / ADAPTER_FILE, metadata={"format": "pt"})
    write_json(folder / ADAPTER_CONFIG, config)


def read_adapter(folder: Path) -> Adapter:
    """Read what `save_adapter` wrote.

    Raises:
        MedbenchError: When a file is missing or torn.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for name in (ADAPTER_CONFIG, ADAPTER_FILE):
        if not (folder / name).exists():
            raise _damaged(folder, name, "no such file")
    config = read_json(folder / ADAPTER_CONFIG)
    if missing := {"r", "lora_alpha", "target_modules"} - set(config):
        raise _damaged(folder, ADAPTER_CONFIG, f"one without {', '.join(sorted(missing))}")
    try:
        return load_file(folder / ADAPTER_FILE), config
    except SafetensorError as error:
        raise _damaged(folder, ADAPTER_FILE, f"a damaged file ({error})") from error


def _damaged(folder: Path, name: str, found: str) -> MedbenchError:
    return MedbenchError(f"{name} of a saved adapter", found, f"Restore the folder {folder} or train again.")


def put_on(backbone: Any, adapter: Adapter, task_type: str) -> Any:
    """Return the backbone with a saved adapter beside its weights.

    Raises:
        MedbenchError: When the adapter is for another architecture or size, or a part of it is missing.
    """
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    tensors, config = adapter
    settings = LoraConfig(
        r=config["r"], lora_alpha=config["lora_alpha"], target_modules=config["target_modules"], task_type=task_type
    )
    try:
        adapted = get_peft_model(backbone, settings)
        read: Any = set_peft_model_state_dict(adapted, tensors)
    except (RuntimeError, ValueError) as error:  # no such modules, or weights of other shapes
        raise _foreign("one whose weights do not fit it") from error
    # peft says nothing of what it did not find: the base would answer alone.
    if lacking := [key for key in read.missing_keys if "lora_" in key]:
        raise _foreign(f"one that lacks {len(lacking)} of its weights")
    if read.unexpected_keys:
        raise _foreign(f"one with {len(read.unexpected_keys)} weights that have no place in it")
    return adapted


def _foreign(found: str) -> MedbenchError:
    return MedbenchError(
        "a whole adapter for this base model", found, "Restore the model's folder, or use the base it was trained on."
    )


def own_base(card: dict[str, Any], obtain: Callable[[str], Path]) -> Path:
    """Return the folder of the base that a saved model names, with the weights it was trained on.

    Args:
        card: Names the base and, under "base_sha256", the digest of its weights.
        obtain: Finds a base by name, or raises MedbenchError.

    Raises:
        MedbenchError: When it cannot be had, or has other weights.
    """
    base = obtain(card["base"])
    if weights_sha256(base) != card["base_sha256"]:
        raise MedbenchError(
            f"the base {card['base']!r} with the weights this adapter was trained on",
            f"other weights in {base}",
            "Put the original base back, or train the model again on this one.",
        )
    return base
