"""Where pictures come from: a zip, a folder, loose files. Looked through without unpacking anything.

Zips from strangers are held to limits before a byte is unpacked, and pictures are read out of them into memory one by
one; only tables are copied out, under names of our own.
"""

from __future__ import annotations

import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType

from medbench.errors import MedbenchError, OversizedError
from medbench.pictures import ENDINGS, FOREIGN, MAX_BYTES

TABLES = (".csv", ".tsv", ".tab", ".txt", ".xlsx", ".json", ".jsonl", ".csv.gz", ".tsv.gz")
LOOSE = "loose pictures"
_MANY_TABLES = 100
_ALWAYS_FINE = 10_000_000  # bytes; no ratio makes a bomb of something this small
_SYSTEM = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$|desktop\.ini$|\.git/)", re.IGNORECASE)
_MASK = re.compile(r"(^|/)(masks?|segmentations?)/|_(segmentation|mask|superpixels)\.[a-z]+$", re.IGNORECASE)
_DRIVE = re.compile(r"^[A-Za-z]:")
_TORN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    ValueError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What an upload of pictures may cost.

    Attributes:
        max_files: Most files in one zip or folder.
        max_unpacked: Largest content of a zip after unpacking, in bytes.
        max_ratio: Largest unpacked size per packed byte; beyond it a zip counts as a bomb.
    """

    max_files: int = 200_000
    max_unpacked: int = 100_000_000_000
    max_ratio: int = 100


@dataclass(frozen=True, slots=True)
class PictureFile:
    """One picture as it lies in an upload.

    Attributes:
        upload: Name of the zip, folder or group of loose files.
        path: Its path in there, with "/"; the bare name for loose files.
        place: The file on disk: the picture itself, or the zip.
        member: Its name in the zip, or None.
    """

    upload: str
    path: str
    place: Path
    member: str | None = None

    @property
    def stem(self) -> str:
        """Name without folders and ending."""
        return PurePosixPath(self.path).stem


@dataclass
class Sources:
    """Everything that was found. Zips stay open until `close`.

    Attributes:
        pictures: Pictures in upload order, masks left out.
        tables: (name, path on disk) of files that may be metadata.
        uploads: Name -> (path on disk, "zip", "folder" or "pictures") of what was dropped.
        masks: Pictures left out because they are masks.
        others: Paths of files that are neither pictures nor tables.
    """

    pictures: list[PictureFile] = field(default_factory=list)
    tables: list[tuple[str, Path]] = field(default_factory=list)
    uploads: dict[str, tuple[Path, str]] = field(default_factory=dict)
    masks: int = 0
    others: list[str] = field(default_factory=list)
    _zips: dict[Path, zipfile.ZipFile] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def read(self, picture: PictureFile) -> bytes:
        """Return the bytes of a picture.

        Raises:
            MedbenchError: It is too large, or its zip is damaged there.
        """
        try:
            if picture.member is None:
                _small_enough(picture.place.stat().st_size, picture.path)
                return picture.place.read_bytes()
            member = self._zips[picture.place].getinfo(picture.member)
            _small_enough(member.file_size, picture.path)
            return self._zips[picture.place].read(member)
        except _TORN as error:
            found = f"{picture.path!r}, which is damaged ({error})"
            raise MedbenchError("a whole picture", found, "Copy it from its source again.") from None

    def close(self) -> None:
        """Close the zips."""
        self._stack.close()

    def __enter__(self) -> Sources:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the zips."""
        self.close()


def open_sources(files: Sequence[tuple[Path, str]], work: Path, limits: PictureLimits | None = None) -> Sources:
    """Look through uploads.

    Args:
        files: (path, name the user knows it by) of zips, folders, pictures and tables.
        work: An own folder for copies of tables that lie in zips.
        limits: What they may cost.

    Raises:
        MedbenchError: A file does not exist, a zip is damaged, encrypted, a bomb or names paths outside itself, or
            nothing in it all is a picture.
    """
    limits, sources = limits or PictureLimits(), Sources()
    try:
        for path, name in files:
            _add(sources, path, name, work, limits)
    except BaseException:
        sources.close()
        raise
    if not sources.pictures:
        sources.close()
        raise MedbenchError(
            "pictures (JPEG, PNG, TIFF, WebP, GIF, BMP) in a zip, a folder or beside a table",
            "none in " + ", ".join(repr(name) for _, name in files[:3]),
            "Add the zip or the folder with the pictures.",
        )
    return sources


def _add(sources: Sources, path: Path, name: str, work: Path, limits: PictureLimits) -> None:
    lower = name.lower()
    if not path.exists():
        raise MedbenchError("a zip, a folder, pictures or a table", f"no file {name!r}", "Check the path.")
    if path.is_dir():
        name = _free(name, sources.uploads)
        sources.uploads[name] = (path, "folder")
        for inner in _walk(path, limits):
            if inner.lower().endswith(".zip"):
                _add_zip(sources, path / inner, _free(inner, sources.uploads), work, limits)
            else:
                _sort(sources, PictureFile(name, inner, path / inner))
    elif lower.endswith((*ENDINGS, *FOREIGN)):
        sources.uploads.setdefault(LOOSE, (path, "pictures"))
        sources.pictures.append(PictureFile(LOOSE, name, path))
    elif not lower.endswith(TABLES) and zipfile.is_zipfile(path):
        _add_zip(sources, path, _free(name, sources.uploads), work, limits)
    elif lower.endswith(".zip"):
        raise MedbenchError("a zip file", f"{name!r}, which is damaged or none", "Make the zip again.")
    else:
        sources.tables.append((name, path))


def _free(name: str, taken: Mapping[str, object]) -> str:
    free, number = name, 2
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _walk(root: Path, limits: PictureLimits) -> Iterator[str]:
    """Yield the files under a folder, sorted, as paths with "/"; links are not followed."""
    count = 0
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(one for one in inside if not one.startswith("."))
        for name in sorted(names):
            place = Path(folder) / name
            if not place.is_symlink() and place.is_file():
                count += 1
                if count > limits.max_files:
                    _too_many(root.name, limits)
                yield place.relative_to(root).as_posix()


def _too_many(name: str, limits: PictureLimits) -> None:
    raise OversizedError(f"at most {limits.max_files:,} files", f"more in {name!r}", "Import it in parts.")


def _add_zip(sources: Sources, path: Path, name: str, work: Path, limits: PictureLimits) -> None:
    try:
        opened = sources._stack.enter_context(zipfile.ZipFile(path))
        members = opened.infolist()
    except _TORN as error:
        raise MedbenchError("a whole zip file", f"{name!r}, which is damaged ({error})", "Make it again.") from None
    _sane(members, name, path.stat().st_size, limits)
    sources.uploads[name] = (path, "zip")
    sources._zips[path] = opened
    for member in members:
        linked = stat.S_ISLNK(member.external_attr >> 16)
        if not member.is_dir() and not linked:
            _sort(sources, PictureFile(name, member.filename, path, member.filename), work)


def _sane(members: Sequence[zipfile.ZipInfo], name: str, packed: int, limits: PictureLimits) -> None:
    """Refuse a zip by its directory, before anything is unpacked."""
    if len(members) > limits.max_files:
        _too_many(name, limits)
    for member in members:
        inner = member.orig_filename.replace("\\", "/")
        if inner.startswith("/") or _DRIVE.match(inner) or ".." in inner.split("/") or "\0" in inner:
            found = f"{member.orig_filename[:80]!r} in {name!r}"
            raise MedbenchError("a zip whose files stay inside it", found, "Make the zip again from a plain folder.")
        if member.flag_bits & 1:
            raise MedbenchError("a zip without a password", f"{name!r}, which is encrypted", "Unpack it first.")
    total = sum(member.file_size for member in members)
    if total > limits.max_unpacked or total > max(_ALWAYS_FINE, packed * limits.max_ratio):
        found = f"{packed / 1e6:,.1f} MB that unpack to {total / 1e6:,.0f} MB in {name!r}"
        most = min(limits.max_unpacked, max(_ALWAYS_FINE, packed * limits.max_ratio))
        raise OversizedError(f"a zip that unpacks to at most {most / 1e6:,.0f} MB", found, "Import it in parts.")


def _sort(sources: Sources, found: PictureFile, work: Path | None = None) -> None:
    """Put a file with the pictures, the tables or the others."""
    lower = found.path.lower()
    if _SYSTEM.search(found.path):
        return
    if lower.endswith((*ENDINGS, *FOREIGN)):
        if _MASK.search(found.path):
            sources.masks += 1
        else:
            sources.pictures.append(found)
    elif lower.endswith(TABLES) and len(sources.tables) < _MANY_TABLES:
        place = found.place if found.member is None or work is None else _copied(sources, found, work)
        sources.tables.append((PurePosixPath(found.path).name, place))
    else:
        sources.others.append(found.path)


def _copied(sources: Sources, found: PictureFile, work: Path) -> Path:
    """Copy a table out of a zip, under a number and its ending."""
    ending = next(one for one in TABLES[::-1] if found.path.lower().endswith(one))
    place = work / f"table-{len(sources.tables)}{ending}"
    work.mkdir(parents=True, exist_ok=True)
    place.write_bytes(sources.read(found))
    return place


def _small_enough(size: int, name: str) -> None:
    if size > MAX_BYTES:
        expected = f"files of at most {MAX_BYTES / 1e6:,.0f} MB"
        raise OversizedError(expected, f"{size / 1e6:,.0f} MB in {name!r}", "Make it smaller.")
