"""A heat map laid over its photograph, and the bar that says what the colours mean. Pictures in, pictures out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.lesion_photo import Mask, stretched

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
# Nine colours of viridis (van der Walt & Smith 2015): even steps of lightness, told apart with any colour vision.
_COLOURS = np.array(
    [
        (68, 1, 84),
        (71, 45, 123),
        (59, 82, 139),
        (44, 114, 142),
        (33, 145, 140),
        (40, 174, 128),
        (94, 201, 98),
        (173, 220, 48),
        (253, 231, 37),
    ],
    dtype=np.float64,
)
_LINE = (255, 255, 255)


def coloured(heat: npt.NDArray[Any]) -> Pixels:
    """Return (..., 3) uint8 colours of (...) heat in [0, 1]."""
    at = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(heat, at, _COLOURS[:, channel]) for channel in range(3)]
    return np.asarray(np.stack(channels, axis=-1).round(), dtype=np.uint8)


def overlaid(picture: Image.Image, heat: npt.NDArray[Any], opacity: float, mask: Mask | None = None) -> Image.Image:
    """Return the picture under its heat map; at opacity 0 it is the untouched picture, pixel by pixel.

    Args:
        picture: RGB; it is not changed.
        heat: (h, w) in [0, 1], stretched over the whole picture.
        opacity: 0-1.
        mask: (H, W) bool, of the picture's size; its border is drawn as a white line.
    """
    from PIL import Image as Pillow

    if opacity <= 0 and mask is None:
        return picture.copy()
    colours = coloured(stretched(heat, (picture.height, picture.width)).clip(0, 1))
    blended = (1 - opacity) * np.asarray(picture, dtype=np.float64) + opacity * colours
    pixels = blended.round().clip(0, 255).astype(np.uint8)
    if mask is not None:
        pixels[_border(mask)] = _LINE
    return Pillow.fromarray(pixels)


def _border(mask: Mask) -> Mask:
    from scipy import ndimage

    thick = max(1, round(max(mask.shape) / 300))
    return np.asarray(mask & ~ndimage.binary_erosion(mask, iterations=thick, border_value=1), dtype=bool)


def colour_bar(width: int, height: int) -> Image.Image:
    """Return the colours from none (left) to most (right)."""
    from PIL import Image as Pillow

    return Pillow.fromarray(np.repeat(coloured(np.linspace(0, 1, width))[None], height, axis=0))


def png_bytes(picture: Image.Image) -> bytes:
    """Return a picture as PNG."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def css_gradient() -> str:
    """Return the colours as a CSS gradient from none (left) to most (right)."""
    stops = ", ".join(f"rgb({red:.0f}, {green:.0f}, {blue:.0f})" for red, green, blue in _COLOURS)
    return f"linear-gradient(to right, {stops})"


def sheet(
    picture: Image.Image, heats: Sequence[npt.NDArray[Any]], opacity: float, lines: list[str], side: int = 640
) -> Image.Image:
    """Return what is exported: the untouched picture, the overlays, the colour bar and lines of text under them.

    Args:
        picture: RGB.
        heats: One or more (h, w) in [0, 1], from left to right.
        opacity: 0-1.
        lines: What is written under the pictures, one line each.
        side: Longest side of each picture, pixels.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    plain = picture.resize(size, Pillow.Resampling.LANCZOS)
    gap, row, font = 20, 26, ImageFont.load_default(17)
    step = size[0] + gap
    out = Pillow.new("RGB", (gap + step * (1 + len(heats)), size[1] + 4 * gap + 30 + row * len(lines)), "white")
    out.paste(plain, (gap, gap))
    for number, heat in enumerate(heats, start=1):
        out.paste(overlaid(plain, heat, opacity), (gap + number * step, gap))
    pen, y = ImageDraw.Draw(out), size[1] + 2 * gap
    left = gap + step
    out.paste(colour_bar(size[0], 12), (left, y))
    pen.text((left, y + 15), "no heat", fill="black", font=font)
    pen.text((left + size[0], y + 15), "most heat", fill="black", font=font, anchor="ra")
    for number, line in enumerate(lines):
        pen.text((gap, y + 45 + row * number), line, fill="black", font=font)
    return out
