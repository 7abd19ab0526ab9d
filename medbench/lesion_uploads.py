"""Dropped photographs, or zips of them, on their way to an answer: kept a day under the hash of their bytes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from medbench.errors import MedbenchError, OversizedError
from medbench.lesion_reading import Picture
from medbench.picture_facts import fact_columns, facts_of
from medbench.picture_layouts import lay_out
from medbench.picture_sources import PictureLimits, open_sources
from medbench.tasks import get_task
from medbench.uploads import folder_for
from medbench.workspace import Workspace

MOST = 2_000
"""Pictures that are answered at once; more are for the command line."""
LIMITS = PictureLimits(max_files=20_000, max_unpacked=4_000_000_000)
_HALF_NAME = 16  # bytes of the hash


@dataclass(frozen=True)
class Received:
    """Pictures that were dropped together.

    Attributes:
        folder: Where they lie; removed by `forget`, or a day later.
        pictures: In the order they came; age, sex and site where a table beside them tells.
        refused: Name -> why it could not be taken out of its zip.
    """

    folder: Path
    pictures: tuple[Picture, ...]
    refused: dict[str, str]

    def forget(self) -> None:
        """Delete the bytes."""
        shutil.rmtree(self.folder, ignore_errors=True)


def receive_pictures(
    workspace: Workspace,
    files: Sequence[tuple[str, BinaryIO]],
    tell: Callable[[float, str], None] | None = None,
    most: int = MOST,
) -> Received:
    """Write dropped pictures to disk; zips are held to limits before anything is unpacked.

    Args:
        workspace: The folder is made under its data.
        files: (name, bytes) of pictures, zips and metadata tables.
        tell: Told (share done 0-1, sentence).
        most: Pictures at most.

    Raises:
        MedbenchError: There is no picture among them, or a zip is damaged or hostile.
        OversizedError: There are too many.
    """
    folder = folder_for(workspace)
    try:
        return _received(folder, files, tell, most)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _received(
    folder: Path, files: Sequence[tuple[str, BinaryIO]], tell: Callable[[float, str], None] | None, most: int
) -> Received:
    raw = folder / "raw"
    raw.mkdir()
    dropped = []
    for number, (name, data) in enumerate(files):
        path = raw / f"{number:05d}"
        with path.open("wb") as out:
            shutil.copyfileobj(data, out, 1 << 20)
        dropped.append((path, PurePosixPath(name).name))
    pictures, refused = [], {}
    with open_sources(dropped, raw / "tables", LIMITS) as sources:
        if len(sources.pictures) > most:
            todo = "Use the command line: medbench predict MODEL FOLDER --out answers.csv."
            raise OversizedError(f"at most {most:,} pictures at once", f"{len(sources.pictures):,}", todo)
        layout = lay_out(sources, get_task("lesion").clean_label)
        columns = fact_columns(dict.fromkeys(name for row in layout.rows for name in row.extra))
        for number, row in enumerate(layout.rows):
            name = row.picture.path
            try:
                path = _kept(folder, sources.read(row.picture), name)
            except MedbenchError as error:
                refused[name] = str(error)
                continue
            pictures.append(Picture(path, name, facts_of(row.extra, columns)))
            if tell is not None:
                tell((number + 1) / len(layout.rows), f"Taking {name}.")
    shutil.rmtree(raw)
    return Received(folder, tuple(pictures), refused)


def _kept(folder: Path, content: bytes, name: str) -> Path:
    """Write a picture under its hash; equal ones are written once."""
    ending = PurePosixPath(name).suffix.lower()[:6]
    path = folder / f"{hashlib.blake2b(content, digest_size=_HALF_NAME).hexdigest()}{ending}"
    if not path.exists():
        path.write_bytes(content)
    return path
