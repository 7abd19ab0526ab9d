"""The ICD page: empty, a note coded and decided on, looked up, listed again, and bad input in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import HUNG
from fpdf import FPDF
from pages_at_work import opened, words_on
from streamlit.testing.v1 import AppTest

from medbench import coding_history
from medbench.code_sheet import Act, CodeSheet
from medbench.codes import tables
from medbench.ui_icd import EXAMPLE
from medbench.workspace import Workspace

PAGE = "pages/icd.py"
PRESSURE = "icd10cm:I10"


@pytest.fixture
def started(home: Workspace) -> AppTest:
    return opened(PAGE)


def coded(app: AppTest, text: str = EXAMPLE) -> AppTest:
    app.text_area(key="icd_text").set_value(text)
    app.button(key="icd_go").click().run()
    assert not app.exception
    return app


def test_an_empty_page_says_what_to_do(started: AppTest) -> None:
    told = words_on(started)
    assert "Paste a note or drop a file" in told
    assert "Not a medical device" in told
    assert "Something went wrong" not in told


def test_an_empty_note_is_refused_in_one_sentence(started: AppTest) -> None:
    assert "Paste a note, or drop a PDF with text in it." in words_on(coded(started, "  "))


def dropped(app: AppTest, name: str, data: bytes) -> AppTest:
    app.get("file_uploader")[0].set_value([(name, data, "application/octet-stream")]).run()
    assert not app.exception
    return app


def test_a_dropped_file_is_read_and_coded_at_once(home: Workspace, started: AppTest) -> None:
    paper = FPDF()
    paper.set_font("helvetica", size=12)
    paper.add_page()
    paper.multi_cell(0, 8, "Assessment: essential hypertension is well controlled.")
    paper.add_page()
    app = dropped(started, "letter.pdf", bytes(paper.output()))
    assert "essential hypertension" in app.text_area(key="icd_text").value
    assert app.session_state["icd_coded"][0].proposals[0].code.label == PRESSURE
    assert "Pages without text" in words_on(app)


def test_a_file_that_cannot_be_read_leaves_the_note_and_its_codes(home: Workspace, started: AppTest) -> None:
    app = dropped(coded(started), "note.pdf", b"PK\x03\x04\0\0 a zip")
    assert "found 'note.pdf', which is neither" in words_on(app)
    assert app.text_area(key="icd_text").value == EXAMPLE
    assert "Codes you settled on" in words_on(app)
    app.run()
    assert "which is neither" not in words_on(app)


def test_an_empty_note_leaves_the_codes_of_the_last_one(home: Workspace, started: AppTest) -> None:
    app = coded(coded(started), " ")
    assert "Paste a note" in words_on(app)
    assert "Codes you settled on" in words_on(app)


def test_a_note_is_coded_and_a_code_is_added_and_taken_back(home: Workspace, started: AppTest) -> None:
    app = coded(started)
    assert "ICD-10-CM" in words_on(app)
    assert "None yet" in words_on(app)
    app.text_input(key="icd_who").set_value("AB").run()
    app.text_input(key="icd_add").set_value("I10").run()
    app.button(key=f"icd_add_{PRESSURE}").click().run()
    assert not app.exception
    (kept,) = coding_history.newest(home)
    assert (kept.sheet.chosen, kept.who) == ((PRESSURE,), "AB")
    app.button(key="icd_undo").click().run()
    assert coding_history.newest(home)[0].sheet.chosen == ()


def test_the_dictionary_codes_in_the_table_that_is_chosen(home: Workspace, started: AppTest) -> None:
    started.selectbox(key="icd_coder").set_value("").run()
    assert started.selectbox(key="icd_dictionary").value == "icd10cm"
    started.selectbox(key="icd_dictionary").set_value("icd9cm").run()
    app = coded(started)
    assert {one.code.version for one in app.session_state["icd_coded"][0].proposals} == {"icd9cm"}
    app.text_input(key="icd_add").set_value("401").run()
    app.button(key="icd_add_icd9cm:401.9").click().run()
    assert app.session_state["icd_coded"][1].chosen == ("icd9cm:401.9",)
    app.selectbox(key="icd_dictionary").set_value("icd10cm").run()
    assert "as it was before your last change" in words_on(app)


def test_a_note_that_was_coded_is_kept_before_anything_is_decided(home: Workspace, started: AppTest) -> None:
    coded(coded(started))
    (kept,) = coding_history.newest(home)
    assert (kept.text, kept.sheet.acts) == (EXAMPLE, ())


def test_decisions_come_back_with_the_note(home: Workspace) -> None:
    coding_history.keep(home, EXAMPLE, "", CodeSheet().act(Act("accept", PRESSURE, "", "AB", 1.0)), "AB")
    app = coded(opened(PAGE))
    assert app.session_state["icd_coded"][1].chosen == (PRESSURE,)
    assert "Codes you settled on" in words_on(app)


def test_codes_are_looked_up_and_opened(home: Workspace) -> None:
    app = AppTest.from_file(str(Path(__file__).resolve().parent.parent / "app.py"), default_timeout=HUNG)
    app.switch_page(PAGE)
    app.session_state["icd_tab"] = "Look up a code"
    app.run()
    app.text_input(key="icd_search").set_value("E11.9").run()
    app.button(key="icd_hit_icd10cm:E11.9").click().run()
    told = words_on(app)
    assert not app.exception
    assert "Type 2 diabetes mellitus without complications" in told
    assert "billable" in told
    assert "Excludes1" in told


def test_the_history_lists_and_opens_again(home: Workspace) -> None:
    coding_history.keep(home, EXAMPLE, "", CodeSheet().act(Act("accept", PRESSURE, "", "AB", 1.0)), "AB")
    app = AppTest.from_file(str(Path(__file__).resolve().parent.parent / "app.py"), default_timeout=HUNG)
    app.switch_page(PAGE)
    app.session_state["icd_tab"] = "History"
    app.run()
    assert not app.exception
    frame = app.dataframe[0].value
    assert list(frame["codes"]) == ["I10"]
    assert list(frame["by"]) == ["AB"]


def test_a_conflict_is_shown_with_a_button_that_settles_it(home: Workspace) -> None:
    sheet = CodeSheet().act(Act("accept", "icd10cm:R05", "", "AB", 1.0)).act(Act("add", "icd10cm:E11.9", "", "AB", 2.0))
    coding_history.keep(home, EXAMPLE, "", sheet, "AB")
    app = coded(opened(PAGE))
    assert "R05 is not billable" in words_on(app)
    assert "additional codes" in words_on(app) or any("additional codes" in one.label for one in app.expander)
    app.button(key="icd_fix_finer_replace_icd10cm:R05_icd10cm:R05.9").click().run()
    assert not app.exception
    assert coding_history.newest(home)[0].sheet.chosen == ("icd10cm:R05.9", "icd10cm:E11.9")
    assert "R05 is not billable" not in words_on(app)


def test_of_two_codes_that_exclude_each_other_one_can_be_removed(home: Workspace) -> None:
    sheet = CodeSheet().act(Act("add", "icd10cm:E11.9", "", "AB", 1.0)).act(Act("add", "icd10cm:E10.9", "", "AB", 2.0))
    coding_history.keep(home, EXAMPLE, "", sheet, "AB")
    app = coded(opened(PAGE))
    assert "may not be coded together" in words_on(app)
    app.button(key="icd_fix_excludes1_reject_icd10cm:E10.9_").click().run()
    assert coding_history.newest(home)[0].sheet.chosen == ("icd10cm:E11.9",)
    assert "may not be coded together" not in words_on(app)


def test_a_note_of_the_history_is_coded_again_at_once(home: Workspace) -> None:
    app = opened(PAGE)
    app.session_state["icd_text"] = EXAMPLE
    app.session_state["icd_again"] = True
    app.run()
    assert not app.exception
    assert app.session_state["icd_coded"][0].text == EXAMPLE


def test_a_list_that_was_cut_says_so(home: Workspace) -> None:
    many = [code.text for code in tables().descendants("icd10cm:M10")[:90]]
    assert "The first 30 codes; there may be more" in words_on(coded(opened(PAGE), ". ".join(many)))
