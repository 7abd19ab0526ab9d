"""The whole text of one PDF document: reading order, pages, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from fpdf import FPDF
from PIL import Image

from medbench.errors import MedbenchError
from medbench.readers.pdf import read_document

LEFT = [f"Left column, line {number}, of a note." for number in range(30)]
RIGHT = [f"Right column, line {number}, of it." for number in range(30)]


def blank(size: float = 10) -> FPDF:
    document = FPDF()
    document.set_font("Helvetica", size=size)
    document.add_page()
    return document


def note(pages: int) -> FPDF:
    document = FPDF()
    document.set_font("Helvetica", size=10)
    for page in range(1, pages + 1):
        document.add_page()
        document.multi_cell(0, 5, f"Finding number {page} of the note.\n" + "He denies chest pain. " * 40)
    return document


def put_across(document: FPDF, left: list[str], right: list[str]) -> None:
    for number, (here, there) in enumerate(zip(left, right, strict=True)):
        document.set_xy(10, 30 + 6 * number)
        document.cell(90, 6, here)
        document.set_xy(110, 30 + 6 * number)
        document.cell(90, 6, there)


def test_offsets_name_the_page() -> None:
    read = read_document(bytes(note(12).output()))
    assert len(read.page_starts) == 12
    for page in (1, 7, 12):
        assert read.page_of(read.text.index(f"Finding number {page} of")) == page
    assert read.page_of(0) == 1
    assert read.page_of(len(read.text)) == 12
    assert read.empty_pages == ()


def test_a_path_reads_like_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "note.pdf"
    path.write_bytes(bytes(note(2).output()))
    assert read_document(path) == read_document(path.read_bytes())


def test_two_columns_drawn_across_are_taken_apart() -> None:
    document = blank()
    document.cell(0, 8, "A heading that runs over both columns of the page and is long enough for that")
    put_across(document, LEFT, RIGHT)
    lines = read_document(bytes(document.output())).text.splitlines()
    assert [line.strip() for line in lines[1:]] == [*LEFT, *RIGHT]
    assert lines[0].startswith("A heading")


def test_two_columns_drawn_one_after_the_other_stay_so() -> None:
    document = blank()
    with document.text_columns(ncols=2, gutter=8) as columns:
        columns.write("\n".join(f"Sentence {number} goes on for a while." for number in range(90)))
    text = read_document(bytes(document.output())).text
    places = [text.index(f"Sentence {number} goes") for number in range(90)]
    assert places == sorted(places)


def test_a_table_is_read_by_lines() -> None:
    document = blank()
    put_across(document, [f"Sodium {number}" for number in range(20)], [f"13{number} mmol/l" for number in range(20)])
    lines = read_document(bytes(document.output())).text.splitlines()
    assert [" ".join(line.split()) for line in lines[:2]] == ["Sodium 0 130 mmol/l", "Sodium 1 131 mmol/l"]


def scan() -> bytes:
    document = FPDF()
    document.add_page()
    document.image(Image.new("L", (200, 280), 230), x=10, y=10, w=100)
    return bytes(document.output())


def locked() -> bytes:
    document = note(1)
    document.set_encryption(owner_password="owner", user_password="secret")
    return bytes(document.output())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (locked(), "Expected a PDF that can be opened, found 'a.pdf' locked with a password. Save an unlocked copy."),
        (scan(), "Expected a PDF that holds text, found 'a.pdf', which holds pictures of pages (a scan). Run text"),
        (
            bytes(blank().output()),
            "Expected a PDF that holds text, found 'a.pdf', whose pages are blank. Choose another",
        ),
        (b"%PDF-1.4\n" + b"junk" * 90, "Expected a PDF that can be read, found 'a.pdf', which is damaged"),
        (b"", "Expected a PDF that can be read, found 'a.pdf', which is damaged"),
        (bytes(note(1).output())[:600], "Expected a PDF"),
    ],
    ids=["locked", "scan", "blank", "junk", "empty", "cut"],
)
def test_what_cannot_be_read_says_why(content: bytes, sentence: str) -> None:
    with pytest.raises(MedbenchError) as caught:
        read_document(content, "a.pdf")
    assert str(caught.value).startswith(sentence)


def test_a_file_locked_against_printing_only_is_read() -> None:
    document = note(1)
    document.set_encryption(owner_password="owner")
    assert "Finding number 1" in read_document(bytes(document.output())).text


def test_a_note_of_few_words_is_no_scan() -> None:
    document = blank()
    document.cell(0, 8, "Gout.")
    assert read_document(bytes(document.output())).text.strip() == "Gout."


def test_every_page_is_told() -> None:
    told: list[tuple[float, str]] = []
    read_document(bytes(note(4).output()), "a.pdf", lambda share, sentence: told.append((share, sentence)))
    assert told[0] == (0.0, "Reading page 1 of 4")
    assert [share for share, _ in told] == [0.0, 0.25, 0.5, 0.75]


def test_pages_without_text_are_told() -> None:
    document = note(1)
    document.add_page()
    assert read_document(bytes(document.output())).empty_pages == (2,)
