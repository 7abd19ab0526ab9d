"""A model leaves the workspace: as a starter that ships with the source, or in a format that other programs read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from medbench import datasets, predicting
from medbench.errors import MedbenchError
from medbench.workspace import Workspace, checked_id, read_json, write_json

# What points back at training rows stays behind: neighbours by position, judged rows by position.
LEFT_BEHIND = ("neighbours.npz", "judged.npz", "model.json")
LARGEST = 10_000_000
PROGRAM_FORMATS = ("safetensors", "onnx", "openvino-int8")
CALIBRATION_ITEMS = 300


def as_starter(workspace: Workspace, model_id: str, name: str, title: str) -> Path:
    """Copy a model to `models/starter-<name>`: weights, trust, fingerprints of known texts, and its card.

    Args:
        workspace: Where the model lies and the starter goes.
        model_id: The model.
        name: What comes after "starter-".
        title: What users read.

    Returns:
        The starter's folder.

    Raises:
        MedbenchError: When the model is missing or larger than 10 MB without its training rows.
    """
    starter = checked_id(f"starter-{name}")
    source, target = workspace.model(model_id), workspace.models / starter
    if not (source / "model.json").exists():
        raise MedbenchError("the id of a model", repr(model_id), "List them with: medbench models.")
    files = [path for path in source.iterdir() if path.name not in LEFT_BEHIND]
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file() and path.name not in LEFT_BEHIND)
    if size > LARGEST:
        found = f"{size / 1e6:.1f} MB"
        raise MedbenchError("at most 10 MB for a starter", found, "Train an adapter or a head instead of full weights.")
    building = target.with_name(f".{starter}.partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for path in files:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, building / path.name)
    card = read_json(source / "model.json")
    card |= {"id": starter, "name": title, "cost": {**card["cost"], "size": size}}
    write_json(building / "model.json", card)
    shutil.rmtree(target, ignore_errors=True)
    building.rename(target)
    return target


def for_programs(workspace: Workspace, model_id: str, format: str, out: Path) -> Path:
    """Write a model for other programs, with its card, its labels and how pictures are to be prepared.

    Args:
        workspace: Where the model lies.
        model_id: The model.
        format: "safetensors" (the weights as they are kept), "onnx", or "openvino-int8" (activations too; they are
            calibrated on training pictures, so the model's dataset must be here).
        out: The folder to write; it must not exist or be empty.

    Returns:
        The folder.

    Raises:
        MedbenchError: An unknown format, a model that cannot be written in it, or a folder that is in use.
    """
    if format not in PROGRAM_FORMATS:
        raise MedbenchError(f"--to starter, {', '.join(PROGRAM_FORMATS)}", repr(format), "Choose one of these.")
    if out.exists() and any(out.iterdir()):
        raise MedbenchError("a new or empty folder", f"{out}, which holds files", "Name another folder with --out.")
    loaded = predicting.load(workspace, model_id)
    writer: Any = loaded.model
    out.mkdir(parents=True, exist_ok=True)
    if format == "safetensors":
        loaded.model.save(out)
    elif not hasattr(writer, "onnx"):
        raise MedbenchError("a picture model for this format", f"a {loaded.card['family']} model", "Use safetensors.")
    elif format == "onnx":
        (out / "model.onnx").write_bytes(writer.onnx())
    else:
        known = datasets.load(workspace, str(loaded.card["dataset"]["id"])).examples("train")
        writer.openvino_int8(list(known.items[:CALIBRATION_ITEMS]), out)
    card = {key: loaded.card[key] for key in ("id", "name", "labels", "label_names", "intended_use", "licence")}
    write_json(out / "labels.json", {**card, "thresholds": loaded.trust.thresholds.tolist()})
    return out
