"""An opened upload: where it lies, what it was called, how its bytes become text, and the limits it is held to."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from medbench.readers._decoding import TornError, Unpacked

_ALWAYS_FINE = 10_000_000  # bytes; no ratio makes a bomb of something this small


@dataclass(frozen=True, slots=True)
class Limits:
    """What an upload may cost.

    Attributes:
        max_bytes: Largest file as it lies on disk, in bytes.
        max_unpacked: Largest content after unpacking (.gz, .xlsx), in bytes.
        max_ratio: Largest unpacked size per packed byte; beyond it a file counts as a zip bomb.
        max_records: Most records read from one file.
    """

    max_bytes: int = 1_000_000_000
    max_unpacked: int = 4_000_000_000
    max_ratio: int = 200
    max_records: int = 5_000_000


@dataclass(frozen=True, slots=True)
class Source:
    """An upload that `open_source` has looked at. It holds no open file, so it can be kept and pickled.

    Attributes:
        path: Where the bytes lie.
        name: What the user called the file; used in sentences and to break ties, never trusted.
        encoding: Python codec name of the text; the codec swallows a byte order mark.
        limits: What the file may cost.
        bom: True when the file begins with a byte order mark.
        zipped: True when the file is gzip-compressed; `open_bytes` unpacks it.
        delimiter: Cell delimiter of a delimited table, else an empty string.
        skip: Physical lines (or rows of a sheet) that stand before the column names of a table.
        header: False when a delimited table has no header row (columns are then called column_1, column_2, ...).
        sheet: Sheet of a workbook, else an empty string.
        notices: What the reader assumed about the whole file, one sentence each, for showing to the user.
    """

    path: Path
    name: str
    encoding: str = "utf-8"
    limits: Limits = field(default_factory=Limits)
    bom: bool = False
    zipped: bool = False
    delimiter: str = ""
    skip: int = 0
    header: bool = True
    sheet: str = ""
    notices: tuple[str, ...] = ()

    def open_bytes(self) -> BinaryIO:
        """Open the content, unpacked.

        Raises:
            MedbenchError: While reading, when the unpacked content is larger than the limits allow or damaged.
        """
        raw: BinaryIO = self.path.open("rb")
        if not self.zipped:
            return raw
        cap = max(_ALWAYS_FINE, self.path.stat().st_size * self.limits.max_ratio)
        unpacked = Unpacked(raw, self.name, min(cap, self.limits.max_unpacked))
        return cast(BinaryIO, io.BufferedReader(unpacked, 1 << 18))

    def head(self, limit: int) -> bytes:
        """Return the first unpacked bytes, fewer where the file ends or is damaged before that."""
        head = bytearray()
        with self.open_bytes() as stream:
            try:
                while len(head) < limit and (piece := cast(io.BufferedReader, stream).read1(limit - len(head))):
                    head += piece
            except TornError:
                return bytes(head)  # `Reader.read` reports the damage when it gets there
        return bytes(head)

    def open_text(self) -> TextIO:
        """Open the content as text; bytes that do not decode become U+FFFD, newlines are kept as they are."""
        return io.TextIOWrapper(self.open_bytes(), encoding=self.encoding, errors="replace", newline="")
