"""A tiny lesion model for tests: drawn pictures imported and trained on through the same doors that users take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from drawn_pictures import blob, encoded, table, zipped
from PIL import Image

from medbench import datasets, runs
from medbench.drafting_images import draft_images
from medbench.records import RunSpec
from medbench.tasks import get_task
from medbench.workspace import Workspace

OPTIONS = {
    "base": "test_efficientnet",
    "weights": "random",
    "size": 64,
    "read_size": 64,
    "epochs": 1,
    "batch": 8,
    "keep": "fp32",
    "metadata": True,
}
LABELS = ("mel", "nv", "vasc")


def lesion(label: str, seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Return a drawn lesion: melanomas dark, nevi pale, vascular ones red."""
    picture = blob(seed, size, {"mel": 0.55, "nv": 0.3, "vasc": 0.3}[label])
    if label != "vasc":
        return picture
    pixels = np.asarray(picture).astype(np.int64)
    dark = pixels[..., 0] < 150
    pixels[dark] = np.clip(pixels[dark] + (70, -10, 0), 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def lesion_zip(path: Path, n: int = 36) -> Path:
    """Write a zip in the layout of HAM10000 whose labels can be seen in the pictures."""
    rows = [
        {
            "lesion_id": f"HAM_{number:04d}",
            "image_id": f"ISIC_{number:04d}",
            "dx": LABELS[number % 3],
            "dx_type": ("histo", "follow_up")[number % 2],
            "age": f"{20 + number}.0",
            "sex": ("male", "female")[number % 2],
            "localization": ("back", "face", "trunk")[number % 3],
        }
        for number in range(n)
    ]
    members = {f"images/{row['image_id']}.jpg": encoded(lesion(str(row["dx"]), at)) for at, row in enumerate(rows)}
    return zipped(path, {**members, "HAM10000_metadata.csv": table(rows)})


def import_lesions(place: Workspace, folder: Path, n: int = 36) -> str:
    """Import drawn lesions; return the dataset's id."""
    task, file = get_task("lesion"), lesion_zip(folder / "lesions.zip", n)
    keep = folder / "kept"
    keep.mkdir()
    draft = draft_images(
        [(file, file.name)], task_name=task.name, clean_label=task.clean_label, label_name=task.label_name, keep=keep
    )
    return datasets.save(place, draft, name="lesions", licence="CC0, drawn")


def train_lesions(place: Workspace, folder: Path) -> str:
    """Train a tiny network for an epoch; return the model's id."""
    dataset = import_lesions(place, folder)
    run_id = runs.start(place, RunSpec(task="lesion", family="vision", dataset=dataset, options=OPTIONS))
    *_, last = runs.follow(place, run_id)
    assert last["kind"] == "finished", (last, (place.run(run_id) / "log.txt").read_text()[-3000:])
    return run_id
