"""A file dropped in a real browser becomes a dataset whose rows can be seen."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, expect

from medbench.datasets import list_datasets

from .conftest import Server

pytestmark = pytest.mark.browser

SUBJECTS = ("heart", "lung")


def ris_file(path: Path) -> Path:
    """Forty references in RIS; two of them are the same article."""
    records = []
    for number in range(40):
        subject = SUBJECTS[number % 2]
        article = min(number, 38)
        told = f"We followed {article + 20} patients with {subject} disease number {article} for {article + 2} weeks."
        title = f"Outcome of {subject} disease in cohort {article}"
        records.append(f"TY  - JOUR\nAN  - {number}\nTI  - {title}\nAB  - {told}\nC1  - {subject}\nER  - \n")
    path.write_text("\n".join(records), encoding="utf-8")
    return path


def test_a_dropped_ris_file_becomes_a_dataset(server: Server, page: Page, tmp_path: Path) -> None:
    page.goto(f"{server.address}/datasets?add=1")
    page.locator("input[type=file]").set_input_files(ris_file(tmp_path / "export.ris"))
    expect(page.get_by_text("export.ris").first).to_be_visible()
    expect(page.get_by_text("40 records")).to_be_visible()
    page.get_by_role("button", name="Check the records").click()
    expect(page.get_by_text("Read as they stand")).to_be_visible()
    page.get_by_role("button", name="Save the dataset").click()
    expect(page.get_by_text("Saved. Cite it as")).to_be_visible()
    (card,) = list_datasets(server.workspace)
    assert (card["n_rows"], card["name"]) == (40, "export")
    assert not list((server.workspace.data / "uploads").iterdir())

    page.get_by_text("Rows", exact=True).first.click()
    page.get_by_role("button", name="Rows").or_(page.get_by_role("radio", name="Rows")).first.click()
    grid = page.frame_locator("iframe").first
    expect(grid.get_by_text("Outcome of lung disease in cohort 1", exact=True).first).to_be_visible()


def test_pages_and_api_answer_on_one_port(server: Server, page: Page) -> None:
    page.goto(server.address)
    expect(page.get_by_role("heading", name="medbench")).to_be_visible()
    expect(page.get_by_text("Not a medical device.")).to_be_visible()
    with urlopen(f"{server.address}/api/health", timeout=10) as answer:
        assert json.load(answer)["status"] == "ok"


def test_who_comes_straight_to_a_page_sees_its_frame(server: Server, page: Page) -> None:
    page.goto(f"{server.address}/datasets")
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    expect(page.get_by_role("link", name="Classify")).to_be_visible()
    expect(page.get_by_text("Not a medical device.")).to_be_visible()
