"""Dropped files on their way to a dataset: kept in a folder of their own, looked at once, forgotten when done."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from medbench import mapping as mapping_of
from medbench.datasets import Preview, preview
from medbench.errors import MedbenchError
from medbench.readers import Reader, open_source
from medbench.records import ColumnMap
from medbench.workspace import Workspace

STALE_SECONDS = 24 * 3600
PDF = "pdf"
WITHOUT_ENCODING = (PDF, "workbook")


class Dropped(Protocol):
    """What Streamlit hands over for a dropped file."""

    name: str
    file_id: str
    size: int


@dataclass
class Look:
    """One file as it was found.

    Attributes:
        name: Its name, made unique.
        path: Where its bytes lie.
        reader: Its format.
        encoding: Its encoding, "" for formats that have none of their own.
        preview: Its first records and the guessed map.
    """

    name: str
    path: Path
    reader: Reader
    encoding: str
    preview: Preview


@dataclass
class Upload:
    """Files that were dropped together.

    Attributes:
        signature: Tells one set of files from another.
        folder: Where the bytes lie; removed by `forget`.
        looks: Files that can be read, in the order they came.
        refused: Name -> why a file cannot be read at all.
    """

    signature: str
    folder: Path
    looks: list[Look] = field(default_factory=list)
    refused: dict[str, MedbenchError] = field(default_factory=dict)

    def forget(self) -> None:
        """Delete the bytes."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Group:
    """Files of one shape, mapped together: tables with the same columns, or files of one tagged format."""

    key: str
    looks: list[Look]

    @property
    def first(self) -> Look:
        """The file whose rows are shown."""
        return max(self.looks, key=lambda look: look.preview.n_records)

    @property
    def columns(self) -> list[str]:
        """Every column of every file of the group, in the order of first sight."""
        seen: dict[str, None] = {}
        for look in [self.first, *self.looks]:
            seen.update(dict.fromkeys(look.preview.columns))
        return list(seen)

    @property
    def n_records(self) -> int:
        """Records looked at in all files of the group."""
        return sum(look.preview.n_records for look in self.looks)

    def maps(self, chosen: ColumnMap) -> dict[str, ColumnMap]:
        """Return file name -> the chosen map, as far as the file has its columns; files without text are left out."""
        fitted = {look.name: _fitted(chosen, look.preview) for look in self.looks}
        return {name: one for name, one in fitted.items() if one.title is not None or one.text is not None}

    def without_text(self, chosen: ColumnMap) -> dict[str, str]:
        """Return file name -> why it cannot be used with this map."""
        kept = self.maps(chosen)
        return {look.name: _why(look.preview) for look in self.looks if look.name not in kept}


def _why(look: Preview) -> str:
    """Return why a file gives nothing to classify: the reason of its first refused record, else its columns."""
    reasons = [record.refused for record in look.sample if record.refused is not None]
    if not look.columns and reasons:
        return f"no record can be used; the first reason: {reasons[0]}"
    return f"there is no title or text in it, only {', '.join(look.columns[:8])}"


def _fitted(chosen: ColumnMap, look: Preview) -> ColumnMap:
    """Return the map for one file: a column it lacks falls back to what was guessed for that file."""
    there = set(look.columns)
    roles = {
        role: column if column is None or column in there else getattr(look.mapping, role)
        for role in ("title", "text", "id", "group", "split")
        for column in [getattr(chosen, role)]
    }
    labels = tuple(column for column in chosen.labels if column in there)
    return replace(chosen, labels=labels, **roles)


def receive(
    workspace: Workspace, files: Sequence[tuple[Dropped, BinaryIO]], tell: Callable[[float, str], None]
) -> Upload:
    """Write dropped files to disk and look at each.

    Args:
        workspace: The folder is made under its data.
        files: The dropped files with their bytes.
        tell: Told (share done 0-1, sentence).
    """
    upload = Upload(signature_of([file for file, _ in files]), folder_for(workspace))
    taken: set[str] = set()
    for number, (file, data) in enumerate(files):
        name = _free_name(file.name, taken)
        tell(number / len(files), f"Looking at {name}.")
        path = upload.folder / f"{number:05d}"
        with path.open("wb") as out:
            shutil.copyfileobj(data, out, 1 << 20)
        _look(upload, path, name)
    return upload


def receive_path(workspace: Workspace, path: Path) -> Upload:
    """Look at a file that lies on disk already (a sample); it is copied, so that forgetting spares it."""
    upload = Upload(f"path:{path}:{path.stat().st_mtime_ns}", folder_for(workspace))
    copy = upload.folder / "00000"
    shutil.copyfile(path, copy)
    _look(upload, copy, path.name)
    return upload


def signature_of(files: Sequence[Dropped]) -> str:
    """Return what tells this set of dropped files from another."""
    return "|".join(file.file_id for file in files)


def _look(upload: Upload, path: Path, name: str) -> None:
    try:
        reader, source = open_source(path, name)
        found = preview(path, name)
    except MedbenchError as error:
        upload.refused[name] = error
        return
    encoding = "" if reader.name in WITHOUT_ENCODING else source.encoding
    upload.looks.append(Look(name, path, reader, encoding, found))


def folder_for(workspace: Workspace) -> Path:
    """Make a folder for one upload; folders that a closed browser left behind a day ago are removed."""
    place = workspace.data / "uploads"
    place.mkdir(parents=True, exist_ok=True)
    for old in place.iterdir():
        if old.is_dir() and old.stat().st_mtime < time.time() - STALE_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=place))


def _free_name(name: str, taken: set[str]) -> str:
    free, number = name, 2
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    taken.add(free)
    return free


def groups_of(upload: Upload) -> list[Group]:
    """Return the files in groups that share one map; PDFs are left out (see `pdf_rows`)."""
    found: dict[str, Group] = {}
    for look in upload.looks:
        if look.reader.name == PDF:
            continue
        tagged = any(record.order for record in look.preview.sample[:5])
        key = look.reader.title if tagged else f"{look.reader.title}|{'|'.join(look.preview.columns)}"
        found.setdefault(key, Group(key, [])).looks.append(look)
    return list(found.values())


def pdf_rows(upload: Upload) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Return the PDFs as rows to edit (file, title, text, labels), and name -> reason for those that cannot be used."""
    rows, refused = [], {}
    for look in upload.looks:
        if look.reader.name != PDF:
            continue
        for record in look.preview.sample:
            if record.refused is not None:
                refused[look.name] = record.refused
                continue
            text = record.first("abstract") or record.first("text")
            rows.append({"file": look.name, "title": record.first("title"), "text": text, "labels": ""})
    return rows, refused


def understood(look: Look, chosen: ColumnMap, clean_label: Callable[[str], str], count: int) -> list[dict[str, str]]:
    """Return the first rows as the map understands them, for showing."""
    sample = [record for record in look.preview.sample if record.refused is None][:count]
    rows = mapping_of.apply(chosen, sample, clean_label, look.reader.roles)
    return [
        {
            "line": str(row.line),
            "labels": " · ".join(row.labels),
            "title": row.title,
            "text": row.text,
            "id": row.id,
            "group": row.group,
            "split": row.split,
        }
        for row in rows
    ]
