"""How long does the Compare page take for five runs, 7,643 test items and 23 labels, resamples included?

    python benchmarks/compare_page.py [--items 7643] [--labels 23] [--runs 5]

Writes invented records and the answers of invented runs into a temporary workspace, then draws the page in memory
(Streamlit's AppTest, no browser): cold (everything imported and read), warm without its memory (1,000 resamples and 999
exchanges computed anew), and warm with it. Prints seconds, and how many of them the statistics alone take.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import streamlit as st
from streamlit.testing.v1 import AppTest

from medbench import comparing, comparing_judged, datasets, drafting, judging, metrics
from medbench.splits import SplitPlan
from medbench.tasks import get_task
from medbench.workspace import Workspace, write_json

ROOT = Path(__file__).resolve().parent.parent
TRAIN = 500


def import_rows(workspace: Workspace, folder: Path, n_items: int, n_labels: int) -> str:
    """Save invented records whose test split is `n_items` long; return the dataset's id."""
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(4000)]
    path = folder / "records.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "abstract", "labels", "split"])
        for number in range(TRAIN + n_items):
            labels = rng.choice(n_labels, size=1 + int(rng.random() < 0.6), replace=False)
            split = "train" if number < TRAIN else "test"
            text = " ".join(rng.choice(words, 120))
            writer.writerow([number, f"Record {number}", text, ";".join(f"L{at:02}" for at in sorted(labels)), split])
    task = get_task("literature")
    draft = drafting.draft([(path, path.name)], task_name=task.name, clean_label=task.clean_label)
    return datasets.save(workspace, draft, name="records", plan=SplitPlan("file"))


def plant_runs(workspace: Workspace, dataset_id: str, n_runs: int) -> None:
    """Write models as runs leave them: a card with real metrics, and answers of growing skill."""
    dataset = datasets.load(workspace, dataset_id)
    train, test = dataset.examples("train"), dataset.examples("test")
    rng = np.random.default_rng(1)
    majority = {name: _numbers(one) for name, one in judging.majority(train, test, rng).items()}
    for number in range(n_runs):
        knows = rng.random(len(test)) < 0.5 + 0.08 * number
        prob = np.where(knows[:, None], np.where(test.truth, 0.8, 0.05), 0.3 * rng.random(test.truth.shape))
        prob = prob.astype(np.float32)
        decided = prob >= 0.25
        found = metrics.evaluate(test.truth, prob, decided, answer="many", rng=rng)
        folder = workspace.models / f"20260101-00000{number}-linear-000{number}"
        folder.mkdir(parents=True)
        np.savez_compressed(
            folder / "judged.npz", split=np.array("test"), positions=dataset.positions("test"),
            probabilities=prob, truth=test.truth, decided=decided,
        )  # fmt: skip
        card = {
            "id": folder.name, "name": f"run {number}", "task": "literature", "family": "linear", "item": "text",
            "answer": "many", "labels": list(dataset.labels), "label_names": {}, "created": "2026-01-01T00:00:00Z",
            "dataset": {"id": dataset_id, "name": "records"}, "options": {"C": number}, "seed": 0,
            "judged_on": "the test split", "baselines": {"majority": majority}, "cost": {"seconds": 10 + number},
            "metrics": {name: _numbers(one) for name, one in found.items()}, "per_label": [],
            "learnt_from": {"counts": train.truth.sum(axis=0).tolist(), "splits": ["train"]},
        }  # fmt: skip
        write_json(folder / "model.json", card)


def _numbers(metric: metrics.Metric) -> dict[str, float | int | None]:
    return {"value": metric.value, "low": metric.low, "high": metric.high, "n": metric.n}


def drawn() -> float:
    """Open the page; return seconds."""
    began = time.perf_counter()
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600)
    app.switch_page("pages/compare.py")
    app.run()
    seconds = time.perf_counter() - began
    assert not app.exception
    assert any("1,000 resamples" in caption.value for caption in app.caption)
    return seconds


def statistics(workspace: Workspace) -> float:
    """Return the seconds of resamples, exchanges and p-values alone."""
    ids = [str(card["id"]) for card in comparing_judged.cards(workspace) if card["name"].startswith("run ")]
    models = [comparing_judged.answered(workspace, name) for name in ids]
    items = comparing_judged.items_of(workspace, models[0])
    began = time.perf_counter()
    comparing.compare(models, items.groups, rng=np.random.default_rng(0)).sentences("micro_f1")
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=7643)
    parser.add_argument("--labels", type=int, default=23)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MEDBENCH_HOME"] = str(folder / "home")
        workspace = Workspace.here()
        workspace.data.mkdir(parents=True)
        workspace.models.mkdir(parents=True)
        plant_runs(workspace, import_rows(workspace, folder, given.items, given.labels), given.runs)
        print(f"{given.runs} runs, {given.items:,} items, {given.labels} labels\n\n| what | seconds |\n|---|---:|")
        print(f"| first drawing | {drawn():.2f} |")
        st.cache_resource.clear()
        print(f"| warm, everything resampled anew | {drawn():.2f} |")
        print(f"| warm, kept in memory | {drawn():.2f} |")
        print(f"| the statistics alone | {statistics(workspace):.2f} |")


if __name__ == "__main__":
    main()
