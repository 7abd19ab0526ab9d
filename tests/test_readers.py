"""What every reader promises, what is refused at the door, and how bytes become text."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path

import pytest
from reader_samples import ADDITIONS, RIS, SAMPLES, lead, put, records

from medbench.errors import MedbenchError
from medbench.readers import Account, Limits, account, all_readers, get_reader, open_source
from medbench.records import Record

SHARED = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data" / "import-formats"


def test_every_reader_has_a_sample() -> None:
    assert set(all_readers()) == {*SAMPLES, "workbook", "pdf"}


@pytest.mark.parametrize("name", sorted(all_readers()))
def test_reader_describes_itself(name: str) -> None:
    reader = get_reader(name)
    assert reader.name == name
    assert reader.title
    assert all(ending == ending.lower() and ending.startswith(".") for ending in reader.extensions)
    assert set(reader.roles) == {"title", "text", "labels", "id", "group", "split"}
    assert all(field == field.lower() for fields in reader.roles.values() for field in fields)
    assert reader.sniff(b"Lorem ipsum, dolor sit amet.\nNothing to see here.\n", "a.txt") < 0.25


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_format_is_recognised_by_content_whatever_the_name(name: str, tmp_path: Path) -> None:
    path = put(tmp_path, SAMPLES[name])
    for called in ("upload", "a.csv", "a.ris", "a.xml"):
        reader, source = open_source(path, called)
        assert reader.name == name
        first = next(reader.read(source))
        assert lead(first, "title", name) == "A title"
        assert lead(first, "text", name).startswith("An abstract")


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.parametrize("change", [b"", b"\xef\xbb\xbf", "utf-16", "utf-16-le", "crlf", "gzip"])
def test_marks_newlines_and_compression_change_nothing(name: str, change: str | bytes, tmp_path: Path) -> None:
    text = SAMPLES[name]
    plain = records(put(tmp_path, text, "plain"))
    if isinstance(change, bytes):
        data = change + text.encode()
    elif change == "crlf":
        data = text.replace("\n", "\r\n").encode()
    else:
        data = gzip.compress(text.encode()) if change == "gzip" else text.encode(change)
    changed = records(put(tmp_path, data, "changed"))
    assert [lead(record, "title", name) for record in changed] == [lead(record, "title", name) for record in plain]
    assert [record.repairs for record in changed] == [record.repairs for record in plain]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_written_back_without_additions_it_reads_the_same(name: str, tmp_path: Path) -> None:
    reader, source = open_source(put(tmp_path, SAMPLES[name]))
    before = list(reader.read(source))
    out = io.BytesIO()
    reader.write([(record, {}) for record in before], out, source)
    again, copy = open_source(put(tmp_path, out.getvalue(), "copy"))
    assert again.name == name
    assert [record.fields for record in again.read(copy)] == [record.fields for record in before]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_additions_stand_in_the_written_file_beside_everything_else(name: str, tmp_path: Path) -> None:
    reader, source = open_source(put(tmp_path, SAMPLES[name]))
    before = list(reader.read(source))
    out = io.BytesIO()
    reader.write([(record, ADDITIONS) for record in before], out, source)
    again, copy = open_source(put(tmp_path, out.getvalue(), "copy"))
    after = list(again.read(copy))
    assert again.name == name
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        for field, values in old.fields.items():
            assert set(values) <= set(new.fields[field])
    text = out.getvalue().decode()
    for piece in ("Neoplasms", "Eye diseases", "Eye diseases=0.61", "linear-1"):
        assert text.count(piece) >= len(before), piece


def test_account_counts_each_record_once() -> None:
    entries = [Record(1, {"a": ("b",)}), Record(2, {}, ("mended", "twice")), Record(5, {}, ("mended",), "no text")]
    result = account(entries)
    assert (result.read, result.repaired, result.refused, result.total, result.usable) == (1, 1, 1, 3, 2)
    assert result.entries == [(2, "repaired", "mended; twice"), (5, "refused", "no text")]
    watched = Account()
    assert list(watched.watch(entries)) == entries
    assert watched == result


def test_account_keeps_ten_thousand_entries() -> None:
    result = account(Record(line, {}, refused="no") for line in range(10_005))
    assert (result.refused, len(result.entries)) == (10_005, 10_000)


JUNK = {
    "an empty file": (b"", "the empty file"),
    "white space": (b" \r\n\t\n", "nothing but white space"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "a PNG image"),
    "old excel": (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "an old (.xls, .doc) or password-protected Office file"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: GLNX" + b"\0" * 100, "a MATLAB file"),
    "pickle": (b"\x80\x04\x95" + b"\0" * 100, "a Python pickle"),
    "vectors": (b"63 300\njusto 0.005 -0.07 -0.10 0.11 -0.09 0.04 0.05\n", "a file of word vectors"),
    "web page": (b"<!DOCTYPE html>\n<html><body>Please log in</body></html>", "a web page"),
    "noise": (bytes(range(256)) * 40, "binary data of an unknown kind"),
    "prose": (
        b"Copyright 2020, all rights reserved.\n\nPermission, if any, is granted to use, copy,\nand so on.\n",
        "plain text",
    ),
    "markdown": (b"# A page\n\nwords, and words\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n", "plain text"),
    "other xml": (b"<?xml version='1.0'?><kml><Placemark>x</Placemark></kml>", "XML of another kind"),
    "rtf": (b"{\\rtf1 hello}", "a rich text document"),
}


@pytest.mark.parametrize("what", sorted(JUNK))
def test_junk_is_named_in_one_sentence(what: str, tmp_path: Path) -> None:
    content, sentence = JUNK[what]
    with pytest.raises(MedbenchError) as caught:
        open_source(put(tmp_path, content), "upload.csv" if what in ("noise", "png") else "upload")
    assert sentence in caught.value.found
    assert "upload" in caught.value.found
    assert caught.value.todo.endswith(".")


def test_folders_missing_and_large_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MedbenchError, match="the folder"):
        open_source(tmp_path)
    with pytest.raises(MedbenchError, match="no file at"):
        open_source(tmp_path / "gone.csv")
    with pytest.raises(MedbenchError, match=r"at most 0 MB, found 'upload' with 0 MB\. Split it"):
        open_source(put(tmp_path, RIS), limits=Limits(max_bytes=10))


@pytest.mark.parametrize(
    ("inside", "sentence"),
    [
        ("word/document.xml", "a Word document (.docx)"),
        ("ppt/slide.xml", "a PowerPoint file"),
        ("notes.txt", "a zip archive"),
        ("content.xml", "an OpenDocument file"),
    ],
)
def test_zips_that_are_no_workbooks_are_named(inside: str, sentence: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr(inside, "x")
    with pytest.raises(MedbenchError) as caught:
        open_source(tmp_path / "a.xlsx")
    assert sentence in caught.value.found


def test_bombs_are_refused(tmp_path: Path) -> None:
    header = b"title,abstract\n"
    bomb = put(tmp_path, gzip.compress(header + b"a,b\n" * 3_000_000), "a.csv.gz")
    with pytest.raises(MedbenchError, match="unpacks to more"):
        reader, source = open_source(bomb, limits=Limits(max_ratio=10))
        account(reader.read(source))
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 60_000_000)
    with pytest.raises(MedbenchError, match="an Excel workbook of ordinary size"):
        open_source(tmp_path / "b.xlsx")


def test_a_damaged_gzip_gives_its_good_records_and_says_where_it_breaks(tmp_path: Path) -> None:
    rows = "".join(f"Title {number},Abstract {number * 7919 % 1000}\n" for number in range(20_000))
    packed = gzip.compress(f"title,abstract\n{rows}".encode())
    found = records(put(tmp_path, packed[: len(packed) // 2], "a.csv.gz"))
    assert len(found) > 5_000
    assert all(record.refused is None for record in found[:-1])
    assert "the compressed file is damaged from here on" in str(found[-1].refused)


def test_more_records_than_allowed_are_refused(tmp_path: Path) -> None:
    reader, source = open_source(put(tmp_path, RIS * 5), limits=Limits(max_records=4))
    with pytest.raises(MedbenchError, match="at most 4 records in one file"):
        account(reader.read(source))


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    reader, source = open_source(put(tmp_path, "title,abstract,pmid\n", "a.csv"))
    with pytest.raises(MedbenchError, match="at least one record"):
        account(reader.read(source))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Müller, José und Zoë: Überlebensrate bei Ösophaguskarzinom – “eine” Übersicht"),
        ("cp1251", "Состояние рецепторного аппарата эндометрия и метаболизм при бесплодии"),
        ("gb18030", "中国人群中肺癌的流行病学特征及其危险因素分析"),
        ("shift_jis", "日本における胃癌の疫学的特徴とその危険因子について"),
    ],
)
def test_encodings_are_guessed_and_said(encoding: str, text: str, tmp_path: Path) -> None:
    content = "".join(f"TY  - JOUR\nTI  - {text} {number}\nER  - \n" for number in range(5))
    reader, source = open_source(put(tmp_path, content.encode(encoding)))
    assert [record.first("title") for record in reader.read(source)] == [f"{text} {number}" for number in range(5)]
    assert "does not say its encoding" in source.notices[0]


def test_a_late_bad_byte_in_utf8_is_one_repaired_record(tmp_path: Path) -> None:
    good = "".join(f"TY  - JOUR\nTI  - Zoë {number}\nER  - \n" for number in range(50)).encode()
    bad = b"TY  - JOUR\nTI  - Zo\xeb\nER  - \n"
    found = records(put(tmp_path, good + bad + good))
    assert [record.line for record in found if record.repairs] == [151]
    assert found[50].first("TI") == "Zo\ufffd"
    assert found[51].first("TI") == "Zoë 0"


def test_a_declared_encoding_is_used(tmp_path: Path) -> None:
    text = SAMPLES["pubmed_xml"].replace("'1.0'", "'1.0' encoding='ISO-8859-1'").replace("A title", "Überleben")
    assert records(put(tmp_path, text.encode("latin-1")))[0].first("title") == "Überleben"


def test_pdf_cannot_be_written(tmp_path: Path) -> None:
    reader = get_reader("pdf")
    source = open_source(put(tmp_path, RIS))[1]
    assert not reader.writes
    with pytest.raises(MedbenchError, match="Write CSV instead"):
        reader.write([], io.BytesIO(), source)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no folder of real exports")
def test_real_files_are_read_or_refused_and_come_back_the_same(tmp_path: Path) -> None:
    read = refused = 0
    for path in sorted(file for file in SHARED.rglob("*") if file.is_file()):
        try:
            reader, source = open_source(path)
        except MedbenchError:
            refused += 1
            assert path.name.startswith(("LICENSE", "README")) or path.suffix == ".vec", path
            continue
        read += 1
        before = list(reader.read(source))
        out = io.BytesIO()
        reader.write([(record, {}) for record in before], out, source)
        again, copy = open_source(put(tmp_path, out.getvalue(), path.name))
        after = list(again.read(copy))
        assert again.name == reader.name, path
        assert [record.fields for record in after] == [record.fields for record in before], path
        if reader.name in ("ris", "medline", "wos"):
            assert [record.order for record in after] == [record.order for record in before], path
    assert (read, refused) == (108, 8)
