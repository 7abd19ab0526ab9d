"""Pictures from strangers are opened the same way every time, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_pictures import blob, encoded
from PIL import Image

from medbench.errors import MedbenchError
from medbench.pictures import (
    MAX_PIXELS,
    look_at,
    near_pairs,
    near_pictures,
    open_picture,
    perceptual_hash,
    pixel_hash,
    small_grey,
)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_the_same_pixels(form: str, tmp_path: Path) -> None:
    drawn = blob(1)
    path = tmp_path / "a.bin"
    path.write_bytes(encoded(drawn, form))
    for source in (path, str(path), path.read_bytes()):
        opened = open_picture(source)
        assert opened.mode == "RGB"
        assert pixel_hash(opened) == pixel_hash(drawn)


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "GIF", "MPO"])
def test_lossy_formats_give_nearly_the_same_pixels(form: str) -> None:
    drawn = blob(1)
    assert np.abs(pixels(open_picture(encoded(drawn, form))) - pixels(drawn)).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone(orientation: int) -> None:
    undo = [None, None, 0, 3, 1, 5, 4, 6, 2]  # transposition of Pillow that a viewer applies for this tag
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = blob(2)
    step = undo[orientation]
    seen = stored if step is None else stored.transpose(Image.Transpose(step))
    opened = look_at(encoded(stored, "PNG", exif=exif))
    assert pixel_hash(opened.image) == pixel_hash(seen)
    assert opened.size == stored.size
    assert opened.notes == (("turned the right way up",) if orientation > 1 else ())
    assert opened.has_exif
    assert not opened.has_gps


def test_gps_is_noticed() -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    assert look_at(encoded(blob(3), exif=exif)).has_gps


def test_a_damaged_exif_block_is_no_reason_to_refuse() -> None:
    broken = encoded(blob(3), exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert open_picture(broken).size == (96, 72)


def test_other_kinds_of_pixels_become_rgb() -> None:
    drawn = blob(4)
    deep = (np.asarray(drawn.convert("L"), dtype=np.uint16) * 257).astype(np.uint16)
    grey = pixels(drawn.convert("L").convert("RGB"))
    opened = look_at(encoded(Image.fromarray(deep), "PNG"))
    assert opened.notes == ("16 bits scaled to 8",)
    assert np.abs(pixels(opened.image) - grey).max() <= 1
    twelve = Image.fromarray((deep // 16).astype(np.uint16))
    assert np.abs(pixels(open_picture(encoded(twelve, "TIFF"))) - grey).max() <= 1
    floats = Image.fromarray(np.asarray(drawn.convert("L"), dtype=np.float32) / 255)
    assert np.abs(pixels(open_picture(encoded(floats, "TIFF"))) - grey).max() <= 1
    cmyk = look_at(encoded(drawn.convert("CMYK")))
    assert cmyk.notes == ("CMYK turned into RGB",)
    assert np.abs(pixels(cmyk.image) - pixels(drawn)).mean() < 8


def test_transparency_is_laid_on_white() -> None:
    drawn = blob(5).convert("RGBA")
    drawn.putalpha(Image.new("L", drawn.size, 0))
    opened = look_at(encoded(drawn, "PNG"))
    assert pixels(opened.image).min() == 255
    assert opened.notes == ("laid on white where transparent",)


def test_of_an_animation_the_first_frame_is_taken_and_told() -> None:
    first, second = blob(6), blob(7)
    opened = look_at(encoded(first, "GIF", save_all=True, append_images=[second]))
    assert opened.notes[0] == "first of 2 frames taken"
    assert np.abs(pixels(opened.image) - pixels(first)).mean() < 8


def test_a_large_jpeg_may_come_smaller_but_not_too_small() -> None:
    opened = look_at(encoded(blob(8, (2000, 1500))), at_least=640)
    assert opened.size == (2000, 1500)
    assert opened.image.size == (1000, 750)


TURNED_AWAY = {
    "empty": (b"", "Expected a picture, found an empty file 'x.jpg'."),
    "text": (b"dear colleague", "found a text file 'x.jpg'. Save it as JPEG or PNG and try again."),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(64), "found a HEIC picture, 'x.jpg'."),
    "pdf": (b"%PDF-1.7\n\x01\x02", "found a PDF 'x.jpg'."),
    "dicom": (bytes(128) + b"DICM" + bytes(64), "found a DICOM file 'x.jpg'."),
    "zip": (b"PK\x03\x04" + bytes(64), "found a zip or office file 'x.jpg'."),
    "bytes": (bytes(range(1, 200)), "found something else in 'x.jpg'."),
    "dot": (encoded(Image.new("RGB", (1, 1)), "PNG"), "at least 8 × 8 pixels, found 1 × 1 in 'x.jpg'."),
    "bomb": (encoded(Image.new("L", (20_000, 20_000)), "PNG"), "Expected a picture of at most 50 megapixels, found"),
    "large": (
        encoded(Image.new("L", (9_000, 9_000)), "PNG"),
        "found 9,000 × 9,000 pixels in 'x.jpg'. Make it smaller.",
    ),
}


@pytest.mark.parametrize("case", TURNED_AWAY)
def test_what_is_no_picture_is_told_in_one_sentence(case: str) -> None:
    content, sentence = TURNED_AWAY[case]
    with pytest.raises(MedbenchError) as caught:
        open_picture(content, "x.jpg")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_cut_file_is_refused_whatever_its_format(form: str, share: float) -> None:
    whole = encoded(blob(9), form)
    with pytest.raises(MedbenchError, match=r"Copy it from its source again|Save it as JPEG"):
        open_picture(whole[: int(len(whole) * share)], "cut.jpg")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_damaged_bytes_never_raise_anything_else(form: str) -> None:
    rng = np.random.default_rng(0)
    whole = np.frombuffer(encoded(blob(10), form), dtype=np.uint8)
    outcomes = set()
    for _ in range(60):
        bent = whole.copy()
        bent[rng.integers(0, len(bent), 12)] = rng.integers(0, 256, 12)
        try:
            outcomes.add(open_picture(bent.tobytes()).mode)
        except MedbenchError:
            outcomes.add("refused")
    assert outcomes <= {"RGB", "refused"}


def test_paths_that_are_no_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(MedbenchError, match=r"no file .gone\.jpg."):
        open_picture(tmp_path / "gone.jpg")
    with pytest.raises(MedbenchError, match="found a folder"):
        open_picture(tmp_path)


def test_the_limit_counts_pixels_not_sides() -> None:
    assert open_picture(encoded(Image.new("L", (10_000, 20)), "PNG")).size == (10_000, 20)
    assert MAX_PIXELS == 50_000_000


# --- the same, and nearly the same -----------------------------------------------------------------------------


def test_the_pixel_hash_knows_size_and_every_pixel() -> None:
    drawn = blob(11)
    touched = drawn.copy()
    touched.putpixel((5, 5), (0, 0, 0))
    turned = Image.frombytes("RGB", (72, 96), drawn.tobytes())
    assert len({pixel_hash(one) for one in (drawn, touched, turned)}) == 3
    assert pixel_hash(drawn) == pixel_hash(open_picture(encoded(drawn, "PNG")))


def bits_apart(one: Image.Image, other: Image.Image) -> int:
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


@pytest.mark.parametrize("seed", range(10))
def test_the_perceptual_hash_survives_what_does_not_change_the_motif(seed: int) -> None:
    drawn = blob(seed, (200, 150))
    assert perceptual_hash(drawn) < 2**64
    assert bits_apart(drawn, drawn.resize((120, 90))) <= 4
    assert bits_apart(drawn, open_picture(encoded(drawn, quality=40))) <= 4
    assert bits_apart(drawn, drawn.point(lambda value: min(255, int(value * 1.05)))) <= 8


def test_strangers_are_far_apart() -> None:
    hashes = [perceptual_hash(blob(seed)) for seed in range(40)]
    assert sum(1 for _ in near_pairs(hashes, 10)) <= 2


def test_near_pairs_are_all_pairs_within_the_distance() -> None:
    rng = np.random.default_rng(1)
    hashes = [int(one) for one in rng.integers(0, 2**16, 1_200)]
    told = list(near_pairs(hashes, 1))
    wanted = {
        (a, b)
        for a in range(len(hashes))
        for b in range(a + 1, len(hashes))
        if (hashes[a] ^ hashes[b]).bit_count() <= 1
    }
    assert set(told) == wanted
    assert len(told) == len(wanted)


def test_near_pictures_are_grouped_and_chance_matches_told_apart() -> None:
    drawn = [blob(1), blob(2), blob(1).resize((48, 36)), blob(3), blob(2).resize((60, 45)), blob(2).resize((44, 33))]
    hashes = [perceptual_hash(one) for one in drawn]
    small = np.stack([small_grey(one) for one in drawn])
    assert near_pictures(hashes, small=small) == [[1, 4, 5], [0, 2]]
    chance = [hashes[0]] * len(drawn)
    assert near_pictures(chance) == [[0, 1, 2, 3, 4, 5]]
    assert near_pictures(chance, small=small) == [[1, 4, 5], [0, 2]]


def test_no_pictures_make_no_groups() -> None:
    assert near_pictures([]) == []
    flat = Image.new("RGB", (20, 20), "white")
    assert near_pictures([perceptual_hash(flat)] * 2, small=np.stack([small_grey(flat)] * 2)) == []
