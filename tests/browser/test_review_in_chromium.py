"""Reading by key in a real browser: the next record is there at once, nothing typed into a note decides anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import import_planted
from playwright.sync_api import Page, expect

from medbench import review

from .conftest import Server

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds for what a busy machine does slowly


def test_records_are_read_by_key(server: Server, page: Page, tmp_path: Path) -> None:
    place = server.workspace
    dataset = import_planted(place, tmp_path, rows=120)
    plan = review.create(place, dataset, "Tumours", ["include"], question="carcinoma, lymphoma or metastasis")
    held = review.load(place, plan.id)
    page.goto(f"{server.address}/review?review={plan.id}")
    page.get_by_role("textbox", name="Your initials").fill("ab")
    page.get_by_role("textbox", name="Your initials").press("Enter")
    expect(page.get_by_role("button", name="Include")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("textbox", name="Note").fill("yes, no, unsure")  # letters in a note are letters
    page.get_by_role("textbox", name="Note").press("Tab")
    assert held.journal.standing().decisions == ()
    page.locator("h1").click()
    for key, count in (("y", 1), ("n", 2), ("u", 3), ("y", 4)):
        page.keyboard.press(key)
        expect(page.get_by_text(f"{count} of 120 decided")).to_be_visible(timeout=PATIENCE)
    page.keyboard.press("z")
    expect(page.get_by_text("3 of 120 decided")).to_be_visible(timeout=PATIENCE)
    decisions = held.journal.standing().decisions
    assert [(one.verdict, one.labels) for one in decisions] == [("read", ("include",)), ("read", ()), ("unsure", ())]
    assert (decisions[0].note, decisions[1].note) == ("yes, no, unsure", "")
    for count in range(4, 30):  # the order is learnt behind the page: it marks words as soon as it can
        page.keyboard.press("y" if count % 2 else "n")
        expect(page.get_by_text(f"{count} of 120 decided")).to_be_visible(timeout=PATIENCE)
        if page.locator("mark").count():
            break
        page.wait_for_timeout(3_000)
    assert page.locator("mark").count()

    page.get_by_role("tab", name="Progress and stopping").click()
    expect(page.get_by_text("May reading stop?")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("tab", name="Settle").click()
    expect(page.get_by_text("1 record waits")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("tab", name="Export").click()
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name="RIS").click()
    assert "KW  - include" in Path(download.value.path()).read_text(encoding="utf-8")
