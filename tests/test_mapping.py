"""Columns: guessed from names and contents, told, applied; label cells; cleaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from medbench import mapping
from medbench.cleaning import Cleaner, clean_text
from medbench.errors import MedbenchError
from medbench.labelcells import json_list, label_style, pieces_of
from medbench.records import ColumnMap, Record, Role

ROLES: dict[Role, tuple[str, ...]] = {
    "title": ("title", "article_title", "ti"),
    "text": ("abstract", "text", "ab"),
    "labels": ("labels", "label", "specialty"),
    "id": ("pmid", "id", "doi"),
    "group": ("patient_id", "text_id"),
    "split": ("split", "set"),
}
ABSTRACT = "We studied the effect of a drug on the outcome of patients in a randomised trial"


def table(rows: Sequence[Mapping[str, str]]) -> list[Record]:
    return [Record(number + 2, {name: (cell,) for name, cell in row.items()}) for number, row in enumerate(rows)]


def spread(count: int, **columns: Sequence[str]) -> list[Record]:
    """`count` records; each column repeats its values in turn; titles and abstracts are added."""
    rows = []
    for number in range(count):
        row = {"Article Title": f"Title {number}", "Abstract": f"{ABSTRACT} {number}"}
        rows.append(row | {name: values[number % len(values)] for name, values in columns.items()})
    return table(rows)


def test_names_are_matched_without_case_spaces_and_dashes() -> None:
    found = mapping.guess(
        ROLES, spread(4, **{"PMID ": ["1", "2", "3", "4"], "Patient-ID": ["a", "b"], "SET": ["train"]})
    )
    assert (found.title, found.text, found.id, found.group, found.split) == (
        "Article Title",
        "Abstract",
        "PMID ",
        "Patient-ID",
        "SET",
    )
    assert found.labels == ()


def test_the_longest_column_is_the_text_when_no_name_says_so() -> None:
    found = mapping.guess(ROLES, table([{"a": "1", "authors": ABSTRACT * 3, "narrative": ABSTRACT}] * 3))
    assert found.text == "narrative"
    assert mapping.guess(ROLES, table([{"a": "1", "b": "two words"}] * 3)).text is None


@pytest.mark.parametrize(
    ("cells", "style", "separator"),
    [
        (["C01;C02", "C03"], "separated", ";"),
        (["Heart | Lung", "Lung", "Heart"], "separated", "|"),
        (["a,b", "b,c", "a,c", "a"], "separated", ","),
        (["a/b", "b/c", "a/c"], "separated", "/"),
        (["Cardiovascular / Pulmonary", "Surgery", "Cardiovascular / Pulmonary"], "one", None),
        (["Consult - History and Phy.", "Surgery"], "one", None),
        (["Neoplasms, benign", "Heart, left", "Neoplasms, benign"], "one", None),
        (["Cardiovascular / Pulmonary;Surgery", "Surgery", "ENT - Otolaryngology"], "separated", ";"),
        (["['a', 'b']", '["a"]', ""], "json", None),
        (["cancer", "not cancer"], "one", None),
        ([";", "a"], "one", None),
    ],
)
def test_how_labels_stand_in_a_cell(cells: list[str], style: str, separator: str | None) -> None:
    assert label_style(cells) == (style, separator)


def test_lists_are_read_without_running_them() -> None:
    assert json_list("['a', 'b']") == ["a", "b"]
    assert json_list('["a", 3]') == ["a", "3"]
    assert json_list("[__import__('os').getcwd()]") is None
    assert json_list("[" * 5000 + "]" * 5000) is None
    assert pieces_of(ColumnMap(labels=("l",), label_style="json"), "plain") == ["plain"]


def test_one_hot_columns_are_labels_unless_a_label_column_is_named() -> None:
    flags = {"heart": ["1", "0"], "lung": ["0", "1", "1"]}
    found = mapping.guess(ROLES, spread(6, **flags))
    assert (found.labels, found.label_style) == (("heart", "lung"), "columns")
    rows = list(mapping.apply(found, spread(2, **flags), str.strip))
    assert [row.labels for row in rows] == [("heart",), ("lung",)]
    named = mapping.guess(ROLES, spread(6, **flags, label=["x", "y"]))
    assert (named.labels, named.label_style) == (("label",), "one")


def test_a_column_of_few_repeated_values_is_taken_for_labels_only_when_it_is_alone() -> None:
    alone = mapping.guess(ROLES, spread(60, outcome=["good", "bad", "fair"], year=["2020", "2021"]))
    assert alone.labels == ("outcome",)
    both = mapping.guess(ROLES, spread(60, outcome=["good", "bad"], arm=["drug", "placebo", "none"]))
    assert both.labels == ()


def test_tags_of_reference_formats_are_not_searched_for_labels() -> None:
    records = [Record(n, {"ti": ("T",), "DB": (("A", "B")[n % 2],)}, order=(("TI", "T"),)) for n in range(60)]
    found = mapping.guess(ROLES, records)
    assert found.labels == ()
    assert found.title == "ti"


def test_a_record_without_the_mapped_tag_falls_back_on_another() -> None:
    order = (("TI", "x"),)
    records = [
        Record(1, {"TI": ("First",), "AB": ("one",)}, order=order),
        Record(2, {"article_title": ("Second",), "AB": ("two",)}, order=order),
    ]
    rows = list(mapping.apply(ColumnMap(title="TI", text="AB"), records, str.strip, ROLES))
    assert [row.title for row in rows] == ["First", "Second"]


def test_chosen_columns_win_and_the_rest_is_guessed() -> None:
    records = spread(3, summary=["short one"], topics=["a;b", "b"])
    found = mapping.guess(ROLES, records, {"abstract": "summary", "labels": "topics"})
    assert (found.title, found.text, found.labels, found.separator) == ("Article Title", "summary", ("topics",), ";")
    several = mapping.guess(ROLES, spread(3, a=["1"], b=["0"]), {"labels": "a, b"})
    assert (several.labels, several.label_style) == (("a", "b"), "columns")


def test_a_chosen_column_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(MedbenchError) as told:
        mapping.guess(ROLES, spread(2), {"labels": "topic"})
    assert str(told.value) == (
        "Expected a column named 'topic' in the file, found no such column. "
        "Choose one of these: Article Title, Abstract."
    )
    with pytest.raises(MedbenchError, match="Name the abstract or the text"):
        mapping.guess(ROLES, spread(2), {"abstract": "Abstract", "text": "Article Title"})
    with pytest.raises(MedbenchError, match="a part of title"):
        mapping.guess(ROLES, spread(2), {"colour": "Abstract"})


def test_check_refuses_a_map_that_cannot_work() -> None:
    with pytest.raises(MedbenchError, match=r"a title or a text column in f\.csv, found none"):
        mapping.check(ColumnMap(), ["a"], "f.csv")
    with pytest.raises(MedbenchError, match="no such column"):
        mapping.check(ColumnMap(title="b"), ["a"])
    with pytest.raises(MedbenchError, match="a separator for the labels"):
        mapping.check(ColumnMap(title="a", labels=("a",), label_style="separated"), ["a"])


def test_rows_keep_what_plays_no_part_and_refused_records_are_passed_over() -> None:
    records = [
        Record(2, {"t": (" Title ",), "l": ("b; a ;b",), "k": ("one", "two")}),
        Record(3, {}, refused="torn"),
        Record(4, {"t": ("Other",), "l": ("a", "c")}),
    ]
    found = list(
        mapping.apply(ColumnMap(title="t", labels=("l",), label_style="separated", separator=";"), records, str)
    )
    assert [row.line for row in found] == [2, 4]
    assert (found[0].title, found[0].labels, found[0].extra) == ("Title", ("b", "a"), {"k": "one; two"})
    assert found[1].labels == ("a", "c")


def test_the_guess_is_told_in_sentences() -> None:
    records = spread(4, labels=["a;b", "b"], pmid=["1", "2", "3", "4"])
    told = mapping.explain(mapping.guess(ROLES, records), records)
    assert told == [
        "Title: column “Article Title”, 2 words on average.",
        "Text: column “Abstract”, 17 words on average.",
        "Labels: column “labels”, labels separated by “;”; 2 different labels, 1.5 per row.",
        "Id: column “pmid”, 4 different values in 4 rows.",
    ]
    assert mapping.explain(ColumnMap(), []) == ["No record of this file could be read."]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("p &lt; 0.05 &amp; more", "p < 0.05 & more"),
        ("R&D of H&E, AT&T; x", "R&D of H&E, AT&T; x"),
        ("<p>One</p><p>Two H<sub>2</sub>O</p>", "One Two H2O"),
        ("if a<b and c>d, p<.05", "if a<b and c>d, p<.05"),
        ("e\u0301tude", "étude"),
        ("ef\ufb01cient micro\u00adscope", "efficient microscope"),
        ("a\u00a0 b\tc\x00", "a b c"),
        ("one\r\n\r\n\r\ntwo", "one\n\ntwo"),
        ("[No abstract available]", ""),
        ("No abstract available for this, so we wrote one that is long.",) * 2,
        ("Dose 5.0 mg, IL-2; DNA",) * 2,
    ],
)
def test_cleaning_mends_marks_and_keeps_words(before: str, after: str) -> None:
    assert clean_text(before) == after
    assert clean_text(after) == after


def test_cleaning_counts_rows_not_places() -> None:
    cleaner = Cleaner()
    assert cleaner.row("a  b", "c  d  e") == ("a b", "c d e")
    assert cleaner.row("x", "<b>y</b>") == ("x", "y")
    assert cleaner.sentences() == ["Removed HTML or XML tags in 1 row.", "Folded white space in 1 row."]
