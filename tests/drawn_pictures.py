"""Pictures for tests, drawn on the spot: a blob on skin, different for every seed, and their tables."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def blob(seed: int, size: tuple[int, int] = (96, 72), dark: float = 0.35) -> Image.Image:
    """Return a picture with a dark patch on mottled skin; the same seed draws the same picture at any size."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / width, y / height
    skin = np.array([0.85, 0.65, 0.55])
    mottled = sum(
        rng.uniform(-0.2, 0.2) * np.cos(2 * np.pi * (a * x + b * y) + rng.uniform(0, 6))
        for a in range(4)
        for b in range(4)
    )
    inside = ((x - rng.uniform(0.4, 0.6)) / 0.25) ** 2 + ((y - rng.uniform(0.4, 0.6)) / 0.2) ** 2 < 1
    values = np.clip(skin + 0.3 * mottled[..., None] - dark * inside[..., None], 0, 1)
    return Image.fromarray((values * 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """Return the picture as bytes of a format."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def table(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Return rows as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a zip and return its path."""
    with zipfile.ZipFile(path, "w") as out:
        for name, content in members.items():
            out.writestr(name, content)
    return path


def ham_rows(n: int = 24) -> list[dict[str, object]]:
    """Return HAM10000 metadata: two classes, every third lesion with two pictures, some facts unknown."""
    lesion, rows = 0, []
    for number in range(n):
        lesion += number % 4 != 1
        rows.append(
            {
                "lesion_id": f"HAM_{lesion:04d}",
                "image_id": f"ISIC_{number:04d}",
                "dx": "mel" if lesion % 3 == 0 else "nv",
                "dx_type": "histo" if lesion % 3 == 0 or number % 5 == 0 else "follow_up",
                "age": "" if number == 0 else f"{30 + number % 4 * 5}.0",
                "sex": "unknown" if number == 1 else ("male", "female")[number % 2],
                "localization": ("back", "face", "trunk")[number % 3],
            }
        )
    return rows


def ham_zip(path: Path, n: int = 24) -> Path:
    """Write a small zip in the layout of HAM10000."""
    rows = ham_rows(n)
    members = {f"images/{row['image_id']}.jpg": encoded(blob(at)) for at, row in enumerate(rows)}
    return zipped(path, {**members, "HAM10000_metadata.csv": table(rows)})
