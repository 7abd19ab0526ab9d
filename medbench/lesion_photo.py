"""Is this a photograph that can be judged, where is the lesion in it, and how dark is the skin around it?

Plain image arithmetic, no learning: estimates for a reader who wants to know how far to trust an answer, no diagnosis.
Everything is measured on the picture shrunk to 160 pixels, near what networks see: blur that is gone there is harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
SIDE = 160
"""Pixels of the long side at which pictures are measured."""
_MEDIAN, _SMOOTH = 5, 1.5  # pixels at SIDE: hairs and speckle go, borders stay
_FRAME_BELOW = 60.0  # the black corners of a dermatoscope, of 255
_INSIDE = 0.62  # radius within which the cut is sought, in heights and widths
_CUT = 0.7  # of the way from the skin to Otsu's cut: readers draw the border wider than the darkest part
_CENTRE = 0.2  # lesions are photographed in the middle: a blob's weight falls by e at this radius
_BESIDE = 0.5  # blobs with at least this share of the best blob's weight belong to it
_GROWN = 2  # pixels at SIDE


# Set on 200 pictures of HAM10000; of 1,500 others 1.9 in 100 are flagged by any of these limits.
SHARPNESS = 0.016
"""A picture below is blurred: a Gaussian of 2 % of the long side brings almost every picture of HAM10000 below."""
DARK, BRIGHT = 40.0, 88.0
"""Mean L* below and above which a picture is too dark and too bright."""
CONTRAST = 1.6
"""Standard deviation of L* below which there is hardly any contrast."""
DIFFERENCE = 4.5
"""CIELAB distance below which the outlined region does not stand out from the skin."""
AREA = 0.005
"""Share of the picture below which an outline is a speck."""
SMALL = 64
"""Pixels of the shorter side below which a picture is too small."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was measured on one picture.

    Attributes:
        sharpness: Variance of the Laplacian over the variance of the brightness, at 160 pixels; low when blurred.
        brightness: Mean brightness (L* of CIELAB), 0-100.
        contrast: Standard deviation of L*.
        difference: Distance in CIELAB between the outlined region and the skin around it.
        area: Share of the picture that is outlined, 0-1.
        tone: Individual typology angle of the skin in degrees; None when no skin can be seen.
        reasons: Why the photograph may mislead, one sentence each; empty when nothing was noticed.
    """

    sharpness: float
    brightness: float
    contrast: float
    difference: float
    area: float
    tone: float | None
    reasons: tuple[str, ...]


def look(image: Image.Image) -> Looked:
    """Return what can be said about an RGB photograph of a lesion."""
    return _looked(image, outline(image))


def quality(image: Image.Image) -> list[str]:
    """Return why an RGB photograph may mislead, one sentence each; empty when nothing was noticed."""
    return list(look(image).reasons)


def _looked(image: Image.Image, mask: Mask) -> Looked:
    small = _small(image)
    lab = lab_of(small)
    seen = ~_frame(small)
    seen = seen if seen.sum() > seen.size / 10 else np.ones_like(seen)
    inside = _shrunk(mask, small.shape[:2]) & seen
    light = lab[..., 0][seen]
    outside = _around(inside, seen)
    gap = lab[inside].mean(axis=0) - lab[outside].mean(axis=0) if inside.any() and outside.any() else np.zeros(3)
    measured = (
        _sharpness(lab[..., 0], seen),
        float(light.mean()),
        float(light.std()),
        float(np.linalg.norm(gap)),
        float(mask.mean()),
    )
    small_side = ("The picture is too small to judge.",) if min(image.size) < SMALL else ()
    return Looked(*measured, _tone(lab[outside]), (*small_side, *_reasons(*measured)))


def _reasons(sharpness: float, brightness: float, contrast: float, difference: float, area: float) -> tuple[str, ...]:
    told = [
        (brightness < DARK, "The picture is too dark."),
        (brightness > BRIGHT, "The picture is too bright."),
        (contrast < CONTRAST, "The picture has hardly any contrast."),
        (sharpness < SHARPNESS, "The picture looks blurred."),
        (area < AREA or difference < DIFFERENCE, "No lesion stands out from the skin."),
    ]
    return tuple(sentence for found, sentence in told if found)


def _sharpness(light: Floats, seen: Mask) -> float:
    from scipy import ndimage

    edges = ndimage.laplace(light)
    inner = ndimage.binary_erosion(seen, iterations=4)
    inner = inner if inner.any() else seen
    spread = float(light[inner].var())
    return float(edges[inner].var()) / spread if spread > 1e-9 else 0.0


# --- where the lesion is ---------------------------------------------------------------------------------------


def outline(image: Image.Image) -> Mask:
    """Return (H, W) bool: an estimate of where the lesion is; all False when nothing stands out.

    Otsu's cut (1979) on the blue channel, in which both melanin and blood are dark, after a median that takes hairs
    away; of the blobs the most central one, holes filled. Black corners do not count.

    Args:
        image: RGB.
    """
    from scipy import ndimage

    small = _small(image)
    seen = ~_frame(small)
    flat = ndimage.median_filter(small[..., 2], _MEDIAN)
    dark = -ndimage.gaussian_filter(flat, _SMOOTH)
    away = _away(dark.shape)
    inner = seen & (away < _INSIDE)
    inner = inner if inner.sum() > 50 else np.ones_like(seen)
    cut = _otsu(dark[inner])
    skin = dark[inner & (dark <= cut)]
    cut = float(np.median(skin)) + _CUT * (cut - float(np.median(skin))) if len(skin) else cut
    found = _central(ndimage.binary_opening((dark > cut) & seen, iterations=2), away)
    return _stretched(found, (image.height, image.width))


def _central(blobs: Mask, away: Floats) -> Mask:
    """Return the most central blob, and others nearly as central, holes filled and grown a little."""
    from scipy import ndimage

    numbered, count = ndimage.label(blobs)
    if not count:
        return np.zeros_like(blobs)
    weight = ndimage.sum_labels(np.exp(-((away / _CENTRE) ** 2)), numbered, np.arange(1, count + 1))
    kept = np.isin(numbered, 1 + np.flatnonzero(weight >= _BESIDE * weight.max()))
    edge = 6  # so that closing does not eat at the picture's border
    wide = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(kept, edge), iterations=3))
    whole: Mask = ndimage.binary_dilation(wide, iterations=_GROWN)[edge:-edge, edge:-edge]
    return whole


def _away(shape: tuple[int, ...]) -> Floats:
    """Return (h, w) distances from the centre, 0.5 at the middle of an edge."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot((y + 0.5) / shape[0] - 0.5, (x + 0.5) / shape[1] - 0.5), dtype=np.float64)


def _frame(small: Floats) -> Mask:
    """Return (h, w) bool: black corners and rims of a dermatoscope, a little widened."""
    from scipy import ndimage

    dark = ndimage.median_filter(small.max(axis=-1), _MEDIAN) < _FRAME_BELOW
    numbered, _ = ndimage.label(dark)
    corners = {int(numbered[row, column]) for row in (0, -1) for column in (0, -1)} - {0}
    frame: Mask = np.isin(numbered, list(corners))
    return np.asarray(ndimage.binary_dilation(frame, iterations=3)) if corners else frame


def _around(inside: Mask, seen: Mask) -> Mask:
    """Return the skin outside of the lesion, a few pixels away from its border."""
    from scipy import ndimage

    far: Mask = seen & ~np.asarray(ndimage.binary_dilation(inside, iterations=4), dtype=bool)
    return far


def _otsu(values: Floats, bins: int = 128) -> float:
    """Return the cut that parts values into two classes with the largest variance between them (Otsu 1979)."""
    count, edges = np.histogram(values, bins)
    middle = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(count), np.cumsum(count * middle)
    above = below[-1] - below
    gap = sums * below[-1] - sums[-1] * below
    between = np.divide(gap**2, below * above, out=np.zeros(bins), where=(below > 0) & (above > 0))
    return float(middle[int(between.argmax())])


def _small(image: Image.Image) -> Floats:
    """Return (h, w, 3) float64, 0-255, the long side at most SIDE pixels."""
    from PIL import Image as Pillow

    scale = min(1.0, SIDE / max(image.size))
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    return np.asarray(image.resize(size, Pillow.Resampling.BOX, reducing_gap=2.0), dtype=np.float64)


def _shrunk(mask: Mask, shape: tuple[int, ...]) -> Mask:
    return _stretched(mask, (shape[0], shape[1]))


def _stretched(mask: Mask, shape: tuple[int, int]) -> Mask:
    from PIL import Image as Pillow

    nearest = Pillow.Resampling.NEAREST
    return np.asarray(Pillow.fromarray(mask.astype(np.uint8)).resize(shape[::-1], nearest), dtype=bool)


# --- skin tone -------------------------------------------------------------------------------------------------

TONES = ((55.0, "very light"), (41.0, "light"), (28.0, "intermediate"), (10.0, "tan"), (-30.0, "brown"))
"""Degrees above which a class begins (Chardon et al. 1991); what is not above the last is dark."""


def skin_tone(image: Image.Image) -> float | None:
    """Return the individual typology angle of the skin around the lesion, in degrees; None when no skin can be seen.

    ITA = arctan((L* - 50) / b*) x 180 / pi (Chardon et al. 1991), of the median L* and b* outside of the outline. An
    estimate: light and camera move it, so it sorts pictures into groups and says little about one patient. Where a
    dermatoscope's light makes the skin bluish (b* of 0 and below) the angle is 90.

    Args:
        image: RGB.
    """
    return look(image).tone


def tone_class(degrees: float | None) -> str:
    """Return Chardon's class of an angle: very light, light, intermediate, tan, brown, dark; "" for None."""
    if degrees is None:
        return ""
    return next((name for above, name in TONES if degrees > above), "dark")


def _tone(skin: Floats) -> float | None:
    if len(skin) < 50:
        return None
    light, _, yellow = np.median(skin, axis=0)
    return float(np.degrees(np.arctan2(light - 50, max(yellow, 1e-6))))


def lab_of(rgb: npt.NDArray[Any]) -> Floats:
    """Return (..., 3) CIELAB (D65) of (..., 3) sRGB in 0-255 (IEC 61966-2-1, CIE 15)."""
    scaled = rgb.astype(np.float64) / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


# --- heat and mask ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of a heat map lies inside a mask.

    Attributes:
        heat: Share of the heat inside the mask, 0-1; None when there is no heat.
        area: Share of the picture the mask covers: what heat spread evenly would have inside.
    """

    heat: float | None
    area: float


def overlap(heat: npt.NDArray[np.floating[Any]], mask: Mask) -> Overlap:
    """Return how much of a heat map lies inside a mask, both stretched over the same picture.

    Args:
        heat: (h, w), not negative.
        mask: (H, W) bool, of any size.
    """
    inside = coverage(mask, heat.shape)
    total = float(heat.sum(dtype=np.float64))
    share = float((heat * inside).sum(dtype=np.float64)) / total if total > 0 else None
    return Overlap(share, float(mask.mean()))


def coverage(mask: Mask, shape: tuple[int, ...]) -> Floats:
    """Return (h, w) float64: how much of each cell of a coarser or finer grid a (H, W) mask covers, 0-1."""
    from PIL import Image as Pillow

    if mask.shape == tuple(shape):
        return mask.astype(np.float64)
    picture = Pillow.fromarray(mask.astype(np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Pillow.Resampling.BOX), dtype=np.float64)


def stretched(heat: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return a heat map smoothly stretched over (H, W) pixels, float32, within its own range."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(np.asarray(heat, dtype=np.float32))
    wide = np.asarray(picture.resize(shape[::-1], Pillow.Resampling.BICUBIC), dtype=np.float32)
    return wide.clip(float(heat.min()), float(heat.max()))
