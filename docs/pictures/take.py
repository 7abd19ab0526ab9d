"""Take the pictures of the README and the manual anew, from the samples in data/samples and the shipped models.

    python docs/pictures/take.py [NAME ...]

A workspace of its own is made, used and thrown away; Chromium is Debian's. Pictures that are named are taken, else all.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page, expect, sync_playwright  # noqa: E402

from medbench import runs  # noqa: E402
from medbench.datasets import list_datasets  # noqa: E402
from tests.browser.conftest import FLAGS, Server, settled, start  # noqa: E402

SAMPLES = ROOT / "data/samples"
NARROW_SIDE, PATIENCE = 1280, 120_000
NOTE_EXAMPLE = "Use an example"


def medbench(home: Path, *words: str) -> None:
    """Run the command line on the workspace."""
    command = [sys.executable, "-m", "medbench", *words]
    subprocess.run(command, cwd=ROOT, check=True, env={"MEDBENCH_HOME": str(home), "PATH": "/usr/bin:/bin"})


def home(page: Page, server: Server) -> None:
    """Show what there is."""
    page.goto(server.address)
    expect(page.get_by_text("Newest runs")).to_be_visible()


def datasets(page: Page, server: Server) -> None:
    """Drop a file and show what was understood of it."""
    page.goto(f"{server.address}/datasets?add=1")
    page.locator("input[type=file]").set_input_files(SAMPLES / "abstracts.csv")
    expect(page.get_by_role("button", name="Check the records")).to_be_visible()


def verdict(page: Page, server: Server) -> None:
    """Open a saved dataset, the rows of its first finding unfolded."""
    (card,) = list_datasets(server.workspace)
    page.goto(f"{server.address}/datasets?dataset={card['id']}")
    page.get_by_test_id("stCheckbox").filter(has_text="Rows").first.click()
    settled(page)


def train(page: Page, server: Server) -> None:
    """Plan a run."""
    page.goto(f"{server.address}/train")
    expect(page.get_by_text("Always the most frequent label")).to_be_visible()


def run(page: Page, server: Server) -> None:
    """Open the finished run of the linear family."""
    page.goto(f"{server.address}/train?run={_linear(server)}")
    expect(page.get_by_role("button", name="Classify with it")).to_be_visible()


def classify(page: Page, server: Server) -> None:
    """Ask the shipped model of domains about the example."""
    page.goto(f"{server.address}/classify?model=starter-literature-domains")
    page.get_by_role("button", name=NOTE_EXAMPLE).click()
    settled(page)
    page.get_by_role("button", name="Classify", exact=False).and_(page.locator("[kind=primary]")).click()
    expect(page.locator("mark.mb-for").first).to_be_visible()


def file(page: Page, server: Server) -> None:
    """Have a PubMed file classified."""
    page.goto(f"{server.address}/classify?model={_linear(server)}")
    page.get_by_role("tab", name="A file").click()
    page.locator("input[type=file]").set_input_files(SAMPLES / "pubmed-sample.nbib")
    page.get_by_role("button", name="Classify the file").click()
    expect(page.get_by_role("button", name="PubMed (MEDLINE), with answers")).to_be_visible()


def compare(page: Page, server: Server) -> None:
    """Compare the two runs."""
    page.goto(f"{server.address}/compare")
    expect(page.get_by_text("runs on the same").or_(page.get_by_text("cannot be told")).first).to_be_visible()
    page.wait_for_timeout(3000)  # the grid draws itself in a frame of its own


def icd(page: Page, server: Server) -> None:
    """Code the example note."""
    page.goto(f"{server.address}/icd")
    page.get_by_role("button", name=NOTE_EXAMPLE).click()
    settled(page)
    page.get_by_role("button", name="Find codes").click()
    expect(page.locator(".mb-icd-text mark").first).to_be_visible()


PICTURES: dict[str, tuple[Callable[[Page, Server], None], int]] = {
    "home": (home, 640),
    "datasets": (datasets, 1300),
    "verdict": (verdict, 1080),
    "train": (train, 1100),
    "run": (run, 1200),
    "classify": (classify, 1500),
    "file": (file, 1164),
    "compare": (compare, 1200),
    "icd": (icd, 1200),
}
"""Name of a picture -> what leads to it, and its height in pixels."""


def _linear(server: Server) -> str:
    return next(str(one.id) for one in runs.list_runs(server.workspace) if one.spec["family"] == "linear")


def main() -> None:
    """Take the pictures."""
    wanted = sys.argv[1:] or list(PICTURES)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = Path(folder)
        medbench(place, "import", str(SAMPLES / "abstracts.csv"), "--name", "abstracts")
        for family in ("keywords", "linear"):
            medbench(place, "train", "--family", family, "--dataset", "abstracts")
        server = start(place)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(FLAGS))
        try:
            for name in wanted:
                act, height = PICTURES[name]
                page = browser.new_page(viewport={"width": NARROW_SIDE, "height": height})
                page.set_default_timeout(PATIENCE)
                expect.set_options(timeout=PATIENCE)
                act(page, server)
                settled(page)
                page.mouse.move(2, 2)  # no help of what was clicked
                page.wait_for_timeout(1500)  # tables and plots fade in
                page.screenshot(path=str(Path(__file__).parent / f"{name}.png"))
                page.close()
        finally:
            browser.close()
            server.stop()


if __name__ == "__main__":
    main()
