"""The shelf of readers: how an upload becomes records, and how answers go back out in the same format.

One file per format; the folder is the registry (`READER = ...` in each module). A reader streams, keeps good records
when others are bad, and says of every record whether it was read, repaired or refused and why.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal

from medbench.errors import MedbenchError
from medbench.readers._decoding import TornError
from medbench.readers._source import Limits, Source
from medbench.records import Record, Role

__all__ = [
    "ADDITIONS",
    "Account",
    "Limits",
    "Reader",
    "Source",
    "account",
    "all_readers",
    "get_reader",
    "open_source",
]

# What callers may add to a record on its way out. Labels are ";"-separated, scores are "label=0.93;other=0.41", a
# conformal set is its labels, each with the share of its measured items whose set held it.
ADDITIONS = (
    "medbench_labels",
    "medbench_groups",
    "medbench_scores",
    "medbench_set",
    "medbench_set",
    "medbench_model",
    "medbench_flags",
    "medbench_promise",
)
ENTRIES_KEPT = 10_000


class Reader(ABC):
    """One file format.

    Attributes:
        name: Machine name, also the module's name.
        title: What the user reads.
        extensions: File name endings it usually has, best first, lower-case with the dot.
        writes: False when answers cannot go back out in this format; callers then write CSV.
        roles: For each role the field names (lower-case) that carry it in this format, best first.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]]
    writes: ClassVar[bool] = True
    roles: ClassVar[Mapping[Role, tuple[str, ...]]]

    @abstractmethod
    def sniff(self, head: bytes, name: str) -> float:
        """Return how surely these first bytes (unpacked, UTF-8, no byte order mark) are of this format, 0-1."""

    @abstractmethod
    def records(self, source: Source) -> Iterator[Record]:
        """Yield every record of the file; what readers implement and `read` guards."""

    def prepare(self, source: Source) -> Source:
        """Return the source with what this format must know before reading (delimiter, sheet, notices)."""
        return source

    def read(self, source: Source) -> Iterator[Record]:
        """Yield every record in file order; a bad one carries `refused`, a mended one `repairs`.

        Raises:
            MedbenchError: When the file holds no record at all, more than `max_records`, or unpacks beyond the limits.
        """
        count = 0
        for record in self._until_torn(source):
            count += 1
            if count > source.limits.max_records:
                raise MedbenchError(
                    f"at most {source.limits.max_records:,} records in one file",
                    f"more in {source.name!r}",
                    "Split the file and import the parts.",
                )
            yield record
        if not count:
            raise MedbenchError(
                f"at least one record in the {self.title} file {source.name!r}",
                "none",
                "Export it again and look at it in a text editor.",
            )

    def _until_torn(self, source: Source) -> Iterator[Record]:
        """Yield what comes before a damaged place in a compressed file, and a refused record for the rest."""
        line = 0
        try:
            for record in self.records(source):
                line = record.line
                yield record
        except TornError as error:
            yield Record(line + 1, {}, refused=f"the compressed file is damaged from here on ({error.found})")

    def write(self, rows: Iterable[tuple[Record, Mapping[str, str]]], out: BinaryIO, source: Source) -> None:
        """Write records in this format, each with its additions (keys of `ADDITIONS`, in any number).

        Refused records pass through unchanged and without additions where the format allows it.

        Args:
            rows: Records as `read` gave them, with their additions; taken one at a time.
            out: Where the bytes go; not closed.
            source: The file that the records came from (its delimiter, encoding mark, sheet name, document head).

        Raises:
            MedbenchError: When this format cannot be written.
        """
        raise MedbenchError(
            "a format that answers can be written to", f"{self.title} ({source.name!r})", "Write CSV instead."
        )


@cache
def all_readers() -> dict[str, Reader]:
    """Return every reader in this folder by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}").READER for name in names}


def get_reader(name: str) -> Reader:
    """Return the reader called `name`. Raises MedbenchError when there is none."""
    try:
        return all_readers()[name]
    except KeyError:
        raise MedbenchError(
            f"one of the formats {', '.join(all_readers())}", repr(name), "Choose one of these."
        ) from None


def open_source(path: Path, name: str | None = None, limits: Limits | None = None) -> tuple[Reader, Source]:
    """Look at an upload: what format it is, by content, and how its bytes become text.

    Args:
        path: Where the bytes lie.
        name: What the user called the file; the name of `path` when None.
        limits: What the file may cost.

    Returns:
        The reader for it, and the source to hand to `reader.read`.

    Raises:
        MedbenchError: When there is no file, it is empty, too large, or of no format that medbench reads.
    """
    from medbench.readers._recognising import recognise

    return recognise(path, name or path.name, limits or Limits(), all_readers())


@dataclass(slots=True)
class Account:
    """What became of every record of a file. The three counts add up to all records.

    Attributes:
        read: Records read as they stand.
        repaired: Records read after something was mended.
        refused: Records that cannot be used.
        entries: (line, "repaired" or "refused", reason) of the first 10,000 such records.
    """

    read: int = 0
    repaired: int = 0
    refused: int = 0
    entries: list[tuple[int, Literal["repaired", "refused"], str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All records of the file."""
        return self.read + self.repaired + self.refused

    @property
    def usable(self) -> int:
        """Records read or repaired."""
        return self.read + self.repaired

    def add(self, record: Record) -> None:
        """Count one record."""
        if record.refused is not None:
            self.refused += 1
            self._note(record.line, "refused", record.refused)
        elif record.repairs:
            self.repaired += 1
            self._note(record.line, "repaired", "; ".join(record.repairs))
        else:
            self.read += 1

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass records through and count them on the way."""
        for record in records:
            self.add(record)
            yield record

    def _note(self, line: int, status: Literal["repaired", "refused"], reason: str) -> None:
        if len(self.entries) < ENTRIES_KEPT:
            self.entries.append((line, status, reason))


def account(records: Iterable[Record]) -> Account:
    """Count what became of these records; reads them to the end."""
    result = Account()
    for record in records:
        result.add(record)
    return result
