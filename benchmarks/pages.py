"""How long does a person wait for a page, with 200 runs, datasets, reviews and jobs and a dataset of 100,000 rows?

    python benchmarks/pages.py [--rows 100000] [--runs 200]

Fills a temporary workspace with invented records; two real runs (linear and keywords, with all that they keep) are
copied under as many names as asked for, and datasets, reviews and jobs likewise. Starts the app, and opens every page
in headless Chromium (`playwright`, Debian's chromium): the first page after the server answers, then each page cold and
three times warm, from the click on its link until its heading and content stand still. Prints a Markdown table of
seconds, and how long listing the runs and importing the command line take.
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
from collections.abc import Iterable
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from playwright.sync_api import Page, sync_playwright

from medbench import aliases, datasets, drafting, promoting, review, runs
from medbench.records import RunSpec
from medbench.splits import SplitPlan
from medbench.tasks import get_task
from medbench.workspace import Workspace, read_json, write_json

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("Home", "Datasets", "Train", "Compare", "Classify", "ICD coding", "Lesions", "Review")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]


def fill(workspace: Workspace, folder: Path, rows: int, count: int) -> None:
    """Write a big dataset, and `count` small datasets, finished runs with their models, reviews and jobs."""
    save(workspace, folder, "big", rows)
    small = save(workspace, folder, "small", 300)
    for family in ("linear", "keywords"):
        run = runs.start(workspace, RunSpec(task="literature", family=family, dataset=small))
        *_, last = runs.follow(workspace, run)
        assert last["kind"] == "finished", last
        promoting.promote(workspace, run, f"first-{family}")
        copy_runs(workspace, run, range(0 if family == "linear" else 1, count, 2))
    for number in range(count):
        copied(workspace.dataset(small), f"small-{number:03d}-0123456789", "dataset.json", name=f"small {number}")
        review.create(workspace, small, f"Review {number}", ["include"], question="word0x1")
    path = aliases.path_of(workspace)
    held = read_json(path)
    job = held["jobs"]["first-linear"]
    write_json(path, {**held, "jobs": {**held["jobs"], **{f"job-{number:03d}": job for number in range(count)}}})


def save(workspace: Workspace, folder: Path, name: str, rows: int) -> str:
    """Save invented abstracts as a dataset; return its id."""
    rng = np.random.default_rng(0)
    topics = {f"topic {number}": [f"word{number}x{k}" for k in range(200)] for number in range(20)}
    filler = [f"common{k}" for k in range(3000)]
    file = folder / f"{name}.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "title", "abstract", "labels"])
        for number in range(rows):
            labels = rng.choice(list(topics), size=1 + int(rng.random() < 0.3), replace=False)
            words = [*rng.choice(filler, 110), *(word for label in labels for word in rng.choice(topics[label], 20))]
            rng.shuffle(words)
            writer.writerow([number, " ".join(words[:9]), " ".join(words[9:]), ";".join(labels)])
    task = get_task("literature")
    draft = drafting.draft([(file, file.name)], task_name=task.name, clean_label=task.clean_label)
    return datasets.save(workspace, draft, name=name, plan=SplitPlan())


def copy_runs(workspace: Workspace, run: str, numbers: Iterable[int]) -> None:
    """Copy a run and its model under new ids."""
    for number in numbers:
        name = f"20260101-{number:06d}-copy-{number:04x}"
        copied(workspace.model(run), name, "model.json", run=name, name=f"copy {number}")
        made = shutil.copytree(workspace.run(run), workspace.run(name))
        events = made / "events.jsonl"
        events.write_text(events.read_text(encoding="utf-8").replace(run, name), encoding="utf-8")


def copied(folder: Path, new: str, card: str, **facts: str) -> None:
    """Copy a folder beside itself, its card changed."""
    made = folder.parent / new
    shutil.copytree(folder, made)
    write_json(made / card, {**read_json(made / card), "id": new, **facts})


def settled(page: Page, name: str) -> float:
    """Open a page by its link; return seconds until its heading is there and the script no longer runs."""
    began = time.perf_counter()
    page.get_by_role("link", name=name).first.click()
    title = "medbench" if name == "Home" else name
    page.get_by_role("heading", name=title).first.wait_for()
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
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
    print(
        f"| what ({given.rows:,} rows; {given.runs} runs, datasets, reviews, jobs) | cold s | warm s |\n|---|---:|---:|"
    )
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
