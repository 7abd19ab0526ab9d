"""How often does a term find its ICD-10-CM code when the table's inclusion terms are not in the index?

    python benchmarks/icd_terms.py [--terms 12584] [--folds 5] [--seed 0] [--learn]

Reads `data/icd/icd10cm_inclusion_terms.tsv` from $MEDBENCH_SHARED (default ../shared). The index holds titles,
"includes" notes, notes elsewhere that point to a code, and titles of ICD-9-CM predecessors; no inclusion term at all,
and none of the alphabetic indexes. The ranking weights are learnt per fold from terms of other three-character
categories, so that no term is judged by weights that saw it or a term beside it. `--learn` prints the weights learnt
from all terms: those that are shipped. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from medbench import codes_store
from medbench.codes_index import Floats, Index
from medbench.codes_search import FEATURES, Searcher, entries_of

_STEPS = 100
_LEARN_FROM = 2000  # terms: twelve weights need no more


@dataclass(frozen=True)
class Case:
    """One term: its candidates' features, which of them is right (-1: none), its category, seconds it took."""

    table: Floats
    right: int
    category: str
    seconds: float


def cases(n: int, seed: int) -> list[Case]:
    """Ask for n terms of the file, drawn without repeats."""
    store = codes_store.open_store()
    texts = set(entries_of(store, "icd10cm", inclusion=False))
    entries = sorted(texts, key=lambda entry: (entry.row, entry.source, entry.text))
    searcher = Searcher(store, entries, Index.of([entry.text for entry in entries]))
    begin, end = store.ranges["icd10cm"]
    rows = {code: begin + at for at, code in enumerate(store.codes[begin:end])}
    path = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/icd/icd10cm_inclusion_terms.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        pairs = [(line["term"], line["code"]) for line in csv.DictReader(file, delimiter="\t")]
    drawn = np.random.default_rng(seed).permutation(len(pairs))[:n]
    searcher.features("warm up")
    found = []
    for at in drawn.tolist():
        term, code = pairs[at]
        begun = time.perf_counter()
        nodes, table, _, _ = searcher.features(term)
        seconds = time.perf_counter() - begun
        right = np.flatnonzero(searcher.rows[nodes] == rows[code])
        found.append(Case(table, int(right[0]) if len(right) else -1, code[:3], seconds))
    return found


def learn(seen: Sequence[Case]) -> Floats:
    """Return the weights under which the right candidates are most likely: a conditional logit, drawn to 0."""
    usable = [case for case in seen if case.right >= 0][:_LEARN_FROM]
    table = np.concatenate([case.table for case in usable]).astype(np.float64)
    sizes = np.array([len(case.table) for case in usable])
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    right = starts + np.array([case.right for case in usable])
    spread = table.std(axis=0) + 1e-6
    scaled = (table - table.mean(axis=0)) / spread

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = scaled @ weights
        top = np.maximum.reduceat(scores, starts)
        powers = np.exp(scores - np.repeat(top, sizes))
        totals = np.add.reduceat(powers, starts)
        slope = ((powers / np.repeat(totals, sizes)) @ scaled - scaled[right].sum(axis=0)) / len(sizes)
        value = float((np.log(totals) + top - scores[right]).mean())
        return value + 1e-3 * float(weights @ weights), slope + 2e-3 * weights

    found = minimize(loss, np.zeros(len(FEATURES)), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return (found.x / spread).astype(np.float32)


def ranks(judged: Sequence[Case], weights: Floats) -> list[int]:
    """Return the place of the right code, 0 for the first; a code that is no candidate has a place beyond all."""
    out = []
    for case in judged:
        scores = case.table @ weights
        out.append(int((scores > scores[case.right]).sum()) if case.right >= 0 else 10**6)
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--terms", type=int, default=12_584)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learn", action="store_true")
    asked = parser.parse_args()
    every = cases(asked.terms, asked.seed)
    folds = [zlib.crc32(case.category.encode()) % asked.folds for case in every]
    places: list[int] = []
    for fold in range(asked.folds):
        weights = learn([case for case, own in zip(every, folds, strict=True) if own != fold])
        places += ranks([case for case, own in zip(every, folds, strict=True) if own == fold], weights)
    found = np.array(places)
    milliseconds = 1000 * np.array([case.seconds for case in every])
    print("| terms | top-1 | top-10 | among the candidates | ms a query, median | 95th percentile |")
    print("|---:|---:|---:|---:|---:|---:|")
    shares = f"{(found < 1).mean():.3f} | {(found < 10).mean():.3f} | {(found < 10**6).mean():.3f}"
    print(f"| {len(found):,} | {shares} | {np.median(milliseconds):.1f} | {np.percentile(milliseconds, 95):.1f} |")
    if asked.learn:
        print("\n".join(f"{name}: {weight:.2f}" for name, weight in zip(FEATURES, learn(every), strict=True)))


if __name__ == "__main__":
    main()
