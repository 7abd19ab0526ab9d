"""Tables: CSV and its relatives, JSON, JSON Lines, Excel."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reader_samples import ADDITIONS, as_workbook, put, records, written

from medbench.errors import MedbenchError
from medbench.readers import Limits, Source, get_reader, open_source
from medbench.readers._tables import neutral
from medbench.records import Record


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found_and_kept(delimiter: str, tmp_path: Path) -> None:
    lines = ["title abstract labels".replace(" ", delimiter)]
    lines += [delimiter.join((f"Title {n}", f'"An abstract; with, all {n}"', "a")) for n in range(4)]
    path = put(tmp_path, "\n".join(lines), "a.txt")
    reader, source = open_source(path)
    assert source.delimiter == delimiter
    assert [record.first("title") for record in reader.read(source)] == [f"Title {n}" for n in range(4)]
    assert written(path, ADDITIONS).decode().splitlines()[0] == delimiter.join(
        ["title", "abstract", "labels", *ADDITIONS]
    )


def test_lines_are_physical_and_quoted_newlines_stay(tmp_path: Path) -> None:
    found = records(put(tmp_path, 'title,abstract\n"A","one\ntwo\r\nthree"\n\nB,C\n'))
    assert [(record.line, record.first("abstract")) for record in found] == [(2, "one\ntwo\r\nthree"), (6, "C")]


def test_short_rows_are_filled_and_long_rows_refused_only_for_text(tmp_path: Path) -> None:
    found = records(put(tmp_path, "id,title,abstract\n1,A,B\n2,C\n3,D,E,,\n4,F,G,H\njust a remark\n5,I,J\n"))
    assert [(record.line, record.refused is None) for record in found] == [
        (2, True), (3, True), (4, True), (5, False), (6, False), (7, True),
    ]  # fmt: skip
    assert found[1].repairs == ("1 cells missing, left blank",)
    assert found[1].fields == {"id": ("2",), "title": ("C",), "abstract": ("",)}
    assert found[2].repairs == ("2 surplus blank cells left out",)
    assert found[3].refused == "the row has 4 cells, but there are 3 columns"
    assert found[3].order == (("", "4"), ("", "F"), ("", "G"), ("", "H"))
    assert found[4].refused == "a line of text where 3 cells are expected"


def test_a_stray_quotation_mark_costs_one_row_not_the_rest_of_the_file(tmp_path: Path) -> None:
    rows = [f'{n},"Title {n}","Abstract {n}"' for n in range(50)]
    rows[10] = '10,"Title 10,Abstract 10'
    rows[30] = '30,"Title "30" x",Abstract 30'
    found = records(put(tmp_path, "\n".join(["id,title,abstract", *rows]) + "\n"))
    good = {record.first("id"): record for record in found if record.refused is None}
    assert set(good) >= {str(n) for n in range(50)} - {"10", "30"}
    assert good["11"].first("title") == "Title 11"
    assert good["11"].line == 13
    assert {record.line for record in found if record.repairs or record.refused} == {12, 32}


def test_a_torn_last_row_is_told(tmp_path: Path) -> None:
    found = records(put(tmp_path, 'id,title,abstract\n1,A,B\n2,C,"An abstract that\nbreaks o'))
    assert found[-1].line == 3
    assert found[-1].repairs == ("the file breaks off inside this row",)
    assert found[-1].first("abstract") == "An abstract that\nbreaks o"
    found = records(put(tmp_path, "id,title,abstract\n1,A,B\n2,C"))
    assert found[-1].repairs == ("1 cells missing, left blank",)


def test_names_are_made_unique_and_stripped(tmp_path: Path) -> None:
    reader, source = open_source(put(tmp_path, "title ,note,note,,abstract\nA,b,c,d,e\nA,b,c,d,e\n"))
    assert list(next(reader.read(source)).fields) == ["title", "note", "note_2", "column_4", "abstract"]
    assert source.notices == ("A second column called 'note' is now 'note_2'.",)


def test_what_stands_before_the_names_is_left_out(tmp_path: Path) -> None:
    text = '"SEARCH QUERY","x:ti"\n-----\n\n"Title","Abstract","Year"\n"A","B","2020"\n"C","D","2021"\n'
    reader, source = open_source(put(tmp_path, text))
    assert source.skip == 3
    assert source.notices == ("What stands before the column names in line 4 was left out.",)
    assert [(record.line, record.first("Title")) for record in reader.read(source)] == [(5, "A"), (6, "C")]


def test_a_missing_header_is_noticed(tmp_path: Path) -> None:
    reader, source = open_source(put(tmp_path, "1,Heart failure in adults,0.5\n2,Liver failure,0.7\n3,Gout,0.1\n"))
    assert not source.header
    assert source.notices == ("The first row holds data, so the columns are called column_1 to column_3.",)
    found = list(reader.read(source))
    assert len(found) == 3
    assert (found[0].line, found[0].first("column_2")) == (1, "Heart failure in adults")


def test_guarded_cells_huge_cells_and_nul_bytes(tmp_path: Path) -> None:
    long = "word " * 60_000
    path = put(tmp_path, f'title,issn,abstract\nA,="01932620",{long}\nB\0,x,y\n')
    found = records(path)
    assert found[0].first("issn") == "01932620"
    assert found[0].first("abstract") == long
    assert found[1].first("title") == "B"
    assert found[1].repairs == ("NUL bytes were left out",)


def test_one_column_needs_a_known_name(tmp_path: Path) -> None:
    path = put(tmp_path, "text\nfirst note\nsecond note\n")
    assert [record.first("text") for record in records(path, "a.csv")] == ["first note", "second note"]
    with pytest.raises(MedbenchError, match="plain text"):
        open_source(put(tmp_path, "Dear all\nfirst note\n"), "a.csv")


@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-x", "@SUM(A1)", "\tx", "\r=1", "=HYPERLINK(1)"])
def test_cells_that_would_run_are_neutralised(cell: str, tmp_path: Path) -> None:
    assert neutral(cell) == f"'{cell}"
    source = Source(put(tmp_path, "title,abstract\nA,B\n"), "a.csv", delimiter=",")
    out = io.BytesIO()
    record = Record(2, {"title": (cell,), "abstract": ("fine",)})
    get_reader("tables").write([(record, {"medbench_labels": cell})], out, source)
    row = next(csv.DictReader(io.StringIO(out.getvalue().decode(), newline="")))
    assert (row["title"], row["medbench_labels"]) == (f"'{cell}", f"'{cell}")


@pytest.mark.parametrize("cell", ["-1.5", "+3", "-0,5", "1e-3", "-12%", "a=b", ""])
def test_numbers_and_plain_text_are_not_touched(cell: str) -> None:
    assert neutral(cell) == cell


def test_the_mark_is_kept_and_refused_rows_pass(tmp_path: Path) -> None:
    path = put(tmp_path, "\ufefftitle,abstract,id\nA,B,1\nC,D,2,E\n")
    copy = put(tmp_path, written(path, {"medbench_labels": "x"}), "copy.csv")
    assert copy.read_bytes().startswith(b"\xef\xbb\xbf")
    assert copy.read_text(encoding="utf-8-sig").splitlines() == [
        "title,abstract,id,medbench_labels",
        "A,B,1,x",
        "C,D,2,E",
    ]


def test_a_second_export_replaces_the_first(tmp_path: Path) -> None:
    path = put(tmp_path, "title,abstract\nA,B\nC,D\n")
    once = put(tmp_path, written(path, {"medbench_labels": "old"}), "once.csv")
    twice = put(tmp_path, written(once, {"medbench_labels": "new"}), "twice.csv")
    assert [row["medbench_labels"] for row in csv_rows(twice)] == ["new", "new"]
    assert list(csv_rows(twice)[0]) == ["title", "abstract", "medbench_labels"]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufffd\ufeff"), max_size=20)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6), st.sampled_from(",;\t|"))
def test_csv_cells_survive_reading(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], mark: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=mark).writerows([("title", "abstract"), *rows])
    source = Source(path, "cells.csv", delimiter=mark)
    found = list(get_reader("tables").records(source))
    expected = [row for row in rows if any(cell.strip() for cell in row)]
    assert [(record.first("title"), record.first("abstract")) for record in found] == expected
    assert not [record for record in found if record.repairs]


@given(st.binary(max_size=400))
def test_no_bytes_make_the_door_raise_anything_but_its_own_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(b"title,abstract\n" + content)
    try:
        reader, source = open_source(path, limits=Limits())
        found = list(reader.read(source))
    except MedbenchError as error:
        assert error.todo
    else:
        assert found


def test_jsonl_refuses_by_line(tmp_path: Path) -> None:
    text = '{"id": 1, "title": "A"}\n{"id": 2, "title":\n\n[1]\n{"id": 0389, "title": "B"}\n'
    text += '{"id": 3, "title": null, "x": {"a": [1]}}\n'
    found = records(put(tmp_path, text))
    assert [record.line for record in found] == [1, 2, 4, 5, 6]
    assert [record.refused is None for record in found] == [True, False, False, False, True]
    assert found[2].refused == "not a JSON object but a list"
    assert found[4].fields == {"id": ("3",), "title": ("",), "x": ('{"a": ["1"]}',)}
    assert found[1].order == (("line", '{"id": 2, "title":'),)


def test_jsonl_writes_refused_lines_as_they_were(tmp_path: Path) -> None:
    path = put(tmp_path, '{"id": 1.10, "title": "A"}\n{"id": 2, "ti\n{"id": 3, "title": "C"}\n')
    lines = written(path, {"medbench_labels": "x;y"}).decode().splitlines()
    assert lines[0] == '{"id": 1.10, "title": "A", "medbench_labels": "x;y"}'
    assert lines[1] == '{"id": 2, "ti'
    assert json.loads(lines[2])["medbench_labels"] == "x;y"


@pytest.mark.parametrize(
    "text",
    [
        '[{"title": "A", "n": 1}, {"title": "B", "n": 2}]',
        '{"count": 2, "records": [{"title": "A", "n": 1}, {"title": "B", "n": 2}]}',
        '{"title": ["A", "B"], "n": [1, 2]}',
        '{"title": {"0": "A", "1": "B"}, "n": {"0": 1, "1": 2}}',
    ],
)
def test_json_layouts(text: str, tmp_path: Path) -> None:
    found = records(put(tmp_path, text, "a.json"), "a.json")
    assert [record.fields for record in found] == [{"title": ("A",), "n": ("1",)}, {"title": ("B",), "n": ("2",)}]


def test_json_keyed_by_id_gets_the_id(tmp_path: Path) -> None:
    found = records(put(tmp_path, '{"p1": {"title": "A"},\n "p2": {"title": "B"}}'))
    assert [record.first("id") for record in found] == ["p1", "p2"]


def test_a_broken_object_in_a_json_list_costs_itself_only(tmp_path: Path) -> None:
    text = '[{"title": "A", "n": 1},\n{"title": "B, "n": 2},\n{"title": "C", "n": 3},\n{"title": "D", '
    found = records(put(tmp_path, text, "a.json"))
    assert [(record.line, record.first("title"), record.refused is None) for record in found] == [
        (1, "A", True), (2, "", False), (3, "C", True), (4, "", False),
    ]  # fmt: skip


def test_deep_nesting_is_refused_not_crashed_on(tmp_path: Path) -> None:
    found = records(put(tmp_path, '[{"title": "A"},' + "[" * 100_000, "a.json"), "a.json")
    assert found[0].first("title") == "A"
    assert found[1].refused is not None


def test_excel_cells_keep_their_look(tmp_path: Path) -> None:
    from openpyxl import load_workbook

    path = put(tmp_path, as_workbook([["title", "code", "n", "day", "f", "formula"], ["A", "0389", 5.0, date(2020, 1, 2), 0.25, "=1+1"], ["B", 389, 7, None, True, "x"]]), "a.xlsx")  # fmt: skip  # noqa: E501
    book = load_workbook(path)
    book.active["B3"].number_format = "00000"
    book.save(path)
    found = records(path)
    assert [record.line for record in found] == [2, 3]
    assert [values[0] for values in found[0].fields.values()] == ["A", "0389", "5", "2020-01-02", "0.25", ""]
    assert [values[0] for values in found[1].fields.values()] == ["B", "00389", "7", "", "TRUE", "x"]


def test_excel_takes_the_first_sheet_with_a_table_and_says_so(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.active.title = "Cover"
    book.active["A1"] = "My search"
    sheet = book.create_sheet("Data")
    for row in (["Search of today"], [], ["Title", "Abstract", None], ["A", "B"], [None, None], ["C", "D"]):
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    reader, source = open_source(tmp_path / "a.xlsx")
    assert (source.sheet, source.skip) == ("Data", 2)
    assert source.notices == (
        "Only the sheet 'Data' of 2 is read.", "What stands before the column names in row 3 was left out.",
    )  # fmt: skip
    assert [(record.line, record.first("Title")) for record in reader.read(source)] == [(4, "A"), (6, "C")]


def test_excel_goes_back_out_with_columns_and_no_formulas(tmp_path: Path) -> None:
    from openpyxl import load_workbook

    path = put(tmp_path, as_workbook([["title", "abstract", "code"], ["A", "B", "0389"], ["'=C", "D", 12]]), "a.xlsx")
    reader, source = open_source(path)
    rows = [(record, ADDITIONS) for record in reader.read(source)]
    rows[0] = (Record(2, {**rows[0][0].fields, "title": ("=1+1",)}), ADDITIONS)
    out = io.BytesIO()
    reader.write(rows, out, source)
    sheet = load_workbook(io.BytesIO(out.getvalue())).active
    cells = list(sheet.iter_rows(values_only=True))
    assert cells[0] == ("title", "abstract", "code", *ADDITIONS)
    assert cells[1][:4] == ("'=1+1", "B", "0389", "Neoplasms;Eye diseases")
    assert cells[2][2] == 12
    assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row)


def test_a_damaged_workbook_is_one_sentence(tmp_path: Path) -> None:
    whole = as_workbook([["title", "abstract"], ["A", "B"]])
    with pytest.raises(MedbenchError, match="a whole Excel workbook"):
        open_source(put(tmp_path, whole[: len(whole) // 2], "a.xlsx"))
