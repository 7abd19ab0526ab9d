"""Marked evidence: read from its column, or carried over from the language it was marked in."""

from __future__ import annotations

import json

from medbench import datasets, drafting
from medbench.marking import column_of, marks_from, marks_of
from medbench.projection import likeness, project

# Pairs of sentences, enough for the word translations to be learnt; the last word of each differs from text to text.
SPANISH = ["Varón con fiebre alta y tos.", "Mujer con dolor abdominal y fiebre.", "Niño con tos seca y dolor torácico."]
ENGLISH = [
    "Man with high fever and cough.",
    "Woman with abdominal pain and fever.",
    "Child with dry cough and chest pain.",
]


def test_words_of_two_languages_are_known_by_their_shape():
    assert likeness("orquiepididimitis", "orchiepididymitis") > 0.8
    assert likeness("estenosis", "stenosis") == 1.0
    assert likeness("fiebre", "pain") < 0.3


def test_marks_land_on_the_translated_words():
    sources = [f"{SPANISH[n % 3]} {SPANISH[(n + 1) % 3]}" for n in range(12)]
    targets = [f"{ENGLISH[n % 3]} {ENGLISH[(n + 1) % 3]}" for n in range(12)]
    marks = [[[_place(text, "fiebre")], [_place(text, "dolor")]] for text in sources]
    found = project(sources, targets, marks)
    for text, places in zip(targets, found, strict=True):
        words = [text[slice(*place)] if place else None for place in places]
        assert words == ["fever", "pain"]


def test_a_mark_without_a_translation_is_dropped_and_blank_texts_are_fine():
    assert project(["Nada que ver aquí.", ""], ["", "Nothing."], [[[(0, 4)]], [[(0, 1)]]]) == [[None], [None]]
    assert project([], [], []) == []


def test_spans_in_the_items_own_text_are_kept_when_the_quotes_agree():
    cell = json.dumps(
        [{"label": "A", "spans": [["4", "9"]], "text": "fever"}, {"code": "B", "spans": [[0, 3]], "text": "Low"}]
    )
    marks, sentence = marks_of([cell], [""], ["Low fever today"], [["A"]], {}, str)
    assert [(mark.label, mark.start, mark.end) for mark in marks_from(marks[0])] == [("A", 4, 9)]
    assert sentence == "Marked evidence: 1 of 1 marks were placed in the texts."


def test_what_is_no_evidence_is_left_alone():
    assert marks_of(["free words", "[1, 2]", "{}", ""], [""] * 4, ["a b"] * 4, [[]] * 4, {}, str) == ([], "")
    wrong = json.dumps([{"label": "A", "spans": [[0, 3]], "text": "not there"}])
    assert marks_of([wrong], [""], ["Low fever"], [["A"]], {}, str) == ([], "")
    assert column_of(["id", "Evidence", "text"]) == "Evidence" and column_of(["id", "text"]) is None


def test_a_file_with_evidence_becomes_examples_with_marks(tmp_path):
    rows = []
    for n in range(12):
        source, target = (
            f"{SPANISH[n % 3]} {SPANISH[(n + 1) % 3]}",
            f"{ENGLISH[n % 3]} {ENGLISH[(n + 1) % 3]} Case {n}.",
        )
        start, end = _place(source, "fiebre")
        evidence = [{"code": "r509", "text": "fiebre", "spans": [[start, end]]}]
        rows.append(
            {"id": f"c{n}", "text": target, "text_es": source, "dx": ["r509", f"x{n % 2}"], "evidence": evidence}
        )
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    draft = drafting.draft([(path, "notes.jsonl")], task_name="literature", clean_label=str.upper)
    assert (
        "Marked evidence: 12 of 12 marks were placed in the texts, carried over from the column text_es."
        in draft.notices
    )
    assert "x_evidence" not in draft.frame
    frame = draft.frame
    for text, cell in zip(frame["text"], frame["marks"], strict=True):
        (mark,) = marks_from(cell)
        assert mark.label == "R509" and text[mark.start : mark.end] == "fever"
    assert datasets.truth_of(frame["labels"], draft.labels).shape == (12, 3)


def _place(text, word):
    start = text.index(word)
    return start, start + len(word)
