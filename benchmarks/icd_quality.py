"""How good are the coding families on CodiEsp diagnoses (English text, all codes, cross-validated)?

    python benchmarks/icd_quality.py [--family ridge coder coder-unmarked lookup coder+lookup] [--folds 5] [--only 2]

Imports codiesp_train_dev.jsonl of $MEDBENCH_SHARED (marked evidence is carried over from the Spanish text) and cuts its
750 notes into random folds; notes that nearly repeat each other stay in one fold. What is judged was never learnt from:

- A fold's notes are scored by a model of the other folds. It gets their words alone: no codes, no marks, no Spanish.
- The cut that turns scores into codes comes from a second model that learnt from four fifths of those other folds,
  scored on the last fifth. Nothing of the judged fold has a part in it.
- Codes that the training notes lack can't be named. They stay in the count: missed in F1, 0 in MAP.

Folds are not stratified by code: stratifying would deal codes that one note has to the training side and flatter every
figure. `coder+lookup` is the mean of both methods' scores. What folds share is the word alignment between Spanish and
English texts, learnt without codes from all notes. Prints a Markdown table with 95 % bootstrap intervals over notes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

Table = np.ndarray[Any, Any]
Method = Callable[[Examples, Examples], Table]
VALIDATED = 5
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


def ridge(train: Examples, held: Examples) -> Table:
    """Score with TF-IDF of words and word pairs and ridge regression, the published baseline."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    fitted = Ridge(alpha=1.0, solver="lsqr").fit(vectors.fit_transform(train.items), train.truth.astype(np.float32))
    return np.clip(fitted.predict(vectors.transform(held.items)), 0, 1)


def by_family(name: str, marked: bool = True, **options: Any) -> Method:
    """Return a function that fits a family and scores held notes, of which it gets the words alone."""

    def score(train: Examples, held: Examples) -> Table:
        family = get_family(name)
        fitting = Fitting(np.random.default_rng(0), Device(), Say())
        learnt = train if marked else replace(train, marks=())
        return family.fit(learnt, train.take([]), family.parse(options), fitting).scores(held.items)

    return score


METHODS: dict[str, Method] = {
    "ridge": ridge,
    "linear": by_family("linear"),
    "coder": by_family("coder"),
    "coder-unmarked": by_family("coder", marked=False),
    "lookup": by_family("lookup", only_codable=False),
}
MIXED = {"coder+lookup": ("coder", "lookup")}


def dealt(groups: Sequence[str], parts: int, rng: np.random.Generator) -> Table:
    """Return (n,) part of each note, 0 to parts - 1, at random; notes of one group get the same."""
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    return (rng.permutation(int(group.max()) + 1) % parts)[group]


def scored(method: Method, examples: Examples, rows: Table, held: Table) -> Table:
    """Return (held, L) scores by a model of `rows`; codes that these lack have no score and get 0."""
    train = examples.take(rows)
    kept = np.flatnonzero(train.truth.any(axis=0))
    known = replace(train, truth=train.truth[:, kept], labels=tuple(train.labels[at] for at in kept))
    words = Examples(examples.take(held).items, np.zeros((len(held), 0), dtype=bool), (), "many", ())
    scores = np.zeros((len(held), len(examples.labels)), dtype=np.float32)
    scores[:, kept] = method(known, words)
    return scores


@dataclass
class Fold:
    """What one method says of one fold, and of the part of the other folds that its cut is taken from.

    Attributes:
        held: Rows that are judged.
        validation: Rows that the cut is taken from.
        scores: (held, L) by a model of all other folds.
        near: (validation, L) by a model of the other folds without `validation`.
    """

    held: Table
    validation: Table
    scores: Table
    near: Table

    def decided(self, truth: Table) -> Table:
        """Return (held, L) bool: scores at or above the cut with the best micro-F1 on the validation rows."""
        true = truth[self.validation]
        live = (self.near > 0.01) | true  # no cut lies among the rest, which are nearly all
        return self.scores >= best_cut(self.near[live].astype(float), true[live])


def judged(method: Method, examples: Examples, fold: Table, of: int) -> list[Fold]:
    """Return what a method says of the first `of` folds."""
    found = []
    for number in range(of):
        held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        part = dealt([examples.groups[row] for row in rest], VALIDATED, np.random.default_rng(number))
        validation, learnt = rest[part == 0], rest[part != 0]
        scores = scored(method, examples, rest, held)
        found.append(Fold(held, validation, scores, scored(method, examples, learnt, validation)))
    return found


def mean(parts: Sequence[list[Fold]]) -> list[Fold]:
    """Return the mean of several methods' scores."""
    return [
        replace(
            same[0],
            scores=np.mean([one.scores for one in same], axis=0),
            near=np.mean([one.near for one in same], axis=0),
        )
        for same in zip(*parts, strict=True)
    ]


def figures(truth: Table, scores: Table, decided: Table) -> str:
    """Return the cells of a row; a true code with score 0 was not named and counts as missed."""
    absent = truth & (scores <= 0)
    found = code_metrics.figures(
        truth & ~absent, scores, decided, rng=np.random.default_rng(0), missed=absent.sum(axis=1)
    )
    return " | ".join(f"{found[one].value:.3f} ({found[one].low:.3f}–{found[one].high:.3f})" for one in SHOWN)


def rows(name: str, examples: Examples, folds: list[Fold]) -> list[str]:
    """Return a method's two rows: at full code and at three characters."""
    truth = np.concatenate([examples.truth[one.held] for one in folds])
    scores = np.concatenate([one.scores for one in folds])
    decided = np.concatenate([one.decided(examples.truth) for one in folds])
    _, *three = code_metrics.folded(examples.labels, truth, scores, decided)
    return [
        f"| {name} | full | {figures(truth, scores, decided)} |",
        f"| {name} | three characters | {figures(*three)} |",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family", nargs="+", choices=[*METHODS, *MIXED], default=["ridge", "coder", "lookup", *MIXED])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, default=None, help="Judge only the first so many folds.")
    given = parser.parse_args()
    examples = corpus()
    fold = dealt(examples.groups, given.folds, np.random.default_rng(1))
    of = given.only or given.folds
    unseen = [examples.truth[np.ix_(fold == at, ~examples.truth[fold != at].any(axis=0))].sum() for at in range(of)]
    pairs = int(examples.truth[fold < of].sum())
    print(
        f"{int((fold < of).sum())} of {len(examples)} notes in {of} of {given.folds} folds; {len(examples.labels):,} ",
        end="",
    )
    print(f"codes; {sum(unseen) / pairs:.1%} of {pairs:,} true codes are in no training note.\n")
    print("| method | codes | " + " | ".join(SHOWN) + " |")
    print("|---" * (len(SHOWN) + 2) + "|", flush=True)
    known: dict[str, list[Fold]] = {}
    for name in given.family:
        for part in MIXED.get(name, (name,)):
            if part not in known:
                known[part] = judged(METHODS[part], examples, fold, of)
        folds = mean([known[part] for part in MIXED[name]]) if name in MIXED else known[name]
        print("\n".join(rows(name, examples, folds)), flush=True)


if __name__ == "__main__":
    main()
