"""A zip of pictures dropped in a real browser is judged, looked at and saved."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_pictures import ham_zip
from playwright.sync_api import Page, expect

from medbench.datasets import list_datasets

from .conftest import Server

pytestmark = pytest.mark.browser


def test_a_dropped_zip_becomes_a_dataset_of_pictures(server: Server, page: Page, tmp_path: Path) -> None:
    page.goto(f"{server.address}/datasets?add=1&task=lesion")
    page.locator("input[type=file]").set_input_files(ham_zip(tmp_path / "ham.zip", 30))
    page.get_by_role("button", name="Check the pictures").click()
    expect(page.get_by_text("Pictures read as they stand")).to_be_visible()
    page.get_by_text("Gallery", exact=True).click()
    expect(page.get_by_text("30 pictures", exact=True)).to_be_visible()
    shown = page.locator("[data-testid=stImage] img")
    expect(shown).to_have_count(24)
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=stImage] img')].every(one => one.naturalWidth > 0)"
    )
    page.get_by_role("button", name="Save the dataset").click()
    expect(page.get_by_text("Saved. Cite it as")).to_be_visible()
    (card,) = list_datasets(server.workspace)
    assert (card["item"], card["n_rows"]) == ("image", 30)
    assert not list((server.workspace.data / "uploads").iterdir())
