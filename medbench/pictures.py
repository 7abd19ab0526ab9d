"""Pictures from strangers: opened safely, turned the right way up, the same kind of pixels every time.

`open_picture` is the one door. Everything behind it sees 8-bit RGB as a person would see it on a screen.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medbench.duplicates import Union
from medbench.errors import MedbenchError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp")
FOREIGN = (".heic", ".heif", ".avif", ".dcm", ".dicom", ".raw", ".dng", ".cr2", ".nef", ".svg", ".psd", ".jp2")
"""Endings of pictures that medbench does not read; named, so that they are accounted for."""
MAX_PIXELS = 50_000_000
MIN_SIDE = 8
MAX_BYTES = 200_000_000
_ORIENTATION, _CAMERA, _GPS = 0x0112, 0x8769, 0x8825
_MAGIC = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")
_APPLE = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"heif")
# What Pillow's decoders raise when they are fed damaged bytes.
_BROKEN = (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, struct.error, zlib.error)
_TORN = (*_BROKEN, RuntimeError, AttributeError, ArithmeticError, AssertionError)
_ADVICE = "Save it as JPEG or PNG and try again."
_HASH_SIDE = 32
_HASH_LOW = 8
_PAIRS_AT_ONCE = 4_000_000
NEAR_BITS = 10
_ALIKE = 0.99


@dataclass(frozen=True, slots=True)
class Opened:
    """A picture and what was noticed on the way in.

    Attributes:
        image: RGB, 8 bit, the right way up, all pixels read.
        size: Width and height as stored in the file, in pixels.
        format: Format by content, e.g. "JPEG".
        notes: What was converted, one short phrase each.
        has_exif: True when the file carries an EXIF block.
        has_gps: True when that block says where the picture was taken.
    """

    image: Image.Image
    size: tuple[int, int]
    format: str
    notes: tuple[str, ...] = ()
    has_exif: bool = False
    has_gps: bool = False


def open_picture(path_or_bytes: Path | str | bytes, name: str = "") -> Image.Image:
    """Return a picture as 8-bit RGB, the right way up.

    Args:
        path_or_bytes: Where it lies, or its bytes.
        name: What the user calls it; the file's own name when empty.

    Raises:
        MedbenchError: It cannot be read, is damaged, of no known format, under 8 pixels or over 50 megapixels.
    """
    return look_at(path_or_bytes, name).image


def look_at(path_or_bytes: Path | str | bytes, name: str = "", at_least: int = 0) -> Opened:
    """Return a picture with what was noticed about it; otherwise as `open_picture`.

    Args:
        path_or_bytes: Where it lies, or its bytes.
        name: What the user calls it; the file's own name when empty.
        at_least: When over 0, a large JPEG may be read at a half, quarter or eighth of its size as long as no side
            falls below so many pixels: several times faster.

    Raises:
        MedbenchError: As `open_picture`.
    """
    name, size, stream = _stream(path_or_bytes, name)
    with stream:
        if size == 0:
            raise MedbenchError("a picture", f"an empty file {name!r}", "Copy it from its source again.")
        if size > MAX_BYTES:
            found = f"{size / 1e6:,.0f} MB in {name!r}"
            raise MedbenchError(f"a picture of at most {MAX_BYTES / 1e6:,.0f} MB", found, "Make it smaller.")
        return _read(stream, name, at_least)


def stored_size(content: bytes) -> tuple[int, int]:
    """Return width and height of a picture that can be read, as stored in the file, in pixels; decodes nothing."""
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return image.size


def _stream(path_or_bytes: Path | str | bytes, name: str) -> tuple[str, int, IO[bytes]]:
    if isinstance(path_or_bytes, bytes):
        return name or "picture", len(path_or_bytes), io.BytesIO(path_or_bytes)
    path = Path(path_or_bytes)
    name = name or path.name
    try:
        stream = path.open("rb")
    except IsADirectoryError:
        raise MedbenchError("a picture", f"a folder {name!r}", "Name a file in it.") from None
    except FileNotFoundError:
        raise MedbenchError("a picture", f"no file {name!r}", "Check the path.") from None
    except (OSError, ValueError) as error:
        raise MedbenchError(f"to read the picture {name!r}", str(error), "Check the path and its rights.") from None
    return name, path.stat().st_size, stream


def _read(stream: IO[bytes], name: str, at_least: int) -> Opened:
    """Open and decode. Nothing is decoded before the size is known to be fine."""
    # The two plugins are not among those that Pillow loads by itself when formats are named.
    from PIL import Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin  # noqa: F401

    try:
        image = Image.open(stream, formats=FORMATS)
        _sane(image.size, name)
        size, kind = image.size, str(image.format)
        if at_least and kind == "JPEG":
            image.draft(image.mode, (at_least, at_least))
        # An MPO is a JPEG with a second picture, as telephones write it.
        frames = 1 if kind == "MPO" else int(getattr(image, "n_frames", 1))
        image.load()
        return _upright(image, size, "JPEG" if kind == "MPO" else kind, frames)
    except UnidentifiedImageError:
        raise _unknown(stream, name) from None
    except Image.DecompressionBombError as error:
        told = re.search(r"\d+", str(error))  # Pillow says how many pixels, not which sides
        found = f"{int(told[0]) / 1e6:,.0f} megapixels" if told else "more"
        raise MedbenchError(_largest(), f"{found} in {name!r}", "Make it smaller.") from None
    except MemoryError:
        raise MedbenchError("memory for the picture", f"too little for {name!r}", "Make it smaller.") from None
    except _TORN as error:
        found = f"{name!r}, which is damaged ({str(error) or type(error).__name__})"
        raise MedbenchError("a whole picture", found, "Copy it from its source again.") from None


def _largest() -> str:
    return f"a picture of at most {MAX_PIXELS // 1_000_000} megapixels"


def _sane(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise MedbenchError(_largest(), f"{width:,} × {height:,} pixels in {name!r}", "Make it smaller.")
    if min(size) < MIN_SIDE:
        found = f"{width:,} × {height:,} in {name!r}"
        raise MedbenchError(f"a picture of at least {MIN_SIDE} × {MIN_SIDE} pixels", found, "Take the original.")


def _unknown(stream: IO[bytes], name: str) -> MedbenchError:
    stream.seek(0)
    head = stream.read(4096)
    if head.startswith(_MAGIC):
        return MedbenchError("a whole picture", f"{name!r}, which is damaged", "Copy it from its source again.")
    if head[4:8] == b"ftyp":
        kind = "a HEIC picture" if head[8:12] in _APPLE else "a picture or film of a kind that cannot be read"
        found = f"{kind}, {name!r}"
    elif head[128:132] == b"DICM":
        found = f"a DICOM file {name!r}"
    elif head[:2] == b"PK":
        found = f"a zip or office file {name!r}"
    elif head.startswith(b"%PDF"):
        found = f"a PDF {name!r}"
    elif not any(byte < 9 or 13 < byte < 32 for byte in head):
        found = f"a text file {name!r}"
    else:
        found = f"something else in {name!r}"
    return MedbenchError("a JPEG, PNG, TIFF, WebP, GIF or BMP picture", found, _ADVICE)


def _upright(image: Image.Image, size: tuple[int, int], kind: str, frames: int) -> Opened:
    from PIL import ImageOps

    tags, notes = _exif_tags(image), []
    if frames > 1:
        notes.append(f"first of {frames:,} frames taken")
    if tags.get(_ORIENTATION, 1) in range(2, 9):
        image = ImageOps.exif_transpose(image)
        notes.append("turned the right way up")
    image, note = _as_rgb(image)
    notes += [note] if note else []
    # A TIFF keeps its own structure in tags, so it has some without any camera's.
    has_exif = bool(tags.keys() & {_CAMERA, _GPS}) if kind == "TIFF" else bool(tags)
    return Opened(image, size, kind, tuple(notes), has_exif, _GPS in tags)


def _exif_tags(image: Image.Image) -> dict[int, object]:
    """Return the EXIF tags; none when the block is damaged, which is no reason to refuse the picture."""
    try:
        return dict(image.getexif())
    except _BROKEN:
        return {}


def _as_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """Return the picture as RGB and what was done, in a few words; "" when it was RGB."""
    from PIL import Image

    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_eight_bit(np.asarray(image))).convert("RGB"), "16 bits scaled to 8"
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"), "laid on white where transparent"
    if mode == "RGB":
        return image, ""
    if mode in ("L", "1"):
        return image.convert("RGB"), "grey"
    return image.convert("RGB"), {"P": "palette turned into RGB"}.get(mode, f"{mode} turned into RGB")


def _eight_bit(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Return grey values as 8 bit: by the depth that holds the brightest (8, 12, 16, 32 bits), a float by its range."""
    grey = values.astype(np.float64)
    if values.dtype.kind == "f":
        grey = np.nan_to_num(grey, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(grey.min()), float(grey.max())
        low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-9))
    else:
        low, peak = 0.0, float(grey.max())
        high = next((top for top in (255.0, 4095.0, 65535.0) if peak <= top), 2.0**32 - 1)
    return np.asarray(np.clip((grey - low) / (high - low) * 255 + 0.5, 0, 255), dtype=np.uint8)


# --- the same, and nearly the same -----------------------------------------------------------------------------


def pixel_hash(image: Image.Image) -> str:
    """Return 32 hex digits that two pictures share only when they have the same size and the same pixels."""
    digest = hashlib.blake2b(f"{image.mode} {image.size}".encode(), digest_size=16)
    digest.update(image.tobytes())
    return digest.hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """Return a 64-bit hash that stays nearly the same when a picture is scaled, compressed or slightly brightened.

    The signs of the 8 x 8 lowest frequencies, against their median, of the cosine transform of 32 x 32 grey pixels
    (pHash; Zauner 2010).
    """
    from scipy.fft import dctn

    low = dctn(small_grey(image).astype(np.float64), norm="ortho")[:_HASH_LOW, :_HASH_LOW].ravel()
    low[0] = 0  # the mean brightness says nothing about the motif
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def small_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the picture as (32, 32) uint8 grey: what `perceptual_hash` reads, and what tells chance matches apart."""
    from PIL import Image

    return np.asarray(image.convert("L").resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BOX), dtype=np.uint8)


def near_pictures(
    hashes: Sequence[int], distance: int = NEAR_BITS, small: npt.NDArray[np.uint8] | None = None
) -> list[list[int]]:
    """Return the groups of pictures that look nearly the same.

    Every pair is compared (10,000 pictures take a second); groups are the connected components. Photographs of
    lesions all show a blob in the middle, so that hashes alone bring strangers together; with `small` a pair also
    has to correlate by .99.

    Args:
        hashes: n perceptual hashes.
        distance: Most bits in which two neighbours differ.
        small: (n, 32, 32) uint8 grey pictures (`small_grey`), or None to trust the hashes.

    Returns:
        Groups of two or more positions, ascending, largest group first.
    """
    union, sure = Union(len(hashes)), None if small is None else _centred(small)
    for one, other in near_pairs(hashes, distance):
        if sure is None or float(sure[one] @ sure[other]) >= _ALIKE:
            union.join(one, other)
    groups: dict[int, list[int]] = {}
    for row, key in enumerate(union.keys()):
        groups.setdefault(key, []).append(row)
    return sorted((group for group in groups.values() if len(group) > 1), key=lambda group: (-len(group), group[0]))


def _centred(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return (n, pixels) float32 of mean 0 and length 1: dot products are correlations; flat pictures are 0."""
    flat = small.reshape(len(small), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-6), dtype=np.float32)


def near_pairs(hashes: Sequence[int], distance: int = NEAR_BITS) -> Iterator[tuple[int, int]]:
    """Yield every pair of positions whose hashes differ in at most `distance` bits, smaller position first."""
    codes = np.array(hashes, dtype=np.uint64)
    step = max(1, _PAIRS_AT_ONCE // max(len(codes), 1))
    for start in range(0, len(codes), step):
        block = codes[start : start + step]
        apart = np.bitwise_count(block[:, None] ^ codes[None, start:])
        for row, column in np.argwhere(apart <= distance).tolist():
            if column > row:
                yield start + row, start + column
