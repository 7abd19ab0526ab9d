"""The code tables on disk: built once per machine into a cache folder, then read.

    <cache>/codes/<key>/codes.parquet    version, code, text, level, billable, extended, parent, end
    <cache>/codes/<key>/notes.parquet    row, kind, note; sorted by row
    <cache>/codes/<key>/gem.parquet      ICD-9-CM → ICD-10-CM: source, target, flags
    <cache>/codes/<key>/ccsr.parquet     code, category
    <cache>/codes/<key>/tables.json      releases and ranges; the folder is complete when it is there

The key names the format and the source files, so an updated package builds a folder of its own. One process builds
under a lock into a hidden folder, which is renamed when it is whole; others wait for it and then find it.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, overload

import numpy as np
import numpy.typing as npt

from medbench.codes_naming import VERSIONS, Level, Version
from medbench.codes_reading import Rows, read, sources
from medbench.workspace import cache_folder, read_json, undamaged, write_json

LEVELS: tuple[Level, ...] = get_args(Level)
_FORMAT = "2"
_CARD = "tables.json"


class Strings:
    """A column of strings that are decoded when they are asked for: 200,000 at once would take half a second."""

    def __init__(self, held: bytes, places: npt.NDArray[np.int32]) -> None:
        """Take the characters (UTF-8) and the (n + 1,) positions where strings begin."""
        self._held, self._places = held, places

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        """Return one string, or the strings of a slice with step 1."""
        if isinstance(at, int):
            return self._held[self._places[at] : self._places[at + 1]].decode()
        begin, end, _ = at.indices(len(self))
        ends = self._places[begin : end + 1].tolist()
        return [self._held[here:there].decode() for here, there in pairwise(ends)]


class Store:
    """The files of one key. Small columns are read at once, texts and notes when they are asked for.

    Attributes:
        level: (n,) int8, position in `LEVELS`.
        billable: (n,) bool.
        extended: (n,) bool, codes that are another one with its seventh character added.
        parent: (n,) int32, row of the parent or -1.
        end: (n,) int32, first row that is no descendant.
        ranges: Version -> (first row, one past the last).
        releases: Version -> release.
        folder: Where the files lie; other things derived from the tables are kept there, too.
    """

    def __init__(self, folder: Path) -> None:
        """Read the small columns. Raises MedbenchError when a file is damaged."""
        self.folder = folder
        with undamaged(folder, "code table"):
            card = read_json(folder / _CARD)
            self.releases: dict[str, str] = card["releases"]
            self.ranges: dict[Version, tuple[int, int]] = {name: tuple(card["ranges"][name]) for name in VERSIONS}
            self.level: npt.NDArray[np.int8] = self.numbers("codes", "level", np.int8)
            self.billable: npt.NDArray[np.bool_] = self.numbers("codes", "billable", np.int8).astype(bool)
            self.extended: npt.NDArray[np.bool_] = self.numbers("codes", "extended", np.int8).astype(bool)
            self.parent: npt.NDArray[np.int32] = self.numbers("codes", "parent", np.int32)
            self.end: npt.NDArray[np.int32] = self.numbers("codes", "end", np.int32)

    def _column(self, name: str, column: str) -> Any:
        from pyarrow import parquet

        # ParquetFile and raw buffers, because read_table and to_numpy import a query engine and pandas first.
        table = parquet.ParquetFile(self.folder / f"{name}.parquet", memory_map=True).read(columns=[column])
        return table.column(column).combine_chunks()

    def numbers(self, name: str, column: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
        """Return a column of the file `<folder>/<name>.parquet`, which holds numbers of this type."""
        found = self._column(name, column)
        return np.frombuffer(found.buffers()[1], dtype=dtype)[found.offset : found.offset + len(found)]

    @cached_property
    def codes(self) -> Strings:
        """Every row's code as printed."""
        return self.strings("codes", "code")

    @cached_property
    def texts(self) -> Strings:
        """Every row's text."""
        return self.strings("codes", "text")

    def strings(self, name: str, column: str) -> Strings:
        """Return a column of the file `<folder>/<name>.parquet`. Raises MedbenchError when it is damaged."""
        with undamaged(self.folder, "code table"):
            found = self._column(name, column)
            _, places, characters = found.buffers()
            places = np.frombuffer(places, dtype=np.int32)[found.offset : found.offset + len(found) + 1]
            return Strings(characters.to_pybytes(), places)

    def _listed(self, name: str, column: str) -> list[str]:
        return self.strings(name, column)[:]

    @cached_property
    def _notes(self) -> tuple[list[int], list[str], list[str]]:
        rows: list[int] = self.numbers("notes", "row", np.int32).tolist()
        return rows, self._listed("notes", "kind"), self._listed("notes", "note")

    def notes_at(self, row: int) -> Iterator[tuple[str, str]]:
        """Yield (kind, note) of the notes at a row, in print order."""
        rows, kinds, notes = self._notes
        for at in range(bisect_left(rows, row), bisect_right(rows, row)):
            yield kinds[at], notes[at]

    def all_notes(self) -> Iterator[tuple[int, str, str]]:
        """Yield (row, kind, note) of all notes."""
        return zip(*self._notes, strict=True)

    @cached_property
    def _gem(self) -> dict[str, list[tuple[str, str]]]:
        held: dict[str, list[tuple[str, str]]] = {}
        columns = (self._listed("gem", name) for name in ("source", "target", "flags"))
        for source, target, flags in zip(*columns, strict=True):
            held.setdefault(source, []).append((target, flags))
        return held

    def gem(self, code: str) -> list[tuple[str, str]]:
        """Return (ICD-10-CM code, flags) that the mapping offers for an ICD-9-CM code; all undotted.

        The five flags are: approximate, no map, combination, scenario, choice list (CMS's guide to the mappings).
        """
        return [(target, flags) for target, flags in self._gem.get(code, []) if flags[1] != "1"]

    def gem_pairs(self) -> Iterator[tuple[str, str]]:
        """Yield every (ICD-9-CM code, ICD-10-CM code) of the mapping, undotted."""
        return ((source, target) for source in self._gem for target, _ in self.gem(source))

    @cached_property
    def _gem_back(self) -> dict[str, list[tuple[str, str]]]:
        held: dict[str, list[tuple[str, str]]] = {}
        for source in self._gem:
            for target, flags in self.gem(source):
                held.setdefault(target, []).append((source, flags))
        return held

    def gem_back(self, code: str) -> list[tuple[str, str]]:
        """Return (ICD-9-CM code, flags) of what the mapping leads to an ICD-10-CM code; all undotted."""
        return self._gem_back.get(code, [])

    @cached_property
    def _ccsr(self) -> dict[str, str]:
        return dict(zip(self._listed("ccsr", "code"), self._listed("ccsr", "category"), strict=True))

    def ccsr(self, code: str) -> str | None:
        """Return the CCSR category of an undotted ICD-10-CM code."""
        return self._ccsr.get(code)


def open_store() -> Store:
    """Return the store of the installed packages, building it when it is not there yet."""
    found = sources()
    key = hashlib.sha256("".join(f"{path.name} {path.stat().st_size};" for path in found).encode()).hexdigest()[:12]
    folder = cache_folder("codes") / f"{_FORMAT}-{key}"
    build_once(folder, _CARD, lambda place: _write(place, read()))
    return Store(folder)


def build_once(folder: Path, card: str, build: Callable[[Path], None]) -> None:
    """Make a folder unless it is whole: one process builds beside it under a lock, the others wait.

    Args:
        folder: Where it shall lie.
        card: Name of the file whose presence says that the folder is whole.
        build: Writes all files, the card last, into the folder it is given.
    """
    if (folder / card).exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / card).exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        place = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            build(place)
            place.chmod(0o755)
            place.rename(folder)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _write(folder: Path, rows: Rows) -> None:
    n = len(rows.code)
    end = np.arange(1, n + 1, dtype=np.int32)
    for row in range(n - 1, -1, -1):  # children stand after their parent: each has its own end by now
        if rows.parent[row] >= 0:
            end[rows.parent[row]] = max(end[rows.parent[row]], end[row])
    write_columns(
        folder / "codes.parquet",
        version=rows.version,
        code=rows.code,
        text=rows.text,
        level=np.array([LEVELS.index(level) for level in rows.level], dtype=np.int8),
        billable=np.array(rows.billable, dtype=np.int8),
        extended=np.array(rows.extended, dtype=np.int8),
        parent=np.array(rows.parent, dtype=np.int32),
        end=end,
    )
    write_columns(
        folder / "notes.parquet", row=np.array(rows.note_row, dtype=np.int32), kind=rows.note_kind, note=rows.note
    )
    source, target, flags = zip(*rows.gem, strict=True)
    write_columns(folder / "gem.parquet", source=source, target=target, flags=flags)
    codes, categories = zip(*rows.ccsr, strict=True)
    write_columns(folder / "ccsr.parquet", code=codes, category=categories)
    ranges = {name: [rows.version.index(name), n - rows.version[::-1].index(name)] for name in VERSIONS}
    write_json(folder / _CARD, {"releases": rows.releases, "ranges": ranges, "rows": n})


def write_columns(path: Path, **columns: Any) -> None:
    """Write a Parquet file of columns."""
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({name: pyarrow.array(column) for name, column in columns.items()}), path)
