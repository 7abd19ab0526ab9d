"""Line-tagged formats: RIS (beside rispy), MEDLINE, Web of Science, EndNote's refer; what is written reads the same."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest
import rispy
from hypothesis import example, given
from hypothesis import strategies as st
from reader_samples import ADDITIONS, put, records, written

from medbench.readers import Source, get_reader
from medbench.records import Record


def parse(name: str, data: bytes) -> list[Record]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return list(get_reader(name).records(Source(Path(file.name), "a")))


def exported(name: str, found: list[Record], additions: dict[str, str] | None = None) -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\n")
        file.flush()
        out = io.BytesIO()
        get_reader(name).write([(record, additions or {}) for record in found], out, Source(Path(file.name), "a"))
    return out.getvalue()


def content(found: list[Record]) -> list[tuple[object, object]]:
    return [(dict(record.fields), record.order) for record in found]


ANYTHING = st.text(st.characters(codec="utf-8"), max_size=60)
WORDS = st.lists(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=12), max_size=40).map(
    " ".join
)
RIS_LINE = st.one_of(
    st.sampled_from(
        ["TY  - JOUR", "TY-JOUR", "TY  -", "ER  - ", "ER  -", "ER  - 2", "", " ", "1.", "ty  - jour", "AB-x"]
    ),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["TI", "AB", "N2", "KW", "AU", "XX", "ti", "Z9", "   T1"]),
        st.sampled_from(["  - ", "  -", " - ", "\t- ", "-", "  -  "]),
        st.one_of(ANYTHING, WORDS),
    ),
    ANYTHING,
    WORDS,
)
MEDLINE_LINE = st.one_of(
    st.sampled_from(
        ["PMID- 1", "PMID- 2", "PMID-3", "PMC - PMC9", "OWN - NLM", "STAT- X", "", " ", "AB  - ", "TI  -x"]
    ),
    st.builds(
        "{}{}".format,
        st.sampled_from(["TI  - ", "AB  - ", "OT  - ", "XYZ - ", "      ", "MH  - ", "TI  -"]),
        st.one_of(ANYTHING, WORDS),
    ),
    ANYTHING,
)


@given(st.lists(RIS_LINE, max_size=14), st.sampled_from(["\n", "\r\n", "\r"]))
@example(["TY  - JOUR", "AB  - one", "      TY  - two", "   ER  - x", "UK - based", "ER  - "], "\n")
@example(["TY-JOUR", "AB-x", "T1  - y"], "\n")
@example(["TI  - a", "ER  -", "TI  - b", "ER  -", "NL  - c"], "\n")
def test_ris_written_reads_the_same(lines: list[str], newline: str) -> None:
    found = parse("ris", newline.join(lines).encode())
    again = parse("ris", exported("ris", found))
    assert content(again) == content(found)


@given(st.lists(MEDLINE_LINE, max_size=14), st.sampled_from(["\n", "\r\n", "\r"]))
@example(["PMID- 1", "AB  - " + "double  space " * 30, "TI  - " + "x" * 200], "\n")
def test_medline_written_reads_the_same(lines: list[str], newline: str) -> None:
    found = parse("medline", newline.join(lines).encode())
    again = parse("medline", exported("medline", found))
    assert content(again) == content(found)


@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["AU", "TI", "KW", "AB", "UR", "ZZ"]), WORDS), min_size=1), max_size=5)
)
def test_no_ris_value_is_lost(blocks: list[list[tuple[str, str]]]) -> None:
    text = "".join(
        f"TY  - JOUR\n{''.join(f'{tag}  - {value}' + chr(10) for tag, value in block)}ER  - \n" for block in blocks
    )
    found = parse("ris", text.encode())
    expected = [[("TY", "JOUR"), *((tag, value.strip()) for tag, value in block)] for block in blocks]
    assert [list(record.order) for record in found] == expected


@given(st.lists(st.tuples(WORDS.filter(str.strip), WORDS), min_size=1, max_size=5))
def test_ris_agrees_with_rispy(rows: list[tuple[str, str]]) -> None:
    rows = [(" ".join(title.split()), " ".join(text.split())) for title, text in rows]
    text = "".join(f"TY  - JOUR\nTI  - {title}\nAB  - {body}\nER  - \n\n" for title, body in rows)
    theirs = rispy.loads(text)
    ours = parse("ris", text.encode())
    assert [(entry.get("title", ""), entry.get("abstract", "")) for entry in theirs] == [
        (record.first("title"), record.first("abstract")) for record in ours
    ]


CROOKED = """\
Record #1 of 3
Provider: Somebody
\tan odd remark

TY  - JOUR
TI  - First
N2  - The abstract
goes on here,

with a paragraph.
KW  - one
two
three
XY  - unknown
TY  - BOOK
T1  -  Second
ab  - lower case
ER  - \r
NL  - behind the end

AU  - No, Type
TI  - Third
ER  -
TY  - GEN
ER  -
TY-JOUR
TI-Compact
AB-Also compact
"""


def test_crooked_ris_is_mended_and_told(tmp_path: Path) -> None:
    found = records(put(tmp_path, CROOKED))
    assert [record.line for record in found] == [5, 15, 21, 24, 26]
    first, second, third, fourth, fifth = found
    assert first.first("abstract") == "The abstract\ngoes on here,\n\nwith a paragraph."
    assert first.fields["KW"] == ("one", "two", "three")
    assert first.order[-1] == ("XY", "unknown")
    assert first.repairs == (
        "text outside the records was left out: 'an odd remark'", "no ER line: the next record begins at line 15",
    )  # fmt: skip
    assert (second.first("title"), second.first("abstract")) == ("Second", "lower case")
    assert second.repairs == ("lower-case tags were read as upper-case", "tags behind the ER line were kept")
    assert second.first("NL") == "behind the end"
    assert third.repairs == ("no TY line at the beginning",)
    assert fourth.refused == "the record is empty: it has a type or nothing, and no text"
    assert (fifth.first("title"), fifth.first("abstract")) == ("Compact", "Also compact")
    assert fifth.repairs == ("no ER line: the file ends inside this record",)


def test_an_abstract_with_hyphens_at_line_starts_stays_whole(tmp_path: Path) -> None:
    text = "TY  - JOUR\nAB  - Vaccines:\nTy-21a and\nUK - based, CT-guided\nER and\nER-positive\nER  - \n"
    (record,) = records(put(tmp_path, text))
    assert record.first("AB") == "Vaccines:\nTy-21a and\nUK - based, CT-guided\nER and\nER-positive"


def test_ris_additions_are_keywords_and_notes_and_replace_older_notes(tmp_path: Path) -> None:
    path = put(tmp_path, "TY  - JOUR\r\nTI  - A\r\nKW  - Neoplasms\r\nER  - \r\n\r\nTY  - GEN\r\nER  - \r\n")
    once = put(tmp_path, written(path, {**ADDITIONS, "medbench_model": "old"}), "once.ris")
    twice = written(once, ADDITIONS).decode()
    assert twice == (
        "TY  - JOUR\r\nTI  - A\r\nKW  - Neoplasms\r\nKW  - Eye diseases\r\n"
        "N1  - medbench scores: Neoplasms=0.93;Eye diseases=0.61\r\nN1  - medbench model: linear-1\r\n"
        "N1  - medbench flags: cut\r\nER  - \r\n\r\nTY  - GEN\r\nER  - \r\n\r\n"
    )


NBIB = """\

PMID- 100
OWN - NLM
TI  - A title that is so long that the export wraps it behind the
      eightieth column.
AB  - OBJECTIVE: to see.
      RESULTS: seen.
FAU - A, B
FAU - C, D
MH  - Humans
MH  - *Neoplasms/therapy
PMID- 101
OWN - NLM
TI  - No blank line before it

AB  - Behind a blank line.

id: 9 Error occurred: The following PMID is not available

OWN - NLM
TI  - No number

PMID- 103
OWN - NLM

"""


def test_medline_is_cut_joined_and_told(tmp_path: Path) -> None:
    found = records(put(tmp_path, NBIB))
    assert [record.line for record in found] == [2, 12, 20, 23]
    first, second, third, fourth = found
    assert first.first("title") == "A title that is so long that the export wraps it behind the eightieth column."
    assert first.first("abstract") == "OBJECTIVE: to see. RESULTS: seen."
    assert first.fields["FAU"] == ("A, B", "C, D")
    assert first.repairs == ()
    assert second.first("abstract") == "Behind a blank line."
    assert third.first("TI") == "No number"
    assert "no PMID line" in third.repairs
    assert any("Error occurred" in repair for record in (second, third) for repair in record.repairs)
    assert fourth.refused is not None


def test_medline_additions_are_other_terms_of_ours_and_notes(tmp_path: Path) -> None:
    path = put(tmp_path, "PMID- 1\nTI  - A\nOTO - NOTNLM\nOT  - theirs\n")
    old = {"medbench_labels": "Old", "medbench_model": "old"}
    once = put(tmp_path, written(path, old), "once.nbib")
    assert written(once, {"medbench_labels": "New;Newer", "medbench_model": "m"}).decode() == (
        "PMID- 1\nTI  - A\nOTO - NOTNLM\nOT  - theirs\nOTO - medbench\nOT  - New\nOT  - Newer\n"
        "GN  - medbench model: m\n\n"
    )


@given(st.lists(st.text(st.sampled_from("ab \u00a0\u2003-"), max_size=300), min_size=1, max_size=3))
def test_medline_lines_are_wrapped_without_loss(values: list[str]) -> None:
    order = (("PMID", "1"), *(("AB", value.strip()) for value in values))
    data = exported("medline", [Record(1, {}, order=order)])
    assert parse("medline", data)[0].order == order


def test_long_medline_values_are_wrapped() -> None:
    data = exported("medline", [Record(1, {}, order=(("PMID", "1"), ("AB", "word " * 100 + "end")))])
    lines = data.decode().splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line.startswith("      ") for line in lines[2:-1])


def test_web_of_science(tmp_path: Path) -> None:
    text = (
        "FN Clarivate Analytics Web of Science\nVR 1.0\nPT J\nAU A, B\n   C, D\nTI A title of\n   two lines\n"
        "AB Text\nUT WOS:1\nER\n\nPT J\nTI Torn\nPT J\nTI Last\n"
    )
    found = records(put(tmp_path, text))
    assert [record.line for record in found] == [3, 12, 14]
    assert found[0].fields["AU"] == ("A, B", "C, D")
    assert found[0].first("title") == "A title of two lines"
    assert found[1].repairs == ("no ER line at its end",)
    assert found[2].repairs == ("no ER line: the file ends inside this record",)
    out = written(put(tmp_path, text), ADDITIONS).decode()
    assert "AU A, B\n   C, D\n" in out
    assert "DE Neoplasms\nDE Eye diseases\nN1 medbench scores: Neoplasms=0.93" in out


def test_refer(tmp_path: Path) -> None:
    text = "%0 Journal Article\n%A A, B\n%T One\n%X Line one\nline two\n%K x\ny\n\n%0 Book\n%T Two\n\n%0 Thesis\n"
    found = records(put(tmp_path, text))
    assert [record.line for record in found] == [1, 9, 12]
    assert found[0].first("abstract") == "Line one\nline two"
    assert found[0].fields["%K"] == ("x", "y")
    assert found[2].refused is not None
    assert "%K Neoplasms\n%K Eye diseases\n%Z medbench scores" in written(put(tmp_path, text), ADDITIONS).decode()


@pytest.mark.parametrize("name", ["ris", "medline", "wos", "refer"])
@given(data=st.binary(max_size=300))
def test_no_bytes_make_a_tagged_reader_raise(name: str, data: bytes) -> None:
    marks = {"ris": b"TY  - X\n", "medline": b"PMID- 1\n", "wos": b"PT J\n", "refer": b"%0 X\n"}
    found = parse(name, marks[name] + data)
    assert found
    assert all(record.line >= 1 for record in found)
