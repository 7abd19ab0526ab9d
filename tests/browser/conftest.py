"""A real server on a free port with a workspace of its own, and a real Chromium that may reach nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from medbench.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
# How long before something is taken to hang; a busy machine needs minutes for what takes seconds alone.
START_SECONDS = 180
WAIT_MILLISECONDS = 180_000
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass
class Server:
    """A running app: where it answers, what it works in, and what it logged."""

    address: str
    workspace: Workspace
    log: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


def start(home: Path, port: int | None = None) -> Server:
    """Start the app as `make run` does and wait until it answers; `port` None takes a free one."""
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    home.mkdir(parents=True, exist_ok=True)
    log = home / "app.log"
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=out, env={**os.environ, "MEDBENCH_HOME": str(home)}
        )
    server = Server(f"http://127.0.0.1:{port}", Workspace.here(home), log, process)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"{server.address}/_stcore/health", timeout=2):
                return server
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise AssertionError(f"the app did not start: {log.read_text(encoding='utf-8')}")


def settled(page: Page) -> None:
    """Wait until the app has drawn the page to its end: until then a button may still belong to what was there."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def downloaded(page: Page, button: str, exact: bool = False) -> Path:
    """Click a download button once the page is drawn, and return the file."""
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=exact).click()
    return Path(download.value.path())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An app over a workspace that is empty when the module's tests begin."""
    running = start(tmp_path_factory.mktemp("app") / "home")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One Chromium for all browser tests."""
    expect.set_options(timeout=WAIT_MILLISECONDS)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; the test fails when it asked any other machine for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(WAIT_MILLISECONDS)
    asked: list[str] = []

    def note(request: Request) -> None:
        if request.url.startswith(("http:", "https:", "ws:")) and "//127.0.0.1:" not in request.url:
            asked.append(request.url)

    opened.on("request", note)
    yield opened
    context.close()
    assert asked == []
