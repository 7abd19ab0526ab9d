"""A run belongs to its files: every browser sees the same, and it outlives the server that started it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import import_planted
from playwright.sync_api import Browser, Page, expect

from medbench.events import Say
from medbench.runs import device_turn, get, list_runs

from .conftest import Server, start

pytestmark = pytest.mark.browser

PATIENCE = 60_000  # milliseconds for what a busy machine does slowly
WAITS = "Another training uses the device"


def opened(browser: Browser, address: str) -> Page:
    """Return a page of a browser context that shares nothing with the others."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(address)
    return page


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Servers a test started; those that still live are stopped behind it."""
    started: list[Server] = []
    yield started
    for server in started:
        server.stop()


def test_two_browsers_see_one_run_and_it_outlives_the_server(
    browser: Browser, servers: list[Server], tmp_path: Path
) -> None:
    servers.append(server := start(tmp_path / "home"))
    place = server.workspace
    import_planted(place, tmp_path)
    first = opened(browser, f"{server.address}/train")
    with device_turn(place, "another training", Say()):  # so the run waits until the end of this block
        first.get_by_role("button", name="Run linear now").click(timeout=PATIENCE)
        expect(first.get_by_text(WAITS).first).to_be_visible(timeout=PATIENCE)
        (run,) = list_runs(place)
        view = f"{server.address}/train?run={run.id}"
        assert first.url == view

        second = opened(browser, view)
        expect(second.get_by_text(WAITS).first).to_be_visible(timeout=PATIENCE)
        second.goto(server.address)
        expect(second.get_by_text("1 run at work")).to_be_visible(timeout=PATIENCE)

        server.process.kill()
        server.process.wait(timeout=20)
        assert get(place, run.id).state == "queued"
        servers.append(start(tmp_path / "home", urlsplit(server.address).port))
        second.goto(view)
        expect(second.get_by_text(WAITS).first).to_be_visible(timeout=PATIENCE)
    first.goto(view)
    for page in (first, second):
        expect(page.get_by_role("button", name="Classify with it")).to_be_visible(timeout=PATIENCE)
        page.context.close()
    assert [(one.id, one.state) for one in list_runs(place)] == [(run.id, "finished")]
