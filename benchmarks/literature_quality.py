"""How good are the literature families on real corpora, how well calibrated, and what do they cost?

    python benchmarks/literature_quality.py [--family linear embedding encoder] [--dataset ohsumed mtsamples cancer]

Imports the corpora of $MEDBENCH_SHARED with the default 70/15/15 split into a temporary workspace (or --home), trains
every family through a real run, and prints the figures of the model cards as a Markdown table. The official test
halves are not touched.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from medbench import datasets, drafting, runs
from medbench.records import RunSpec
from medbench.splits import SplitPlan
from medbench.tasks import get_task
from medbench.workspace import Workspace, read_json

CORPORA: dict[str, tuple[str, dict[str, str]]] = {
    "ohsumed": ("ohsumed_train.csv.gz", {"title": "title", "text": "abstract", "labels": "labels", "id": "id"}),
    "mtsamples": ("mtsamples_multilabel_train_dev.csv.gz", {"text": "text", "labels": "labels", "id": "id"}),
    "hoc": ("hoc_train_dev.csv.gz", {"text": "abstract", "labels": "labels", "id": "id"}),
    "cancer": ("cancer_noncancer_train_dev.csv.gz", {"title": "title", "text": "abstract", "labels": "label"}),
}


def import_corpus(workspace: Workspace, name: str) -> tuple[str, float]:
    """Import one corpus; return its dataset id and the seconds it took."""
    began = time.perf_counter()
    file, columns = CORPORA[name]
    path = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/text" / file
    task = get_task("literature")
    draft = drafting.draft(
        [(path, path.name)],
        task_name=task.name,
        clean_label=task.clean_label,
        label_name=task.label_name,
        columns=columns,
    )
    return datasets.save(workspace, draft, name=name, plan=SplitPlan()), time.perf_counter() - began


def train(workspace: Workspace, family: str, dataset: str, options: dict[str, Any]) -> dict[str, Any]:
    """Train through a real run; return the model's card."""
    spec = RunSpec(task="literature", family=family, dataset=dataset, options=options)
    run_id = runs.start(workspace, spec)
    *_, last = runs.follow(workspace, run_id)
    if last["kind"] != "finished":
        raise SystemExit(f"{run_id}: {last}")
    return read_json(workspace.model(run_id) / "model.json")


def shown(metric: dict[str, Any]) -> str:
    """Return a metric with its interval."""
    interval = f" ({metric['low']:.3f}–{metric['high']:.3f})" if metric.get("low") is not None else ""
    return f"{metric['value']:.3f}{interval}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", nargs="+", default=["keywords", "linear", "embedding"])
    parser.add_argument("--dataset", nargs="+", default=list(CORPORA), choices=list(CORPORA))
    parser.add_argument("--home", type=Path, default=None, help="Keep data and models here.")
    parser.add_argument("options", nargs="*", help="key=value options for every family named.")
    given = parser.parse_args()
    options = runs.parse_spec("{task: t, family: f, dataset: d}", given.options).options
    print("| data | family | micro-F1 | macro-F1 | ECE before → after | seconds | peak MB | model MB |")
    print("|---|---|---|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.here(given.home or Path(folder))
        for name in given.dataset:
            dataset, seconds = import_corpus(workspace, name)
            print(f"| {name} | import | | | | {seconds:.0f} | | |", flush=True)
            for number, family in enumerate(given.family):
                card = train(workspace, family, dataset, options)
                if number == 0:
                    for rival, figures in card["baselines"].items():
                        both = f"{shown(figures['micro_f1'])} | {shown(figures['macro_f1'])}"
                        print(f"| {name} | {rival} | {both} | | | | |")
                figures, cost, ece = card["metrics"], card["cost"], card["calibration"]
                print(
                    f"| {name} | {family} | {shown(figures['micro_f1'])} | {shown(figures['macro_f1'])} "
                    f"| {ece['ece_before']:.3f} → {figures['ece']['value']:.3f} (test) | {cost['seconds']:.0f} "
                    f"| {cost['peak_memory'] / 1e6:,.0f} | {cost['size'] / 1e6:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
