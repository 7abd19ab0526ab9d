"""How much reading does the ranking of a review save, beside ASReview's default model on the same records?

    python benchmarks/active_learning.py [--records 2000] [--labels 3] [--seeds 3] [--asreview PATH/TO/asreview]

Draws records from the OHSUMED train half of $MEDBENCH_SHARED. One label is relevant, all others are not; the labels are
spread evenly over the range of frequencies. Every run begins from the same one relevant and one irrelevant record,
drawn per seed, and reads on until the last relevant record is found. Printed as a Markdown table: work saved over
sampling at 95 % recall, recall after a tenth of the records, where the stop advice first said stop and the recall
there, and how often a stated lower bound of recall was false.

`--asreview` names the program of an ASReview installation, usually in an environment of its own; it runs with its
default model and with `--seed` of the run. Both learn again after `--every` records.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import sqlite3
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medbench.records import join_text
from medbench.review_choosing import STRATEGIES
from medbench.review_learning import FAMILIES, Pool
from medbench.review_simulation import Simulation, simulate

Row = dict[str, str]


def read_records(count: int) -> list[Row]:
    """Return this many records of OHSUMED's train half, drawn with a fixed seed, in file order."""
    path = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/text/ohsumed_train.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = np.sort(np.random.default_rng(0).permutation(len(rows))[:count])
    return [rows[at] for at in drawn.tolist()]


def spread_labels(rows: list[Row], count: int, skip: int) -> list[str]:
    """Return labels from rare to frequent, evenly spaced by rank; those of fewer than 20 records are left out."""
    each = [label for row in rows for label in row["labels"].split(";") if label]
    frequency = {label: each.count(label) for label in sorted(set(each))}
    ranked = sorted((label for label, n in frequency.items() if n >= 20), key=lambda label: frequency[label])
    places = np.linspace(0, len(ranked) - 1, count + 2).astype(int)[1:-1] + skip
    return [ranked[at % len(ranked)] for at in places.tolist()]


def asreview_order(
    program: str, rows: list[Row], relevant: npt.NDArray[np.bool_], begin: list[int], seed: int, every: int
) -> npt.NDArray[np.bool_]:
    """Return whether each record was relevant, in the order in which ASReview's default model reads them."""
    with tempfile.TemporaryDirectory() as folder:
        table, project = Path(folder) / "records.csv", Path(folder) / "out.asreview"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["title", "abstract", "included"])
            pairs = zip(rows, relevant.tolist(), strict=True)
            writer.writerows([row["title"], row["abstract"], int(flag)] for row, flag in pairs)
        command = [program, "simulate", str(table), "-o", str(project), "--seed", str(seed)]
        command += ["--n-query", str(every), "--prior-idx", *map(str, begin)]
        subprocess.run(command, check=True, capture_output=True)
        with zipfile.ZipFile(project) as held:
            name = next(entry for entry in held.namelist() if entry.endswith(("results.db", "results.sql")))
            held.extract(name, folder)
        with sqlite3.connect(Path(folder) / name) as base:
            read = [int(row[0]) for row in base.execute("SELECT record_id FROM results ORDER BY rowid")]
    rest = sorted(set(range(len(rows))) - set(read))
    return np.asarray(relevant[[*read, *rest]])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--labels", type=int, default=3)
    parser.add_argument("--skip", type=int, default=0, help="Take labels this many ranks further on.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategy", nargs="+", default=["certainty", "mixed"], choices=STRATEGIES)
    parser.add_argument("--family", nargs="+", default=["linear"], choices=FAMILIES)
    parser.add_argument("--every", type=int, default=1, help="Learn again after this many records, both.")
    parser.add_argument("--asreview", default="", help="Path of the program asreview.")
    arguments = parser.parse_args()
    rows = read_records(arguments.records)
    items = [join_text(row["title"], row["abstract"]) for row in rows]
    pool = Pool(items)
    print("| label | relevant | reader | WSS@95 (sd) | recall at 10 % | stop at | recall there | false bounds | s |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    for label in spread_labels(rows, arguments.labels, arguments.skip):
        relevant = np.array([label in row["labels"].split(";") for row in rows])
        for name, results, seconds in _readers(arguments, rows, items, relevant, pool):
            print(_line(label, int(relevant.sum()), name, results, seconds), flush=True)


def _readers(
    arguments: argparse.Namespace, rows: list[Row], items: list[str], relevant: npt.NDArray[np.bool_], pool: Pool
) -> list[tuple[str, list[Simulation], float]]:
    made = []
    begins = [
        [int(np.random.default_rng([seed, side]).choice(np.flatnonzero(relevant == bool(side)))) for side in (1, 0)]
        for seed in range(arguments.seeds)
    ]
    for family in arguments.family:
        for strategy in arguments.strategy:
            began = time.perf_counter()
            found = [
                simulate(
                    items, relevant, begin=begin, strategy=strategy, family=family, every=arguments.every, pool=pool
                )
                for begin in begins
            ]
            made.append((f"medbench {family}, {strategy}", found, time.perf_counter() - began))
    if arguments.asreview:
        began = time.perf_counter()
        orders = [
            asreview_order(arguments.asreview, rows, relevant, begin, seed, arguments.every)
            for seed, begin in enumerate(begins)
        ]
        found = [Simulation(np.arange(len(order)), order, 2, None, None, 0, 0) for order in orders]
        made.append(("ASReview, its default", found, time.perf_counter() - began))
    return made


def _line(label: str, n: int, name: str, results: list[Simulation], seconds: float) -> str:
    saved = [one.saved() for one in results]
    spread = f" ({np.std(saved, ddof=1):.3f})" if len(saved) > 1 else ""
    stops = [one.stop for one in results if one.stop is not None]
    there = [one.stop_recall for one in results if one.stop_recall is not None]
    claims = sum(one.claims for one in results)
    cells = [
        label,
        str(n),
        name,
        f"{np.mean(saved):.3f}{spread}",
        f"{np.mean([one.recall_after(0.1) for one in results]):.3f}",
        f"{np.mean(stops):.0f}" if stops else "–",
        f"{min(there):.3f} at least" if there else "–",
        f"{sum(one.wrong_claims for one in results)} of {claims}" if claims else "–",
        f"{seconds / len(results):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
