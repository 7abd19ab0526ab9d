"""How often does a term find its ICD-10-CM code when the table's inclusion terms are not in the index?

    python benchmarks/icd_terms.py [--terms 12584] [--folds 5] [--seed 0] [--learn]

Reads `data/icd/icd10cm_inclusion_terms.tsv` from $MEDBENCH_SHARED (default ../shared). The index holds titles,
"includes" notes, notes elsewhere that point to a code, and titles of ICD-9-CM predecessors; no inclusion term at all,
and none of the alphabetic indexes. Terms are dealt into folds by three-character category. Which words may be said for
which (`codes_translation`) is learnt from inclusion terms of other folds, and so are the weights of the ranking, from
features in which neither the judged fold nor the term's own took part: no term is judged by anything that saw it or a
term beside it. `--learn` learns the ranking from all terms and writes it where it is shipped. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import json
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
from medbench.codes_ranking import SHIPPED, Ranking
from medbench.codes_search import CANDIDATES, FEATURES, SAID, Entries, Searcher, entries_of, pairs_of, titles_of
from medbench.codes_translation import Translation
from medbench.codes_words import words

_STEPS = 60
_LEARN_FROM = 4000  # terms: some 150 weights need no more
_BENT = 8
_DRAWN = 2e-4  # how strongly weights are drawn to 0
_BEGIN_SEED = 0


@dataclass(frozen=True)
class Case:
    """One term.

    Attributes:
        table: (n, features) of its candidates; what comes of a translation is 0.
        said: (folds, n, 3) these columns, by translations that saw neither the term's own fold nor the one given.
        right: Which candidate is right, -1 for none.
        fold: Its own.
        seconds: A query's.
    """

    table: Floats
    said: Floats
    right: int
    fold: int
    seconds: float

    def without(self, fold: int) -> Floats:
        """Return the features by what neither the term's own fold nor this one taught."""
        table = self.table.copy()
        table[:, SAID] = self.said[fold]
        return table


def cases(n: int, folds: int, seed: int) -> list[Case]:
    """Ask for n terms of the file, drawn without repeats."""
    store = codes_store.open_store()
    entries = Entries.of(entries_of(store, "icd10cm", inclusion=False))
    index = Index.of(entries.texts[:])
    titles = titles_of(store, np.unique(entries.rows), index)
    pairs = [(_fold(store.codes[row], folds), *pair) for row, *pair in pairs_of(store, "icd10cm")]
    taught = {}
    for one in range(folds):
        for other in range(one, folds):
            seen = ((said, title) for fold, said, title in pairs if fold not in (one, other))
            taught[one, other] = taught[other, one] = Translation.of(seen, index.numbers)
    searcher = Searcher(store, entries, index, titles, taught[0, 0])
    begin, end = store.ranges["icd10cm"]
    rows = {code: begin + at for at, code in enumerate(store.codes[begin:end])}
    path = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/icd/icd10cm_inclusion_terms.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        listed = [(line["term"], line["code"]) for line in csv.DictReader(file, delimiter="\t")]
    drawn = np.random.default_rng(seed).permutation(len(listed))[:n]
    searcher.features("warm up")
    found = []
    for at in drawn.tolist():
        term, code = listed[at]
        begun = time.perf_counter()
        nodes, table, _, _ = searcher.features(term)
        seconds = time.perf_counter() - begun
        fold, asked = _fold(code, folds), words(term)
        said = np.stack([titles.said(asked, nodes, index, taught[fold, other]) for other in range(folds)])
        right = np.flatnonzero(searcher.rows[nodes] == rows[code])
        table[:, SAID] = 0
        found.append(Case(table, said, int(right[0]) if len(right) else -1, fold, seconds))
    return found


def _fold(code: str, folds: int) -> int:
    return zlib.crc32(code[:3].encode()) % folds


def learn(tables: Sequence[Floats], right: Sequence[int]) -> Ranking:
    """Return the ranking under which the right candidates are most likely: a conditional logit, drawn to 0."""
    seen = [(table, at) for table, at in zip(tables, right, strict=True) if at >= 0][:_LEARN_FROM]
    there = np.array([np.arange(CANDIDATES) < len(table) for table, _ in seen])
    stacked = np.zeros((*there.shape, len(FEATURES)), dtype=np.float32)
    stacked[there] = np.concatenate([table for table, _ in seen])
    centre, spread = stacked[there].mean(axis=0), stacked[there].std(axis=0) + 1e-6
    scaled = (stacked - centre) / spread
    flat, chosen, each = scaled.reshape(-1, len(FEATURES)), np.array([at for _, at in seen]), np.arange(len(seen))
    shapes = ((len(FEATURES),), (len(FEATURES), _BENT), (_BENT,), (_BENT,))
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def parted(weights: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(shape) for part, shape in zip(np.split(weights, ends[:-1]), shapes, strict=True)]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        straight, inner, shift, outer = parted(weights.astype(np.float32))
        bent = np.tanh(scaled @ inner + shift)
        scores = np.where(there, scaled @ straight + bent @ outer, -1e9)
        scores -= scores.max(axis=1, keepdims=True)
        shares = np.exp(scores)
        totals = shares.sum(axis=1)
        value = float((np.log(totals) - scores[each, chosen]).mean())
        slope = shares / totals[:, None]
        slope[each, chosen] -= 1
        slope /= len(seen)
        inside = (slope[:, :, None] * outer * (1 - bent**2)).reshape(-1, _BENT)
        by_outer = slope.ravel() @ bent.reshape(-1, _BENT)
        parts = (slope.ravel() @ flat, (flat.T @ inside).ravel(), inside.sum(axis=0), by_outer)
        return value + _DRAWN * float(weights @ weights), np.concatenate(parts) + 2 * _DRAWN * weights

    begun = np.random.default_rng(_BEGIN_SEED).normal(0, 0.2, ends[-1])
    found = minimize(loss, begun, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return Ranking(centre.astype(np.float64), spread.astype(np.float64), *parted(found.x))


def place(case: Case, ranking: Ranking) -> int:
    """Return the place of the right code, 0 for the first; a code that is no candidate has a place beyond all."""
    scores = ranking.score(case.without(case.fold))
    return int((scores > scores[case.right]).sum()) if case.right >= 0 else 10**6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--terms", type=int, default=12_584)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learn", action="store_true")
    asked = parser.parse_args()
    every = cases(asked.terms, asked.folds, asked.seed)
    places: list[int] = []
    for fold in range(asked.folds):
        others = [case for case in every if case.fold != fold]
        ranking = learn([case.without(fold) for case in others], [case.right for case in others])
        places += [place(case, ranking) for case in every if case.fold == fold]
    found = np.array(places)
    milliseconds = 1000 * np.array([case.seconds for case in every])
    print("| terms | top-1 | top-10 | among the candidates | ms a query, median | 95th percentile |")
    print("|---:|---:|---:|---:|---:|---:|")
    shares = f"{(found < 1).mean():.3f} | {(found < 10).mean():.3f} | {(found < 10**6).mean():.3f}"
    print(f"| {len(found):,} | {shares} | {np.median(milliseconds):.1f} | {np.percentile(milliseconds, 95):.1f} |")
    if asked.learn:
        ranking = learn([case.without(case.fold) for case in every], [case.right for case in every])
        SHIPPED.write_text(json.dumps(ranking.written(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
