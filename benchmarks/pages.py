"""How long does a person wait for a page, with 200 runs and a dataset of 100,000 rows present?

    python benchmarks/pages.py [--rows 100000] [--runs 200]

Fills a temporary workspace with invented records and runs, starts the app, and opens every page in headless Chromium
twice (`playwright`, Debian's chromium): the first page after the server answers, then each page cold and warm, from the
click on its link until its heading and content stand still. Prints a Markdown table of seconds, and how long listing
the runs and importing the command line take.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from playwright.sync_api import Page, sync_playwright

from medbench import datasets, drafting, runs
from medbench.events import Say
from medbench.splits import SplitPlan
from medbench.tasks import get_task
from medbench.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("Home", "Datasets", "Train", "Classify")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]


def fill(workspace: Workspace, folder: Path, rows: int, n_runs: int) -> None:
    """Write a dataset of invented abstracts and finished runs."""
    rng = np.random.default_rng(0)
    topics = {f"topic {number}": [f"word{number}x{k}" for k in range(200)] for number in range(20)}
    filler = [f"common{k}" for k in range(3000)]
    with (folder / "big.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "abstract", "labels"])
        for number in range(rows):
            labels = rng.choice(list(topics), size=1 + int(rng.random() < 0.3), replace=False)
            words = [*rng.choice(filler, 110), *(word for label in labels for word in rng.choice(topics[label], 20))]
            rng.shuffle(words)
            writer.writerow([number, " ".join(words[:9]), " ".join(words[9:]), ";".join(labels)])
    task = get_task("literature")
    draft = drafting.draft([(folder / "big.csv", "big.csv")], task_name=task.name, clean_label=task.clean_label)
    dataset = datasets.save(workspace, draft, name="big", plan=SplitPlan())
    for number in range(n_runs):
        place = workspace.runs / f"20260101-{number:06d}-linear-{number:04x}"
        place.mkdir(parents=True)
        say = Say(place / "events.jsonl")
        say("created", spec={"task": "literature", "family": "linear", "dataset": dataset, "name": "", "seed": 0})
        for step in range(200):
            say("progress", step=step, steps=200, loss=1 / (step + 1), rate=10.0, eta=200.0 - step, memory=10**9)
        say("finished", model=place.name, sentence="Finished.", metrics={"micro_f1": 0.7, "macro_f1": 0.6, "ece": 0.01})


def settled(page: Page, name: str) -> float:
    """Open a page by its link; return seconds until its heading is there and the script no longer runs."""
    began = time.perf_counter()
    page.get_by_role("link", name=name).first.click()
    title = "medbench" if name == "Home" else name
    page.get_by_role("heading", name=title).first.wait_for()
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=200)
    given = parser.parse_args()
    chromium = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = Workspace.here(folder / "home")
        fill(workspace, folder, given.rows, given.runs)
        listing = [_timed(lambda: runs.list_runs(workspace)) for _ in range(5)]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
        environment = {**os.environ, "MEDBENCH_HOME": str(folder / "home")}
        app = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found = visit(f"http://127.0.0.1:{port}", chromium)
        finally:
            app.terminate()
            app.wait()
    print(f"| what ({given.rows:,} rows, {given.runs} runs) | cold s | warm s |\n|---|---:|---:|")
    for what, (cold, warm) in found.items():
        print(f"| {what} | {cold:.2f} | {warm:.2f} |")
    print(f"| list the runs | {listing[0]:.3f} | {sorted(listing)[2]:.3f} |")
    code = "import time; t = time.perf_counter(); import medbench.cli; print(time.perf_counter() - t)"
    seconds = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    print(f"| import medbench.cli | {seconds[0]:.2f} | {sorted(seconds)[2]:.2f} |")


def visit(address: str, chromium: str | None) -> dict[str, tuple[float, float]]:
    """Open every page cold and three times warm; return (cold, median warm) seconds."""
    while True:
        try:
            with urlopen(f"{address}/_stcore/health", timeout=2):
                break
        except OSError:
            time.sleep(0.1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        began = time.perf_counter()
        page.goto(address)
        page.get_by_role("heading", name="medbench").first.wait_for()
        first = time.perf_counter() - began
        cold = {name: settled(page, name) for name in (*PAGES[1:], PAGES[0])}
        warm: dict[str, list[float]] = {name: [] for name in PAGES}
        for _ in range(3):
            for name in (*PAGES[1:], PAGES[0]):
                warm[name].append(settled(page, name))
        browser.close()
    found = {name: (cold[name], sorted(warm[name])[1]) for name in PAGES}
    return {"first page after the server answers": (first, first), **found}


def _timed(call: object) -> float:
    began = time.perf_counter()
    json.dumps(len(call()))  # type: ignore[operator]
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
