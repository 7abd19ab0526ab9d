"""Settling on codes: what counts after each act, undo, and the way to disk and back."""

from __future__ import annotations

import pytest

from medbench.code_sheet import Act, CodeSheet

DIABETES, KIDNEY, CATEGORY, COUGH = "icd10cm:E11.9", "icd10cm:E11.22", "icd10cm:E11", "icd10cm:R05.9"


def done(*acts: tuple[str, ...]) -> CodeSheet:
    sheet = CodeSheet(proposed=(DIABETES, COUGH))
    for kind, label, *to in acts:
        sheet = sheet.act(Act(kind, label, to[0] if to else ""))  # type: ignore[arg-type]
    return sheet


def test_what_counts_after_each_act() -> None:
    sheet = done(("accept", DIABETES), ("accept", COUGH), ("accept", DIABETES))
    assert sheet.chosen == (DIABETES, COUGH)
    sheet = sheet.act(Act("first", COUGH))
    assert sheet.chosen == (COUGH, DIABETES)
    sheet = sheet.act(Act("replace", DIABETES, KIDNEY))
    assert sheet.chosen == (COUGH, KIDNEY)
    assert sheet.standing(DIABETES) == "rejected"
    assert sheet.replaced(DIABETES) == KIDNEY
    sheet = sheet.act(Act("reject", COUGH))
    assert sheet.chosen == (KIDNEY,)
    assert sheet.standing(COUGH) == "rejected"
    assert sheet.standing(CATEGORY) == "open"


def test_replacing_keeps_the_place_and_never_doubles() -> None:
    sheet = done(("accept", DIABETES), ("accept", COUGH), ("add", KIDNEY), ("replace", DIABETES, KIDNEY))
    assert sheet.chosen == (KIDNEY, COUGH)


def test_a_code_that_was_not_chosen_can_be_replaced_at_once() -> None:
    assert done(("replace", DIABETES, CATEGORY)).chosen == (CATEGORY,)


def test_undo_takes_back_the_last_act_only() -> None:
    sheet = done(("accept", DIABETES), ("reject", DIABETES))
    assert sheet.undo().chosen == (DIABETES,)
    assert sheet.undo().undo().acts == CodeSheet().undo().acts == ()


def test_to_disk_and_back_and_past_what_a_newer_version_wrote() -> None:
    sheet = done(("accept", DIABETES), ("replace", DIABETES, KIDNEY))
    rows = [*sheet.as_json(), {"kind": "split", "label": COUGH}]
    assert CodeSheet.from_json(rows, sheet.proposed) == sheet


def test_a_replacement_by_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no act"):
        CodeSheet().act(Act("replace", DIABETES))
