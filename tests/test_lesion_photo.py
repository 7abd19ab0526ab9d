"""Photographs of lesions: outline, quality, skin tone, and how much heat lies on the lesion."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from medbench import lesion_photo
from medbench.lesion_photo import coverage, lab_of, look, outline, overlap, quality, skin_tone, tone_class

SKIN, MOLE, BLOOD = (214, 170, 150), (105, 65, 50), (170, 60, 70)


def photo(
    colour: tuple[int, int, int] = MOLE,
    *,
    size: tuple[int, int] = (300, 220),
    hairs: bool = False,
    corners: bool = False,
    skin: tuple[int, int, int] = SKIN,
    seed: int = 0,
) -> tuple[Image.Image, np.ndarray]:
    """A lesion on grainy skin, and its true mask."""
    width, height = size
    rng = np.random.default_rng(seed)
    mask = Image.new("1", size)
    box = (width * 0.33, height * 0.3, width * 0.68, height * 0.72)
    ImageDraw.Draw(mask).ellipse(box, fill=1)
    inside = np.asarray(mask)
    pixels = np.where(inside[..., None], colour, skin) + rng.normal(0, 6, (height, width, 1))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    if hairs:
        for at in range(6):
            pen.line((at * width / 6, 0, width - at * width / 7, height), fill=(40, 30, 25), width=2)
    if corners:
        dark = Image.new("L", size, 255)
        ImageDraw.Draw(dark).ellipse((-width * 0.08, -height * 0.1, width * 1.08, height * 1.1), fill=0)
        image.paste((5, 5, 5), mask=dark)
    return image, inside


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("options", [{}, {"hairs": True}, {"corners": True}, {"colour": BLOOD}, {"size": (150, 150)}])
def test_the_outline_covers_the_lesion(options: dict) -> None:
    image, inside = photo(**options)
    found = outline(image)
    assert found.shape == (image.height, image.width)
    assert found.dtype == bool
    assert dice(found, inside) > 0.85


def test_the_outline_changes_nothing_and_draws_nothing_at_random() -> None:
    image, _ = photo(hairs=True)
    before = image.tobytes()
    assert np.array_equal(outline(image), outline(image))
    assert image.tobytes() == before


def test_the_outline_agrees_with_readers(shared: Path) -> None:
    pictures, masks = (
        zipfile.ZipFile(shared / "skin" / f"ham10000_{name}.zip") for name in ("200x150", "masks_200x150")
    )
    found = []
    for name in sorted(entry for entry in masks.namelist() if entry.endswith(".png"))[::400]:
        picture = f"images/{Path(name).name.removesuffix('_segmentation.png')}.jpg"
        inside = np.asarray(Image.open(io.BytesIO(masks.read(name))).convert("L")) > 127
        found.append(dice(outline(Image.open(io.BytesIO(pictures.read(picture))).convert("RGB")), inside))
    assert len(found) > 20
    assert np.mean(found) > 0.8


def test_a_good_photograph_passes() -> None:
    assert quality(photo()[0]) == []


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda image: image.filter(ImageFilter.GaussianBlur(9)), "The picture looks blurred."),
        (lambda image: ImageEnhance.Brightness(image).enhance(0.3), "The picture is too dark."),
        (lambda image: ImageEnhance.Brightness(image).enhance(3.0), "The picture is too bright."),
        (lambda image: ImageEnhance.Contrast(image).enhance(0.04), "The picture has hardly any contrast."),
        (lambda image: photo(SKIN)[0], "No lesion stands out from the skin."),
    ],
)
def test_a_bad_photograph_is_told_why(spoil, sentence: str) -> None:
    assert sentence in quality(spoil(photo()[0]))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), SKIN])
def test_a_plain_picture_is_no_fault(colour: tuple[int, int, int]) -> None:
    found = look(Image.new("RGB", (40, 30), colour))
    assert "No lesion stands out from the skin." in found.reasons


def test_the_smallest_picture_is_no_fault() -> None:
    assert outline(Image.new("RGB", (8, 8), SKIN)).shape == (8, 8)
    assert quality(photo(size=(90, 40))[0])[0] == "The picture is too small to judge."


def test_lab_of_known_colours() -> None:
    # White, black and the sRGB primaries in CIELAB (D65).
    rgb = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]])
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    assert np.allclose(lab_of(rgb), expected, atol=0.05)


def test_skin_tone_follows_the_skin_not_the_lesion() -> None:
    tones = [
        skin_tone(photo((60, 35, 28), skin=skin)[0]) for skin in ((236, 205, 185), SKIN, (150, 105, 80), (95, 62, 45))
    ]
    assert all(tone is not None for tone in tones)
    assert tones == sorted(tones, reverse=True)
    pale, dark = (tone_class(tones[at]) for at in (0, -1))
    assert (pale, dark) == ("very light", "dark")
    light, _, yellow = lab_of(np.array(SKIN))
    assert skin_tone(photo()[0]) == pytest.approx(np.degrees(np.arctan((light - 50) / yellow)), abs=3)


@pytest.mark.parametrize(
    ("degrees", "name"),
    [(56, "very light"), (55, "light"), (41, "intermediate"), (28, "tan"), (10, "brown"), (-30, "dark"), (None, "")],
)
def test_classes_of_chardon(degrees: float | None, name: str) -> None:
    assert tone_class(degrees) == name


def test_overlap_by_hand() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2, :2] = True
    heat = np.ones((4, 4), dtype=np.float32)
    assert overlap(heat, mask) == lesion_photo.Overlap(4 / 16, 4 / 16)
    heat[:2, :2] = 5
    assert overlap(heat, mask).heat == pytest.approx(20 / 32)
    assert overlap(np.zeros((4, 4)), mask).heat is None
    # A heat map of 2 x 2 cells over the same picture.
    assert overlap(np.array([[3.0, 1.0], [0.0, 0.0]]), mask).heat == pytest.approx(3 / 4)
    assert coverage(mask, (1, 1)).tolist() == [[0.25]]
