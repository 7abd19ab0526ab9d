"""The researcher's way in a real browser: two runs meet, part on some records, one is put to use and taken back."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from conftest import import_planted
from playwright.sync_api import Page, TimeoutError, expect
from pypdf import PdfReader

from medbench import aliases, comparing_judged, comparing_records, runs
from medbench.comparing_records import Selection
from medbench.records import RunSpec
from medbench.workspace import Workspace

from .conftest import Server

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds for what a busy machine does slowly
JOB = "literature-planted"


def run_of(place: Workspace, dataset: str, family: str, **options: int) -> str:
    """Carry a run to its end; return its id."""
    run = runs.start(place, RunSpec(task="literature", family=family, dataset=dataset, name=family, options=options))
    *_, last = runs.follow(place, run)
    assert last["kind"] == "finished", last
    return run


def choose(page: Page, box: str, option: str) -> None:
    """Open a select box and take an option; a page that scrolls or is drawn anew shuts the box, so look again."""
    wanted = page.get_by_role("option", name=option, exact=True)
    for _ in range(10):
        page.get_by_role("combobox", name=box, exact=True).click(timeout=PATIENCE)
        try:
            wanted.click(timeout=3_000)
            return
        except TimeoutError:
            continue
    raise AssertionError(f"{option} was never offered")


def champion(place: Workspace) -> str:
    return aliases.get(place, JOB).champion


def open_disagreements(page: Page, place: Workspace, better: str, worse: str) -> None:
    """Read the records that the better run alone has right: as many as its kept answers say."""
    page.get_by_role("tab", name="Disagreements").click()
    models = [comparing_judged.answered(place, name) for name in (better, worse)]
    count = len(comparing_records.behind(Selection(better, worse, "only_first"), models))
    assert count > 0
    panel = page.get_by_role("tabpanel", name="Disagreements")
    expect(panel.get_by_text("Click a cell to read the records behind it.")).to_be_visible(timeout=PATIENCE)
    panel.get_by_text(f"only linear right · {count}", exact=True).click()
    expect(panel.get_by_text(f"{count} record")).to_be_visible(timeout=PATIENCE)
    first = panel.get_by_text("true:").first.locator("xpath=..")
    expect(first.locator(".mb-chip").first).to_be_visible()


def promote(page: Page, model: str, who: str, anyway: bool = False) -> None:
    choose(page, "Model", model)
    page.get_by_role("textbox", name="Your name").first.fill(who)
    page.get_by_role("textbox", name="Your name").first.press("Enter")
    if anyway:
        expect(page.get_by_text("It is worse than")).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_role("button", name="👑 Promote")).to_be_disabled()
        page.get_by_text("Promote it all the same").click()
    page.get_by_role("button", name="👑 Promote").click(timeout=PATIENCE)
    expect(page.get_by_text(f"champion {model}")).to_be_visible(timeout=PATIENCE)


def test_two_runs_are_compared_promoted_rolled_back_and_reported(server: Server, page: Page, tmp_path: Path) -> None:
    place = server.workspace
    dataset = import_planted(place, tmp_path, rows=240)
    better = run_of(place, dataset, "linear")
    worse = run_of(place, dataset, "keywords", terms=1)

    page.goto(f"{server.address}/compare")
    expect(page.get_by_text("linear beats keywords by")).to_be_visible(timeout=PATIENCE)
    open_disagreements(page, place, better, worse)

    page.get_by_role("tab", name="In use").click()
    expect(page.get_by_text("nothing to compare it with")).to_be_visible(timeout=PATIENCE)
    promote(page, "linear", "ann")
    assert champion(place) == better
    promote(page, "keywords", "bob", anyway=True)
    assert champion(place) == worse
    back = page.get_by_role("button", name="↩️ Roll back")
    expect(back).to_have_count(1, timeout=PATIENCE)  # the page from before the promotion is gone
    back.click()
    page.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.get_by_text("champion linear")).to_be_visible(timeout=PATIENCE)
    assert champion(place) == better
    assert [(move.act, move.model) for move in aliases.get(place, JOB).moves] == [
        ("promote", better), ("promote", worse), ("roll back", better)
    ]  # fmt: skip

    page.get_by_role("button", name="📄 Report").click()
    with page.expect_download(timeout=PATIENCE) as coming:
        page.get_by_test_id("stDownloadButton").filter(has_text="linear").click()
    assert coming.value.suggested_filename == f"{better}.pdf"
    told = [sheet.extract_text() for sheet in PdfReader(io.BytesIO(Path(coming.value.path()).read_bytes())).pages]
    assert "linear" in told[0] and "micro-F1" in "\n".join(told)
