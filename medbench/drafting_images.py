"""Uploaded pictures become a draft: read once, accounted for, made small and clean, judged. Nothing is saved yet."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medbench.drafting import Draft, Tell
from medbench.errors import MedbenchError
from medbench.picture_facts import clean_fact, fact_columns
from medbench.picture_layouts import Layout, PictureRow, lay_out
from medbench.picture_sources import PictureFile, PictureLimits, Sources, open_sources
from medbench.pictures import Opened, look_at, perceptual_hash, pixel_hash, small_grey
from medbench.readers import Account
from medbench.records import Record
from medbench.verdict_pictures import Seen, judge_pictures, pictures_word

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 640
"""Longest side of a stored picture, in pixels."""
QUALITY = 95
PICTURES = "Pictures"
"""How the format of a source of pictures begins, on a dataset's card."""
_READING, _JUDGING = 0.05, 0.95
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_STEM_LENGTH = 80


@dataclass
class _Kept:
    """What came of the pictures that could be read, row by row."""

    rows: list[PictureRow] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    pixels: list[str] = field(default_factory=list)
    perceptual: list[int] = field(default_factory=list)
    small: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    names: set[str] = field(default_factory=set)


def draft_images(
    files: Sequence[tuple[Path, str]],
    *,
    task_name: str,
    clean_label: Callable[[str], str],
    label_name: Callable[[str], str] | None = None,
    columns: Mapping[str, str] | None = None,
    limits: PictureLimits | None = None,
    say: Tell | None = None,
    keep: Path,
) -> Draft:
    """Read pictures and their tables, store the pictures small and without metadata, and judge the whole.

    Args:
        files: (path, name the user knows it by) of zips, folders, pictures and tables.
        task_name: The task's name, kept with the dataset.
        clean_label: The task's one spelling of a label.
        label_name: What the user reads for a label.
        columns: Role (id, labels, group, split) -> column chosen by the user; the others are guessed.
        limits: What an upload may cost.
        say: Told (share done 0-1, sentence) on the way.
        keep: An own folder, in which `pictures/` holds the stored pictures; it must outlive the draft.

    Raises:
        MedbenchError: No file, a zip that is not safe, a column that is not there, or no usable picture at all.
    """
    tell: Tell = say or (lambda share, sentence: None)
    if not files:
        raise MedbenchError("at least one file", "none", "Drop a zip with pictures and their table.")
    tell(0.0, "Looking through the files.")
    folder = keep / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    with open_sources(files, keep / "tables", limits) as sources:
        tell(0.02, f"{pictures_word(len(sources.pictures))} found. Reading the tables.")
        layout = lay_out(sources, clean_label, columns)
        accounts = {name: Account() for name in dict.fromkeys(one.upload for one in sources.pictures)}
        kept, digests = _store_all(sources, layout, accounts, folder, tell)
        if not kept.rows:
            raise _nothing_usable(accounts)
        cards = _source_cards(sources, layout, accounts, digests)
    tell(_JUDGING, "Looking for duplicates, conflicts and leaks.")
    return _drafted(kept, layout, accounts, cards, task_name, label_name or str, folder)


def _nothing_usable(accounts: Mapping[str, Account]) -> MedbenchError:
    reasons = [entry[2] for account in accounts.values() for entry in account.entries]
    return MedbenchError(
        "at least one picture that can be read",
        f"none; the first reason: {reasons[0]}" if reasons else "none",
        "Save them as JPEG or PNG and try again.",
    )


def _store_all(
    sources: Sources, layout: Layout, accounts: Mapping[str, Account], folder: Path, tell: Tell
) -> tuple[_Kept, dict[str, str]]:
    """Read, measure and store every picture; returns what was kept, and upload -> sha256 over its pictures."""
    kept, total = _Kept(), len(layout.rows)
    digests = {name: hashlib.sha256() for name in accounts}
    step = max(1, total // 100)
    for at, row in enumerate(layout.rows):
        if at % step == 0:
            tell(_READING + (_JUDGING - _READING) * at / total, f"Picture {at + 1:,} of {total:,}.")
        picture, account = row.picture, accounts[row.picture.upload]
        line = account.total + 1
        try:
            content = sources.read(picture)
            digests[picture.upload].update(f"{picture.path}\0{len(content)}\0".encode())
            digests[picture.upload].update(content)
            opened = look_at(content, picture.path, at_least=LONGEST)
        except MedbenchError as error:
            account.add(Record(line, {}, refused=f"expected {error.expected}, found {error.found}"))
            continue
        mended = tuple(f"{picture.path}: {note}" for note in opened.notes)
        account.add(Record(line, {}, repairs=mended))
        _keep(kept, row, opened, line, folder)
    return kept, {name: digest.hexdigest() for name, digest in digests.items()}


def _keep(kept: _Kept, row: PictureRow, opened: Opened, line: int, folder: Path) -> None:
    name = _free_name(row.picture, kept.names)
    kept.done.update(opened.notes)
    kept.done["gps"] += opened.has_gps
    kept.done["exif"] += opened.has_exif
    kept.done["smaller"] += _store(opened, folder / name)
    kept.rows.append(row)
    kept.files.append(name)
    kept.lines.append(line)
    kept.pixels.append(pixel_hash(opened.image))
    kept.perceptual.append(perceptual_hash(opened.image))
    kept.small.append(small_grey(opened.image))
    kept.sizes.append(opened.size)


def _free_name(picture: PictureFile, taken: set[str]) -> str:
    """Return a safe file name that no other picture has, upper and lower case taken as the same."""
    stem = _UNSAFE.sub("_", picture.stem)[:_STEM_LENGTH].strip("_") or "picture"
    free, number = stem, 2
    while free.lower() in taken:
        free, number = f"{stem}_{number}", number + 1
    taken.add(free.lower())
    return f"{free}.jpg"


def _store(opened: Opened, path: Path) -> bool:
    """Write a picture as JPEG without any metadata; returns whether it was made smaller.

    A JPEG that is neither turned nor made smaller keeps its own tables, which loses next to nothing.
    """
    from PIL import Image

    image = opened.image
    smaller = max(image.size) > LONGEST
    if smaller:
        scale = LONGEST / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    as_it_was = image.format == "JPEG" and image.size == opened.size
    image.info = {}
    if as_it_was:
        image.save(path, "JPEG", quality="keep")
    else:
        image.save(path, "JPEG", quality=QUALITY, subsampling=0)
    return smaller or image.size not in (opened.size, opened.size[::-1])


def _cleaning(kept: _Kept) -> list[str]:
    """Return one sentence per step that changed pictures."""
    done, n = kept.done, len(kept.rows)
    said = [f"Stored {pictures_word(n)} as JPEG without EXIF or any other data about camera, place or person."]
    if done["exif"]:
        said.append(f"Removed EXIF from {pictures_word(done['exif'])}; {done['gps']:,} told where it was taken (GPS).")
    if done["smaller"]:
        said.append(f"Made {pictures_word(done['smaller'])} smaller, to {LONGEST} pixels on the longer side.")
    told = {note: count for note, count in done.items() if note not in ("exif", "gps", "smaller") and count}
    return said + [f"{note[:1].upper()}{note[1:]}: {pictures_word(count)}." for note, count in told.items()]


def _source_cards(
    sources: Sources, layout: Layout, accounts: Mapping[str, Account], digests: Mapping[str, str]
) -> list[dict[str, Any]]:
    cards = []
    for name, account in accounts.items():
        path, kind = sources.uploads[name]
        size = sum(one.place.stat().st_size for one in sources.pictures if one.upload == name)
        cards.append(
            _card(name, digests[name], f"{PICTURES} ({kind})", path.stat().st_size if kind == "zip" else size, account)
        )
    for name, account in layout.accounts.items():
        content = layout.tables[name].read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        cards.append(_card(name, digest, layout.formats[name], len(content), account))
    return cards


def _card(name: str, digest: str, form: str, size: int, account: Account) -> dict[str, Any]:
    counts = {"read": account.read, "repaired": account.repaired, "refused": account.refused}
    return {"name": name, "sha256": digest, "format": form, "encoding": "", "bytes": size, **counts}


def _drafted(
    kept: _Kept,
    layout: Layout,
    accounts: Mapping[str, Account],
    cards: list[dict[str, Any]],
    task_name: str,
    label_name: Callable[[str], str],
    folder: Path,
) -> Draft:
    import pandas as pd

    frame = _framed(kept)
    labels = tuple(sorted({row.label for row in kept.rows if row.label}))
    named = {label: label_name(label) for label in labels}
    patients = [row.patient for row in kept.rows]
    seen = Seen(kept.pixels, kept.perceptual, np.stack(kept.small), kept.sizes, patients)
    judged = judge_pictures(frame, labels, named, seen)
    frame["cluster"] = pd.Series(judged.clusters, dtype="object")
    first = next(iter(layout.accounts or accounts))
    return Draft(
        frame=frame,
        account={**accounts, **layout.accounts},
        cleaning=_cleaning(kept),
        mappings={first: layout.mapping},
        notices=layout.notices,
        findings=judged.findings,
        task=task_name,
        answer="one",
        labels=labels,
        label_names=named,
        sources=cards,
        profile=judged.profile,
        item="image",
        pictures=folder,
    )


def _framed(kept: _Kept) -> pd.DataFrame:
    import pandas as pd

    rows = kept.rows
    table: dict[str, list[Any]] = {
        "id": [name.removesuffix(".jpg") for name in kept.files],
        "title": [""] * len(rows),
        "text": [""] * len(rows),
        "labels": [[row.label] if row.label else [] for row in rows],
        "labelled": [bool(row.label) for row in rows],
        "group": [row.group for row in rows],
        "cluster": [""] * len(rows),
        "split": [row.split for row in rows],
        "source": [row.picture.upload for row in rows],
        "line": list(kept.lines),
        "image": [f"images/{name}" for name in kept.files],
        "pixels": list(kept.pixels),
    }
    columns = list(dict.fromkeys(name for row in rows for name in row.extra))
    facts = {column: fact for fact, column in fact_columns(columns).items()}
    for name in columns:
        cells = [row.extra.get(name, "") for row in rows]
        table[f"x_{name}"] = [clean_fact(facts[name], cell) for cell in cells] if name in facts else cells
    kinds = {"labelled": "bool", "line": "int64"}
    return pd.DataFrame({name: pd.Series(cells, dtype=kinds.get(name, "object")) for name, cells in table.items()})
