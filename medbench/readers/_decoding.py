"""Bytes become text: gzip is unpacked under a limit, byte order marks and encodings are recognised."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from pathlib import Path
from typing import BinaryIO

from medbench.errors import MedbenchError, OversizedError

HEAD_BYTES = 1 << 19
_SCAN_BYTES = 1 << 28
_SAMPLE_BYTES = 1 << 14
_GZIP = b"\x1f\x8b"
# Longest marks first: the UTF-16 mark is the beginning of the UTF-32 one.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{2,30})["']""")
_FOREIGN = ("cp1250", "cp1251", "cp1253", "cp1255", "cp1256", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr")


class TornError(MedbenchError):
    """The compressed file breaks off or is damaged: what came before is good, what follows is lost."""


class Unpacked(io.RawIOBase):
    """The unpacked content of a gzip stream, which ends in an error rather than filling the disk or the memory.

    Args:
        raw: The compressed stream; closed together with this one.
        name: What the user called the file.
        limit: Largest unpacked size in bytes.
    """

    def __init__(self, raw: BinaryIO, name: str, limit: int) -> None:
        super().__init__()
        self._raw = raw
        self._gzip = gzip.GzipFile(fileobj=raw)
        self._name = name
        self._limit = limit
        self._given = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer. Raises MedbenchError past the limit and TornError where the stream is damaged."""
        try:
            data = self._gzip.read1(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise TornError(
                f"a whole gzip file in {self._name!r}",
                f"one that is damaged after {self._given:,} unpacked bytes",
                "Download or copy it again.",
            ) from error
        self._given += len(data)
        if self._given > self._limit:
            raise OversizedError(
                f"a file that unpacks to at most {self._limit:,} bytes",
                f"{self._name!r}, which unpacks to more",
                "Unpack it yourself, look whether it is what you expect, and import it in parts.",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream and the file under it."""
        if not self.closed:
            self._gzip.close()
            self._raw.close()
        super().close()


def is_gzip(head: bytes) -> bool:
    """Return True when these first bytes are those of a gzip file."""
    return head.startswith(_GZIP)


def guess_encoding(path: Path, head: bytes, stream: BinaryIO) -> tuple[str, bool, str | None]:
    """Find out how bytes become text.

    Args:
        path: The file, for its name only.
        head: The first unpacked bytes.
        stream: The whole unpacked content; read up to a limit when no mark settles the question.

    Returns:
        Codec name (it swallows the mark), whether there is a byte order mark, and a notice when it was a guess.
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, True, None
    if (wide := _wide(head)) is not None:
        return wide, False, None
    declared = _DECLARED.match(head)
    if declared is not None and (known := _known(declared[1].decode("ascii"))) not in (None, "utf-8"):
        return str(known), False, None
    strange, non_ascii, sample = _scan(stream)
    if not strange:
        return "utf-8", False, None
    if non_ascii > 2 * strange:
        return "utf-8", False, f"Not everything is UTF-8 like the rest of the file; characters replaced: {strange:,}."
    encoding = _foreign(sample)
    return (
        encoding,
        False,
        f"The file does not say its encoding; {encoding} fits it best. Look at letters with accents.",
    )


def _known(name: str) -> str | None:
    try:
        found = codecs.lookup(name).name
    except LookupError:
        return None
    # "UTF-16" without a mark is a declaration copied from elsewhere: the bytes would have looked wide.
    return None if found.startswith(("utf-16", "utf-32", "utf-7")) else found


def _wide(head: bytes) -> str | None:
    """Return the UTF-16 codec when every other byte is (nearly always) zero, as in Latin text without a mark."""
    sample = head[:4096]
    if len(sample) < 8:
        return None
    even, odd = sample[0::2].count(0) / len(sample[0::2]), sample[1::2].count(0) / len(sample[1::2])
    if odd > 0.7 and even < 0.1:
        return "utf-16-le"
    if even > 0.7 and odd < 0.1:
        return "utf-16-be"
    return None


def _scan(stream: BinaryIO) -> tuple[int, int, bytes]:
    """Count characters that are no UTF-8 and those that are and lie beyond ASCII; collect bytes around the former."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    strange = non_ascii = seen = 0
    sample = bytearray()
    try:
        while seen < _SCAN_BYTES and (chunk := stream.read(1 << 20)):
            seen += len(chunk)
            text = decoder.decode(chunk)
            if text.isascii():
                continue
            replaced = text.count("\ufffd")
            strange += replaced
            non_ascii += len(text) - len(text.encode("ascii", "ignore")) - replaced
            if replaced and len(sample) < _SAMPLE_BYTES:
                sample += _around_foreign(chunk)
    except TornError:
        pass_on = decoder.decode(b"")  # what could be unpacked was looked at; `read` will report the damage
        strange += pass_on.count("\ufffd")
    return strange, non_ascii, bytes(sample[:_SAMPLE_BYTES])


def _around_foreign(chunk: bytes) -> bytes:
    return b"\n".join(match[0] for match in re.finditer(rb"[^\r\n]{0,60}[\x80-\xff][^\r\n]{0,200}", chunk))


def _foreign(sample: bytes) -> str:
    """Name the codec of bytes that are no UTF-8. Western text is the default; others must win clearly."""
    from charset_normalizer import from_bytes

    # Between Western words accents are lone bytes; in other scripts the high bytes stand side by side.
    high = re.findall(rb"[\x80-\xff]+", sample)
    paired = sum(len(run) for run in high if len(run) > 1) / max(1, sum(map(len, high)))
    if paired < 0.5:
        return "cp1252"
    best = from_bytes(sample, cp_isolation=["cp1252", *_FOREIGN]).best()
    return best.encoding if best is not None else "cp1252"
