"""A model leaves the workspace: as a starter that ships with the source, or in a format that other programs read."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medbench import datasets, heat_check, predicting, shipped_lesions
from medbench.errors import MedbenchError
from medbench.workspace import Workspace, checked_id, read_json, write_json

# What points back at training rows stays behind: neighbours by position, judged rows by position.
LEFT_BEHIND = ("accepted.json", "neighbours.npz", "judged.npz", shipped_lesions.FILE, "model.json")
LARGEST = 10_000_000
PROGRAM_FORMATS = ("safetensors", "onnx", "openvino-int8")
LANGUAGE_FORMATS = ("adapter", "merged", "gguf", "gguf-q8_0", "gguf-f32")
TRIED_TEXTS = 20
CALIBRATION_ITEMS = 300


def as_starter(workspace: Workspace, model_id: str, name: str, title: str) -> Path:
    """Copy a model to `models/starter-<name>`: weights, trust, fingerprints of known texts, and its card.

    A model of pictures also takes along what may be told of its training pictures (`shipped_lesions`: ids, diagnoses,
    128 bytes of each vector) and how its heat maps compare with random ones (`heat_check`), made now if need be, and
    keeps its weights in 8 bits; all three need its dataset.

    Args:
        workspace: Where the model lies and the starter goes.
        model_id: The model.
        name: What comes after "starter-".
        title: What users read.

    Returns:
        The starter's folder.

    Raises:
        MedbenchError: When the model is missing, or larger than 10 MB without its training rows and in 8 bits.
    """
    starter = checked_id(f"starter-{name}")
    source, target = workspace.model(model_id), workspace.models / starter
    if not (source / "model.json").exists():
        raise MedbenchError("the id of a model", repr(model_id), "List them with: medbench models.")
    card = read_json(source / "model.json")
    files = [path for path in source.iterdir() if path.name not in LEFT_BEHIND]
    known = _lesions(workspace, model_id, card)
    building = target.with_name(f".{starter}.partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for path in files:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, building / path.name)
    _keep_small(workspace, model_id, card, building)
    if (size := _size(building.rglob("*"))) > LARGEST:
        shutil.rmtree(building)
        found = f"{size / 1e6:.1f} MB"
        raise MedbenchError("at most 10 MB for a starter", found, "Train an adapter or a head instead of full weights.")
    if known is not None:
        shipped_lesions.save(building, known)
        heat_check.save(building, list(heat_check.ensure(workspace, predicting.load(workspace, model_id)).values()))
    card |= {"id": starter, "name": title, "cost": {**card["cost"], "size": _size(building.rglob("*"))}}
    write_json(building / "model.json", card)
    shutil.rmtree(target, ignore_errors=True)
    building.rename(target)
    return target


def _keep_small(workspace: Workspace, model_id: str, card: dict[str, Any], building: Path) -> None:
    """Keep a picture network's weights in 8 bits where its dataset is here to correct biases on; the card says so."""
    model: Any = predicting.load(workspace, model_id).model if card.get("item") == "image" else None
    if not hasattr(model, "in_int8"):
        return
    try:
        items = datasets.load(workspace, str(card["dataset"]["id"])).examples("validation").items
    except MedbenchError:
        return
    small = model.in_int8(items)
    if small is not model:
        small.save(building)
        card["options"] = {**card["options"], "keep": "int8"}
        card["notes"] = [*card.get("notes", []), "Its weights are kept in 8 bits; its figures are of 32 bits."]


def _size(paths: Iterable[Path]) -> int:
    """Return the size of the files among these, in bytes."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def _lesions(workspace: Workspace, model_id: str, card: Mapping[str, Any]) -> shipped_lesions.ShippedLesions | None:
    """Return what may be told of the pictures a model learnt from; None for models of texts, or without the dataset."""
    if card.get("item") != "image":
        return None
    loaded = predicting.load(workspace, model_id)
    with loaded.lock:
        found = shipped_lesions.of_training(workspace, card, loaded.model)
    return found or shipped_lesions.load(loaded.folder)


def for_programs(workspace: Workspace, model_id: str, format: str, out: Path) -> Path:
    """Write a model for other programs, with its card, its labels and how pictures are to be prepared.

    Args:
        workspace: Where the model lies.
        model_id: The model.
        format: "safetensors" (the weights as they are kept), "onnx", or "openvino-int8" (activations too; they are
            calibrated on training pictures, so the model's dataset must be here); for language models "adapter",
            "merged", "gguf", "gguf-q8_0", "gguf-f32" or "onnx".
        out: The folder to write; it must not exist or be empty.

    Returns:
        The folder.

    Raises:
        MedbenchError: An unknown format, a model that cannot be written in it, or a folder that is in use.
    """
    if format not in (*PROGRAM_FORMATS, *LANGUAGE_FORMATS):
        formats = ", ".join([*PROGRAM_FORMATS, *LANGUAGE_FORMATS])
        raise MedbenchError(f"--to starter, {formats}", repr(format), "Choose one of these.")
    if out.exists() and any(out.iterdir()):
        raise MedbenchError("a new or empty folder", f"{out}, which holds files", "Name another folder with --out.")
    loaded = predicting.load(workspace, model_id)
    writer: Any = loaded.model
    out.mkdir(parents=True, exist_ok=True)
    if format == "safetensors":
        loaded.model.save(out)
    elif format in LANGUAGE_FORMATS or (format == "onnx" and hasattr(writer, "export")):
        if not hasattr(writer, "export"):
            found = f"a {loaded.card['family']} model"
            raise MedbenchError(
                "a language model for this format", found, "Use safetensors, or train the family causal."
            )
        writer.export(format, out)
    elif not hasattr(writer, "onnx"):
        found = f"a {loaded.card['family']} model"
        raise MedbenchError("a picture model or a language model for this format", found, "Use safetensors.")
    elif format == "onnx":
        (out / "model.onnx").write_bytes(writer.onnx())
    else:
        known = datasets.load(workspace, str(loaded.card["dataset"]["id"])).examples("train").items
        # From all over the split: datasets come sorted by diagnosis.
        writer.openvino_int8(list(known[:: max(1, len(known) // CALIBRATION_ITEMS)])[:CALIBRATION_ITEMS], out)
    card = {key: loaded.card[key] for key in ("id", "name", "labels", "label_names", "intended_use", "licence")}
    card["thresholds"] = loaded.trust.thresholds.tolist()
    if hasattr(writer, "reading"):
        card["reading"] = writer.reading()
    write_json(out / "labels.json", card)
    return out


def try_export(workspace: Workspace, model_id: str, folder: Path, texts: list[str]) -> dict[str, Any]:
    """Read an exported language model again, and compare what it writes with what the model writes.

    Args:
        workspace: Where the model lies.
        model_id: The model it was exported from.
        folder: What `for_programs` left.
        texts: Texts to write answers for; empty takes up to 20 of the model's dataset, tests first.

    Returns:
        {"format", "program", "texts", "same", "shared", "tokens_same", "different"}: counts of texts with equal answers
        and of prompts cut into equal tokens, the mean share of an answer before a difference, 0-1, and up to three
        pairs that differ.

    Raises:
        MedbenchError: When it is no export of this model, its program is not installed, or there are no texts.
    """
    loaded = predicting.load(workspace, model_id)
    writer: Any = loaded.model
    if not hasattr(writer, "try_export"):
        raise MedbenchError("a language model", f"a {loaded.card['family']} model", "Name one of the family causal.")
    if not texts:
        known = datasets.load(workspace, str(loaded.card["dataset"]["id"]))
        texts = [item for split in ("test", "validation", "train") for item in known.examples(split).items]
    with loaded.lock:
        found: dict[str, Any] = writer.try_export(folder, texts[:TRIED_TEXTS])
    return found
