"""Dictionaries of terms that users bring: kept in the workspace, looked up by words in any order.

`data/dictionaries/<id>/` holds
    terms.parquet     key (the words of a term, see `codes_search.key_of`), term (as written when it is an
                      abbreviation, whose capitals count), id, name
    dictionary.json   the card; written last
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from medbench.codes_search import key_of
from medbench.codes_words import words
from medbench.errors import MedbenchError
from medbench.terms_reading import Listed
from medbench.workspace import Workspace, checked_id, read_cards, read_json, undamaged, write_json

VERSION = 1
_NEEDED = ("id", "name", "concepts", "terms")
_ABBREVIATION = re.compile(r"[A-Z0-9][A-Z0-9-]{1,5}")
_LONGEST = 8  # words of a term that can be found


@dataclass(frozen=True, slots=True)
class Concept:
    """What a mention means in one source.

    Attributes:
        id: Its number there: "icd10cm:I21.9", "D009203".
        name: Its preferred name.
        source: "ICD-10-CM", the name of a dictionary, "labels of the model", or a scispaCy model.
    """

    id: str
    name: str
    source: str


@dataclass(frozen=True)
class Dictionary:
    """Terms in memory.

    Attributes:
        name: What a reader is told of the source.
        held: Key -> (term that has to stand there as written, or "", id, name), several for an ambiguous one.
    """

    name: str
    held: Mapping[str, tuple[tuple[str, str, str], ...]]

    def knows(self, key: str) -> bool:
        """Return whether some words are a term."""
        return key in self.held

    def concepts(self, key: str, written: str) -> list[Concept]:
        """Return what some words mean; an abbreviation means something only when written as one."""
        fitting = [one for one in self.held.get(key, ()) if one[0] in ("", written)]
        return [Concept(number, name, self.name) for _, number, name in fitting]


def made(name: str, listed: Iterable[Listed]) -> Dictionary:
    """Return the dictionary of some concepts; terms of one short or empty word, or of too many, are left out."""
    held: dict[str, dict[tuple[str, str, str], None]] = {}
    for one in listed:
        for term in one.terms:
            if key := _key(term):
                exact = term if _ABBREVIATION.fullmatch(term) else ""
                held.setdefault(key, {})[exact, one.id, one.name] = None
    return Dictionary(name, {key: tuple(found) for key, found in held.items()})


def _key(term: str) -> str:
    key = key_of(words(term))
    fine = key and not key.replace(" ", "").isdigit() and key.count(" ") < _LONGEST
    return key if fine and (" " in key or len(key) > 2) else ""


# --- in the workspace ------------------------------------------------------------------------------------------


def keep(workspace: Workspace, dictionary: Dictionary, source: str) -> dict[str, Any]:
    """Keep a dictionary under its name, in place of one of that name; return its card.

    Raises:
        MedbenchError: The name is empty, or nothing in the list can be found in a text.
    """
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    slug = re.sub(r"[^a-z0-9]+", "-", dictionary.name.lower()).strip("-")[:60]
    rows = [(key, *one) for key, found in dictionary.held.items() for one in found]
    if not slug or not rows:
        found = "no name" if not slug else "no term of words"
        raise MedbenchError("a named dictionary with terms", found, "Give it a name, and a list with terms.")
    card = {
        "version": VERSION,
        "id": slug,
        "name": dictionary.name,
        "source": source,
        "concepts": len({row[2] for row in rows}),
        "terms": len(rows),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    place = _folder(workspace)
    place.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=place, prefix=f".{slug}."))
    columns = list(zip(*rows, strict=True))
    table = arrow.table(dict(zip(("key", "term", "id", "name"), map(list, columns), strict=True)))
    parquet.write_table(table, building / "terms.parquet", compression="zstd")
    write_json(building / "dictionary.json", card)
    building.chmod(0o755)
    shutil.rmtree(place / slug, ignore_errors=True)
    building.rename(place / slug)
    return card


def cards(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the cards of the dictionaries that are kept, by name."""
    paths = [path for path in _folder(workspace).glob("*/dictionary.json") if not path.parent.name.startswith(".")]
    return sorted(read_cards(paths, _NEEDED), key=lambda card: str(card["name"]))


def load(workspace: Workspace, name: str) -> Dictionary:
    """Return a kept dictionary by its id or name. Raises MedbenchError when there is none or it is damaged."""
    known = {one for card in cards(workspace) for one in (card["id"],) if name in (card["id"], card["name"])}
    if not known:
        names = ", ".join(str(card["id"]) for card in cards(workspace)) or "none yet"
        raise MedbenchError("the name of a dictionary", repr(name), f"Dictionaries here: {names}.")
    path = _folder(workspace) / checked_id(known.pop())
    return _read(path, (path / "dictionary.json").stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(folder: Path, _changed: int) -> Dictionary:
    import pyarrow.parquet as parquet

    name = str(read_json(folder / "dictionary.json")["name"])
    with undamaged(folder, "dictionary"):
        table = parquet.read_table(folder / "terms.parquet")
        columns = [table[one].to_pylist() for one in ("key", "term", "id", "name")]
    held: dict[str, list[tuple[str, str, str]]] = {}
    for key, *one in zip(*columns, strict=True):
        held.setdefault(key, []).append((one[0], one[1], one[2]))
    return Dictionary(name, {key: tuple(found) for key, found in held.items()})


def remove(workspace: Workspace, name: str) -> None:
    """Delete a kept dictionary. Raises MedbenchError when there is none."""
    load(workspace, name)
    for card in cards(workspace):
        if name in (card["id"], card["name"]):
            shutil.rmtree(_folder(workspace) / str(card["id"]))


def _folder(workspace: Workspace) -> Path:
    return workspace.data / "dictionaries"
