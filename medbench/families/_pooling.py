"""How a sentence encoder's authors turn the vectors of tokens into one: read from the model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import MedbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_KIND = "Pooling"


def pooling_of(folder: Path) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
    """Return (n, t, d) last layer, (n, t) mask -> (n, d) as the folder of a sentence-transformers model asks for.

    None means the mean over the tokens, which holds for folders that say so, or nothing. Other kinds (first token,
    last token, weighted means) are computed by sentence-transformers itself. Only its own pooling is ever loaded: what
    else a folder names, code of its own above all, is not looked at.

    Raises:
        MedbenchError: The folder's pooling cannot be read, or joins several vectors into a longer one.
    """
    listed = folder / "modules.json"
    if not listed.exists():
        return None
    try:
        modules = json.loads(listed.read_text(encoding="utf-8"))
        paths = [str(one["path"]) for one in modules if str(one["type"]).rsplit(".", 1)[-1] == _KIND]
        asked = [json.loads((folder / path / "config.json").read_text(encoding="utf-8")) for path in paths]
        modes = [_modes(one) for one in asked]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MedbenchError(
            "a sentence-transformers folder with modules.json and its pooling", str(error), "Copy the model again."
        ) from error
    if not modes or modes == [("mean",)]:
        return None
    if len(modes) > 1 or len(modes[0]) > 1:
        raise MedbenchError(
            "a sentence encoder with one kind of pooling", " + ".join(sum(modes, ())), "Choose another base model."
        )
    return _pooling(modes[0][0], int(asked[0].get("word_embedding_dimension", asked[0].get("embedding_dimension", 0))))


def _modes(config: dict[str, Any]) -> tuple[str, ...]:
    """Return the kinds of pooling of a 1_Pooling/config.json, of before or after sentence-transformers 5."""
    told = config.get("pooling_mode")
    if told is not None:
        return (told,) if isinstance(told, str) else tuple(told)
    before = {
        "cls_token": "cls",
        "max_tokens": "max",
        "mean_tokens": "mean",
        "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        "weightedmean_tokens": "weightedmean",
        "lasttoken": "lasttoken",
    }
    return tuple(mode for name, mode in before.items() if config.get(f"pooling_mode_{name}")) or ("mean",)


def _pooling(mode: str, width: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    from sentence_transformers.sentence_transformer.modules import Pooling

    try:
        module = Pooling(width, pooling_mode=mode)
    except ValueError as error:
        raise MedbenchError(
            "a kind of pooling that sentence-transformers knows", repr(mode), "Choose another base model."
        ) from error

    def pooled(layer: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = module({"token_embeddings": layer, "attention_mask": mask})["sentence_embedding"]
        return found

    return pooled
