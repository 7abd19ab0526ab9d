"""A photograph dropped on the Lesions page of a real browser: answered, looked into, carried away; then many."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from drawn_pictures import encoded, zipped
from PIL import Image
from playwright.sync_api import Page, expect
from tiny_lesions import lesion

from .conftest import Server, downloaded

pytestmark = pytest.mark.browser
TRUST = re.compile("lean on this map|leaned on|as a hint|map is empty")


def test_one_photograph_then_many(server: Server, page: Page, tmp_path: Path) -> None:
    photo = tmp_path / "mole.png"
    lesion("mel", 7, (600, 450)).save(photo)
    page.goto(f"{server.address}/lesion?model=starter-lesion")
    expect(page.get_by_text("Drop a photograph of a skin lesion")).to_be_visible()
    page.locator("input[type=file]").set_input_files(photo)
    expect(page.get_by_text("Malignant, all classes together")).to_be_visible()
    expect(page.get_by_text("Research use. Not a medical device.").first).to_be_visible()
    shown = page.locator("[data-testid=stImage] img").first
    page.wait_for_function("() => document.querySelector('[data-testid=stImage] img')?.naturalWidth === 600")
    untouched = shown.get_attribute("src")
    assert page.get_by_text(TRUST).count() == 0

    page.get_by_role("slider").focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_text(TRUST)).to_be_visible()
    expect(page.get_by_text("most for it")).to_be_visible()
    expect(shown).not_to_have_attribute("src", str(untouched))
    assert Image.open(downloaded(page, "Picture with heat map (PNG)")).width > 1280
    assert downloaded(page, "Report (PDF)").read_bytes().startswith(b"%PDF")

    members = {f"{number}.jpg": encoded(lesion("nv", number)) for number in range(3)}
    page.reload()
    page.locator("input[type=file]").set_input_files(
        zipped(tmp_path / "many.zip", {**members, "torn.jpg": members["0.jpg"][:300]})
    )
    expect(page.get_by_text("4 pictures")).to_be_visible()
    table = page.frame_locator("iframe").first
    expect(table.get_by_text("cannot be read")).to_be_visible()
    table.get_by_text("1.jpg").first.click()
    expect(page.get_by_text("Malignant, all classes together")).to_be_visible()
