"""Pictures become numbers: read, squared, kept between epochs, changed at random, with the patient's facts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medbench.pictures import look_at
from medbench.records import part_image

if TYPE_CHECKING:
    import torch

    from medbench.families._vision_options import VisionOptions

Pixels = npt.NDArray[np.uint8]
SITES = (
    "abdomen",
    "acral",
    "back",
    "chest",
    "ear",
    "face",
    "foot",
    "genital",
    "hand",
    "lower extremity",
    "neck",
    "scalp",
    "trunk",
    "upper extremity",
)
"""Sites of HAM10000 and ISIC that the facts know; others count as unknown."""
N_FACTS = 5 + len(SITES) + 1
_IN_MEMORY = 64 * 2**20
_READERS = 2


def read_square(item: str, size: int) -> Pixels:
    """Return one picture, all of it, squeezed into (size, size, 3) uint8.

    Raises:
        MedbenchError: It is no picture that can be read.
    """
    path, _ = part_image(item)
    from PIL import Image

    # Large photographs are decoded at a fraction of their size, as long as no side gets shorter than what is read.
    picture = look_at(Path(path), at_least=size).image
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0), dtype=np.uint8)


def read_squares(
    items: Sequence[str], size: int, keep: Path | None = None, say: Callable[[int], None] | None = None
) -> Pixels:
    """Return (n, size, size, 3) uint8; large ones lie in the file `keep`, so that epochs do not decode again.

    Args:
        items: Image items (`records.join_image`).
        size: Side in pixels.
        keep: Where to keep them when they exceed 64 MiB; None keeps them in memory.
        say: Told how many pictures have been read.
    """
    shape = (len(items), size, size, 3)
    out: Pixels
    if keep is not None and int(np.prod(shape)) > _IN_MEMORY:
        keep.parent.mkdir(parents=True, exist_ok=True)
        out = np.lib.format.open_memmap(keep, mode="w+", dtype=np.uint8, shape=shape)
    else:
        out = np.empty(shape, dtype=np.uint8)
    if len(items) == 1:  # starting threads takes as long as reading a small picture
        out[0] = read_square(items[0], size)
        return out
    with ThreadPoolExecutor(_READERS) as readers:
        for at, square in enumerate(readers.map(lambda item: read_square(item, size), items)):
            out[at] = square
            if say is not None and at % 100 == 99:
                say(at + 1)
    return out


def read_each_once(items: Sequence[str], size: int) -> Pixels:
    """Return (n, size, size, 3) uint8; a picture that is asked about with several sets of facts is decoded once."""
    paths = [part_image(item)[0] for item in items]
    places = {path: at for at, path in enumerate(dict.fromkeys(paths))}
    pixels = read_squares(list(places), size)
    return pixels if len(places) == len(paths) else pixels[[places[path] for path in paths]]


def facts_of(items: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return (n, N_FACTS) float32: age in centuries and whether it is known, sex, site; unknown has its own place."""
    out = np.zeros((len(items), N_FACTS), dtype=np.float32)
    for row, item in enumerate(items):
        _, facts = part_image(item)
        age = _number(facts.get("age", ""))
        out[row, 0:2] = (age / 100, 1.0) if age is not None else (0.0, 0.0)
        sex = facts.get("sex", "").strip().lower()
        out[row, 2 + {"male": 0, "female": 1}.get(sex, 2)] = 1
        site = facts.get("site", "").strip().lower()
        out[row, 5 + (SITES.index(site) if site in SITES else len(SITES))] = 1
    return out


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 120 else None


def as_tensor(pixels: Pixels) -> torch.Tensor:
    """Return (n, 3, H, W) float32 in [0, 1] of (n, H, W, 3) uint8."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(255)


def changing(options: VisionOptions) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the random change of training pictures: (n, 3, H, W) uint8 -> (n, 3, size, size) float32 in [0, 1].

    Every picture is turned, cropped, stretched and mirrored by an affine map of its own, all of it in one resampling,
    so that it is blurred once; what a turn brings in from outside is the picture mirrored at its edge.
    """
    import torch
    from torch.nn import functional

    def changed(pictures: torch.Tensor) -> torch.Tensor:
        whole = pictures.float().div_(255)
        shape = [len(whole), 3, options.size, options.size]
        grid = functional.affine_grid(_maps(len(whole), options), shape, align_corners=False)
        seen = functional.grid_sample(whole, grid, "bilinear", "reflection", align_corners=False)
        if options.colour:
            _recolour(seen, options.colour)
        return seen.contiguous(memory_format=torch.channels_last)

    return changed


def _maps(n: int, options: VisionOptions) -> torch.Tensor:
    """Return (n, 2, 3) random affine maps from places of the changed picture to those of the picture, in [-1, 1]."""
    import torch

    def between(low: float, high: float) -> torch.Tensor:
        return torch.empty(n).uniform_(low, high)

    area = between((1 - options.zoom) ** 2, 1.0)
    most = math.log(1 + options.stretch)
    ratio = between(-most, most).exp()
    half = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], dim=1).clamp(max=1.0)  # of the crop's sides
    centre = (1 - half) * torch.empty(n, 2).uniform_(-1, 1)
    turn = torch.deg2rad(between(-options.rotation, options.rotation))
    if options.flips:
        half = half * (torch.randint(0, 2, (n, 2)) * 2 - 1)
    cos, sin = turn.cos(), turn.sin()
    turned = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
    return torch.cat([turned * half[:, None, :], turned @ centre[:, :, None]], dim=2)


def _recolour(pictures: torch.Tensor, strength: float) -> None:
    """Change brightness, contrast and saturation of (n, 3, H, W) pictures in [0, 1] in place, each at random."""
    import torch

    grey = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R BT.601
    factors = torch.empty(3, len(pictures), 1, 1, 1).uniform_(max(0.0, 1 - strength), 1 + strength)
    pictures.mul_(factors[0]).clamp_(max=1)
    middle = (pictures.mean((2, 3), keepdim=True) * grey).sum(1, keepdim=True)
    pictures.sub_(middle).mul_(factors[1]).add_(middle).clamp_(0, 1)
    shade = (pictures * grey).sum(1, keepdim=True)
    pictures.sub_(shade).mul_(factors[2]).add_(shade).clamp_(0, 1)
