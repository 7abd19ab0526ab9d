"""An opened upload: where it lies, what it was called, how its bytes become text, and the limits it is held to."""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from medbench.readers._decoding import Unpacked


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
        encoding: Python codec name of the text, the byte order mark excluded.
        limits: What the file may cost.
        bom: True when the file begins with a byte order mark.
        zipped: True when the file is gzip-compressed; `open_bytes` unpacks it.
        delimiter: Cell delimiter of a delimited table, else an empty string.
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
    header: bool = True
    sheet: str = ""
    notices: tuple[str, ...] = ()

    def open_bytes(self) -> BinaryIO:
        """Open the content, unpacked and without a UTF-8 byte order mark.

        Raises:
            MedbenchError: While reading, when the unpacked content is larger than the limits allow or damaged.
        """
        raw: BinaryIO = self.path.open("rb")
        if self.zipped:
            raw = cast(BinaryIO, io.BufferedReader(Unpacked(raw, self.name, self.limits.max_unpacked, self.ratio_cap())))
        if self.bom and self.encoding == "utf-8" and raw.read(3) != codecs.BOM_UTF8:
            raw.seek(0)
        return raw

    def open_text(self) -> TextIO:
        r"""Open the content as text; bytes that do not decode become U+FFFD, newlines are kept as they are."""
        return io.TextIOWrapper(self.open_bytes(), encoding=self.encoding, errors="replace", newline="")

    def ratio_cap(self) -> int:
        """Return the unpacked size, in bytes, beyond which this file counts as a bomb (at least 10 MB)."""
        return max(10_000_000, self.path.stat().st_size * self.limits.max_ratio)
