"""How good are the coding families on CodiEsp diagnoses (English text, all codes, cross-validated)?

    python benchmarks/icd_quality.py [--family ridge coder coder-unmarked linear] [--folds 5] [--only 0 1]

Imports codiesp_train_dev.jsonl of $MEDBENCH_SHARED (marked evidence is carried over from the Spanish text), cuts its
750 notes into folds, and judges every note by a model that did not learn from it. Codes that a fold's training notes do
not hold stay in the count as missed. One cut for all codes is taken from the other folds' notes, so that no note
chooses its own. Prints a Markdown table with 95 % bootstrap intervals over notes.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medbench import code_metrics, drafting
from medbench.datasets import truth_of
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.marking import marks_from
from medbench.records import Device, Examples, join_text
from medbench.tasks import get_task
from medbench.thresholds import best_cut

SHOWN = ("micro_f1", "micro_precision", "micro_recall", "map", "p_at_8", "r_at_15")


def corpus() -> Examples:
    """Return all notes with codes and marks."""
    path = Path(os.environ.get("MEDBENCH_SHARED", "../shared")) / "data/icd/codiesp_train_dev.jsonl"
    task = get_task("icd")
    draft = drafting.draft(
        [(path, path.name)], task_name="icd", clean_label=task.clean_label, label_name=task.label_name
    )
    frame = draft.frame
    items = [join_text(title, text) for title, text in zip(frame["title"], frame["text"], strict=True)]
    truth = truth_of(frame["labels"], draft.labels)
    return Examples(items, truth, draft.labels, "many", tuple(frame["cluster"]), tuple(map(marks_from, frame["marks"])))


def ridge(train: Examples, held: Examples) -> np.ndarray[Any, Any]:
    """Score with TF-IDF of words and word pairs and ridge regression, the published baseline."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    fitted = Ridge(alpha=1.0, solver="lsqr").fit(vectors.fit_transform(train.items), train.truth.astype(np.float32))
    return np.clip(fitted.predict(vectors.transform(held.items)), 0, 1)


def by_family(name: str, marked: bool = True) -> Callable[[Examples, Examples], np.ndarray[Any, Any]]:
    """Return a function that fits a family with its default options and scores held notes."""

    def score(train: Examples, held: Examples) -> np.ndarray[Any, Any]:
        family = get_family(name)
        fitting = Fitting(np.random.default_rng(0), Device(), Say())
        learnt = train if marked else replace(train, marks=())
        return family.fit(learnt, train.take([]), family.parse({}), fitting).scores(held.items)

    return score


METHODS: dict[str, Callable[[Examples, Examples], np.ndarray[Any, Any]]] = {
    "ridge": ridge,
    "linear": by_family("linear"),
    "coder": by_family("coder"),
    "coder-unmarked": by_family("coder", marked=False),
}


def cross_validated(
    examples: Examples, score: Callable[[Examples, Examples], np.ndarray[Any, Any]], fold: np.ndarray[Any, Any], of: int
) -> np.ndarray[Any, Any]:
    """Return (n, L) scores of the notes in folds below `of`; codes unknown to a fold's training notes score 0."""
    scores = np.zeros(examples.truth.shape, dtype=np.float32)
    for number in range(of):
        rest, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        train = examples.take(rest)
        kept = np.flatnonzero(train.truth.any(axis=0))
        known = replace(train, truth=train.truth[:, kept], labels=tuple(train.labels[at] for at in kept))
        scores[np.ix_(held, kept)] = score(known, examples.take(held))
    return scores


def decided(
    scores: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], fold: np.ndarray[Any, Any], of: int
) -> np.ndarray[Any, Any]:
    """Return (n, L) bool decisions of one cut per fold, tuned on the other folds."""
    chosen = np.zeros(truth.shape, dtype=bool)
    for number in range(of):
        held, others = fold == number, (fold != number) & (fold < of)
        near = (scores[others] > 0.01) | truth[others]
        chosen[held] = scores[held] >= best_cut(scores[others][near].astype(float), truth[others][near])
    return chosen


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, default=None, help="Score only the first so many folds (at least 2).")
    given = parser.parse_args()
    examples = corpus()
    fold = np.random.default_rng(1).permutation(len(examples)) % given.folds
    of = given.only or given.folds
    judged = fold < of
    print(f"{int(judged.sum())} notes, {len(examples.labels):,} codes, {given.folds} folds\n")
    print("| method | codes | " + " | ".join(SHOWN) + " | seconds |")
    print("|---" * (len(SHOWN) + 3) + "|")
    for name in given.family:
        began = time.perf_counter()
        scores = cross_validated(examples, METHODS[name], fold, of)
        seconds = time.perf_counter() - began
        truth, prob, cut = examples.truth[judged], scores[judged], decided(scores, examples.truth, fold, of)[judged]
        for level in ("full", "three characters"):
            if level != "full":
                _, truth, prob, cut = code_metrics.folded(examples.labels, truth, prob, cut)
            found = code_metrics.figures(truth, prob, cut, rng=np.random.default_rng(0))
            cells = " | ".join(f"{found[one].value:.3f} ({found[one].low:.3f}–{found[one].high:.3f})" for one in SHOWN)
            print(f"| {name} | {level} | {cells} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
