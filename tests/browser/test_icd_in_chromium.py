"""A note on the ICD page of a real browser: words light up, codes are decided on by key, replaced, undone, exported."""

from __future__ import annotations

import csv
import json
import re

import pytest
from fpdf import FPDF
from playwright.sync_api import Locator, Page, expect

from .conftest import Server, downloaded, settled

pytestmark = pytest.mark.browser
ACCEPTED = re.compile("mb-accepted")
NOTE = (
    "Assessment: lobar pneumonia and essential hypertension. He denies chest pain. "
    "<img src=x onerror=alert(1)> Type 2 diabetes mellitus."
)


def card(page: Page, code: str) -> Locator:
    return page.locator(".mb-icd-card").filter(has=page.get_by_text(code, exact=True))


def test_a_dropped_pdf_is_coded_and_what_it_denies_can_be_coded_anyway(server: Server, page: Page) -> None:
    paper = FPDF()
    paper.add_page()
    paper.set_font("helvetica", size=12)
    paper.multi_cell(0, 8, "Assessment: essential hypertension. He denies chest pain.")
    page.goto(f"{server.address}/icd")
    box = page.get_by_role("textbox", name="Clinical note")
    expect(box).to_be_visible()
    page.locator("input[type=file]").set_input_files(
        {"name": "letter.pdf", "mimeType": "application/pdf", "buffer": bytes(paper.output())}
    )
    expect(card(page, "I10")).to_be_visible()
    expect(box).to_have_value(re.compile("essential hypertension"))
    page.locator(".mb-apart-card").get_by_role("button", name="Code it anyway").click()
    expect(page.locator(".mb-apart-card.mb-accepted")).to_contain_text("R07.9")
    page.locator("input[type=file]").set_input_files(
        {"name": "note.pdf", "mimeType": "application/pdf", "buffer": b"PK\x03\x04\0\0"}
    )
    expect(page.get_by_test_id("stAlert")).to_contain_text("which is neither")
    expect(card(page, "I10")).to_be_visible()


def test_a_note_is_coded_by_hand_and_key(server: Server, page: Page) -> None:
    page.goto(f"{server.address}/icd")
    page.get_by_role("textbox", name="Clinical note").fill(NOTE)
    page.get_by_role("textbox", name="Clinical note").press("Control+Enter")
    expect(page.locator(".mb-icd-card").first).to_be_focused()
    expect(card(page, "J18.1")).to_be_visible()
    assert page.locator(".mb-icd img").count() == 0

    card(page, "J18.1").click()
    expect(page.locator("mark.mb-lit").first).to_be_visible()
    assert "".join(page.locator("mark.mb-lit").all_inner_texts()) == "lobar pneumonia"
    page.locator(".mb-icd-text mark", has_text="hypertension").first.click()
    expect(page.locator(".mb-icd-card.mb-lit .mb-code")).to_have_text("I10")
    expect(page.locator(".mb-apart-card").first).to_contain_text("denied")

    card(page, "J18.1").press("a")
    expect(card(page, "J18.1")).to_have_class(ACCEPTED)
    page.keyboard.press("x")  # the card keeps the focus, whatever is drawn anew
    expect(card(page, "J18.1")).to_have_class(re.compile("mb-rejected"))
    page.keyboard.press("u")
    expect(card(page, "J18.1")).to_have_class(ACCEPTED)
    card(page, "I10").press("a")
    expect(card(page, "I10")).to_have_class(ACCEPTED)
    page.keyboard.press("u")
    expect(card(page, "I10")).not_to_have_class(ACCEPTED)

    card(page, "E11.9").press("e")
    box = page.get_by_role("textbox", name="Replace E11.9 by")
    box.fill("E11")
    expect(page.get_by_role("button", name="E11.0", exact=False).first).to_be_visible()
    box.press_sequentially(".6", delay=400)  # slower than the page answers: each answer finds more typed than asked
    box.press_sequentially("5")
    expect(box).to_have_value("E11.65")
    page.get_by_role("button", name="E11.65").click()
    expect(card(page, "E11.9")).to_contain_text("replaced by E11.65")

    rows = list(csv.DictReader(downloaded(page, "CSV", exact=True).read_text(encoding="utf-8-sig").splitlines()))
    assert [row["code"] for row in rows] == ["J18.1", "E11.65"]
    bundle = json.loads(downloaded(page, "FHIR").read_text(encoding="utf-8"))
    assert len(bundle["entry"]) == 2
    assert downloaded(page, "PDF report").read_bytes().startswith(b"%PDF")

    settled(page)
    page.get_by_role("tab", name="History").click()
    expect(page.get_by_role("button", name="Open it again")).to_be_visible()
