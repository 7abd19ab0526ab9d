"""What format an upload is of, found from its content; and one sentence for everything that is none of ours."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.errors import MedbenchError
from medbench.readers._decoding import HEAD_BYTES, guess_encoding, is_gzip
from medbench.readers._source import Limits, Source

if TYPE_CHECKING:
    from medbench.readers import Reader

_LEAST = 0.25  # below this certainty a file is refused rather than misread
_READABLE = "a file of references or texts (CSV, TSV, JSON, Excel, RIS, PubMed, XML, BibTeX or PDF)"
_EXPORT = "Export the search as RIS, PubMed or CSV from the program it came from."
_OPEN_SAVE = "Open it and save it as .xlsx or CSV."
# Where, what bytes, what it is, what to do.
_FOREIGN: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89PNG", "a PNG image", "Images belong to the lesion task; for texts drop a file of references."),
    (0, b"\xff\xd8\xff", "a JPEG image", "Images belong to the lesion task; for texts drop a file of references."),
    (0, b"GIF8", "a GIF image", _EXPORT),
    (0, b"II*\0", "a TIFF image", _EXPORT),
    (0, b"MM\0*", "a TIFF image", _EXPORT),
    (0, b"BM", "a bitmap image", _EXPORT),
    (128, b"DICM", "a DICOM image", "Export the image as PNG or JPEG without patient data."),
    (
        0,
        b"\xd0\xcf\x11\xe0",
        "an old (.xls, .doc) or password-protected Office file",
        "Open it and save it as .xlsx or CSV without a password.",
    ),
    (0, b"MATLAB 5.0", "a MATLAB file", "Save the table as CSV with writetable."),
    (0, b"\x89HDF", "an HDF5 or MATLAB 7.3 file", "Save the table as CSV."),
    (0, b"\x93NUMPY", "a NumPy array", "Save the texts as CSV."),
    (0, b"\x80\x04", "a Python pickle, which is never opened because it can run programs", "Save the table as CSV."),
    (0, b"\x80\x05", "a Python pickle, which is never opened because it can run programs", "Save the table as CSV."),
    (0, b"PAR1", "a Parquet file", "Save the table as CSV."),
    (0, b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (0, b"\x7fELF", "a program", _EXPORT),
    (0, b"MZ", "a program", _EXPORT),
    (0, b"Rar!", "a RAR archive", "Unpack it and drop the files inside."),
    (0, b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it and drop the files inside."),
    (0, b"BZh", "a bzip2 archive", "Unpack it and drop the file inside."),
    (0, b"\xfd7zXZ", "an xz archive", "Unpack it and drop the file inside."),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", "Unpack it and drop the file inside."),
    (257, b"ustar", "a tar archive", "Unpack it and drop the files inside."),
    (0, b"{\\rtf", "a rich text document (.rtf)", "Save it as PDF or paste the text."),
    (0, b"%!PS", "a PostScript file", "Save it as PDF."),
)
_IN_ZIP = (
    ("word/", "a Word document (.docx)", "Save it as PDF, or paste the text."),
    ("ppt/", "a PowerPoint file (.pptx)", "Save it as PDF."),
    ("xl/workbook.bin", "a binary Excel file (.xlsb)", _OPEN_SAVE),
    ("META-INF/container.xml", "an e-book (.epub)", _EXPORT),
    ("content.xml", "an OpenDocument file (.ods or .odt)", _OPEN_SAVE),
)
_VECTORS = re.compile(rb"\d+ \d+\r?\n\S+(?: -?\d+\.\d+(?:e-?\d+)?){5}")
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)


def recognise(path: Path, name: str, limits: Limits, readers: Mapping[str, Reader]) -> tuple[Reader, Source]:
    """Do the work of `open_source`; see there."""
    _check_file(path, name, limits)
    with path.open("rb") as file:
        zipped = is_gzip(file.read(2))
    source = Source(path, name, limits=limits, zipped=zipped)
    head = _head(source)
    _refuse_foreign(head, source)
    if head.startswith((b"PK\x03\x04", b"%PDF-")) or b"%PDF-" in head[:1024]:
        text = head
    else:
        with source.open_bytes() as stream:
            encoding, bom, notice = guess_encoding(path, head, stream)
        source = replace(source, encoding=encoding, bom=bom, notices=(notice,) if notice else ())
        text = head.decode(encoding, "replace").encode("utf-8")
        _refuse_binary(text, name)
    return _chosen(text, source, readers)


def _check_file(path: Path, name: str, limits: Limits) -> None:
    if path.is_dir():
        raise MedbenchError(_READABLE, f"the folder {name!r}", "Drop the files inside it.")
    if not path.is_file():
        raise MedbenchError(_READABLE, f"no file at {str(path)!r}", "Check the path.")
    size = path.stat().st_size
    if size == 0:
        raise MedbenchError(_READABLE, f"the empty file {name!r}", "Export it again.")
    if size > limits.max_bytes:
        raise MedbenchError(
            f"a file of at most {limits.max_bytes / 1e6:,.0f} MB",
            f"{name!r} with {size / 1e6:,.0f} MB",
            "Split it and import the parts.",
        )


def _head(source: Source) -> bytes:
    head = source.head(HEAD_BYTES)
    if source.zipped and not head:
        raise MedbenchError(_READABLE, f"the damaged or empty gzip file {source.name!r}", "Download or copy it again.")
    if not head.strip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n\f"):
        raise MedbenchError(_READABLE, f"nothing but white space in {source.name!r}", "Export it again.")
    return head


def _refuse_foreign(head: bytes, source: Source) -> None:
    for place, magic, what, todo in _FOREIGN:
        if head.startswith(magic, place) and not (len(magic) == 2 and _looks_like_text(head)):
            raise MedbenchError(_READABLE, f"{what} in {source.name!r}", todo)
    if head.startswith(b"PK\x03\x04"):
        _check_zip(source)
    if _VECTORS.match(head):
        raise MedbenchError(_READABLE, f"a file of word vectors in {source.name!r}", _EXPORT)
    if _HTML.match(head[:4096]):
        raise MedbenchError(_READABLE, f"a web page in {source.name!r}", _EXPORT)


def _looks_like_text(head: bytes) -> bool:
    return not head[:512].translate(None, bytes(range(0x20, 0x7F)) + b"\r\n\t")


def _check_zip(source: Source) -> None:
    """Let an Excel workbook of honest size pass; name and refuse every other zip."""
    try:
        with source.open_bytes() as raw:
            stream = io.BytesIO(raw.read(source.limits.max_bytes)) if source.zipped else raw
            with zipfile.ZipFile(stream) as archive:
                entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise MedbenchError(
            "a whole Excel workbook", f"the damaged file {source.name!r} ({error})", "Download or save it again."
        ) from error
    names = [entry.filename for entry in entries]
    for part, what, todo in _IN_ZIP:
        if any(name.startswith(part) for name in names):
            raise MedbenchError(_READABLE, f"{what} in {source.name!r}", todo)
    if "xl/workbook.xml" not in names:
        raise MedbenchError(_READABLE, f"a zip archive in {source.name!r}", "Unpack it and drop the files inside.")
    unpacked = sum(entry.file_size for entry in entries)
    packed = max(1, sum(entry.compress_size for entry in entries))
    if unpacked > source.limits.max_unpacked or (unpacked > 50_000_000 and unpacked / packed > source.limits.max_ratio):
        raise MedbenchError(
            "an Excel workbook of ordinary size",
            f"{source.name!r}, which unpacks from {packed:,} to {unpacked:,} bytes",
            "Save the sheet as CSV and import that.",
        )


def _refuse_binary(text: bytes, name: str) -> None:
    sample = text[: 1 << 16]
    control = len(sample) - len(sample.translate(None, bytes(set(range(32)) - {9, 10, 11, 12, 13, 26, 27})))
    if control > 0.02 * len(sample) or sample.count(b"\xef\xbf\xbd") > 0.05 * len(sample):
        raise MedbenchError(_READABLE, f"binary data of an unknown kind in {name!r}", _EXPORT)


def _chosen(text: bytes, source: Source, readers: Mapping[str, Reader]) -> tuple[Reader, Source]:
    ending = Path(source.name.lower().removesuffix(".gz")).suffix
    ranked = sorted(
        ((reader.sniff(text, source.name), ending in reader.extensions, reader) for reader in readers.values()),
        key=lambda entry: (entry[0], entry[1]),
    )
    certainty, _, reader = ranked[-1]
    if certainty < _LEAST:
        what = "XML of another kind" if text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else "plain text"
        raise MedbenchError(_READABLE, f"{what} in {source.name!r}", _EXPORT)
    return reader, reader.prepare(source)
