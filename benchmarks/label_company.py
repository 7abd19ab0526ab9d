"""What is it worth to let labels that go together move each other, beside deciding every label by itself?

    python benchmarks/label_company.py [--dataset ohsumed mtsamples hoc] [--home DIR] [key=value ...]

Five folds over the train and validation rows of each corpus, linear family (its options as key=value): every row is
scored by a fit that had not seen it. Calibration, sets of labels and thresholds are then fitted on four folds' scores
and judged on the fifth, with the company and without, which gives each row one answer of either kind. Prints micro-F1,
macro-F1 and log loss of both and the paired differences with 95 % intervals over 2,000 bootstrap resamples of groups.
The official test halves and our own test splits are not touched.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from literature_quality import CORPORA, import_corpus

from medbench import datasets, runs, splits, thresholds, trust
from medbench.calibration import log_loss
from medbench.events import Say
from medbench.families import Fitting, get_family
from medbench.records import Device, Examples, Scores, Truth
from medbench.workspace import Workspace

FOLDS, RESAMPLES = 5, 2000
Floats = npt.NDArray[np.float64]


def out_of_fold(known: Examples, options: dict[str, Any]) -> tuple[Scores, npt.NDArray[np.int64]]:
    """Return every row's scores by a fit without its fold, and the number of its fold."""
    family = get_family("linear")
    scores, fold = np.zeros(known.truth.shape, dtype=np.float32), np.zeros(len(known), dtype=np.int64)
    for number, rows in enumerate(splits.folds(known, FOLDS, np.random.default_rng(0))):
        others = np.setdiff1d(np.arange(len(known)), rows)
        fitting = Fitting(np.random.default_rng(number), Device("cpu"), Say())
        model = family.fit(known.take(others), known.take([]), family.parse(options), fitting)
        scores[rows], fold[rows] = model.scores(known.take(rows).items), number
    return scores, fold


def both_ways(known: Examples, scores: Scores, fold: npt.NDArray[np.int64]) -> tuple[list[Truth], list[Floats], int]:
    """Return what is decided without and with the company, the probabilities, and in how many folds it was kept."""
    decided = [np.zeros(scores.shape, dtype=bool) for _ in range(2)]
    prob = [np.zeros(scores.shape) for _ in range(2)]
    kept = 0
    for number in range(FOLDS):
        inside, rest = fold == number, np.flatnonzero(fold != number)
        others = known.take(rest)
        fitted = trust.fit_trust(
            scores[rest], others.truth, "many", None, None, np.random.default_rng(0), groups=others.groups
        )
        whole = fitted.calibrate(scores[inside])
        prob[0][inside], decided[0][inside] = whole, fitted.decide(whole)
        prob[1][inside], decided[1][inside] = whole, fitted.decide(whole)
        alone, new = fitted.alone(scores[rest]), fitted.alone(scores[inside])
        if alone is not None and new is not None:
            kept += 1
            cuts = thresholds.tune_thresholds(alone.astype(np.float64), others.truth, np.random.default_rng(0))
            prob[0][inside], decided[0][inside] = new, new >= cuts
    return decided, prob, kept


def f1(truth: Truth, decided: Truth, weights: Floats) -> tuple[Floats, Floats]:
    """Return micro-F1 and macro-F1 of each of r weightings of the rows, (r, n)."""
    hits, sizes = weights @ (truth & decided), weights @ truth + weights @ decided
    each = 2 * hits / np.maximum(sizes, 1e-9)
    return 2 * hits.sum(axis=1) / sizes.sum(axis=1), each[:, truth.any(axis=0)].mean(axis=1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", default=["ohsumed", "mtsamples", "hoc"], choices=list(CORPORA))
    parser.add_argument("--home", type=Path, default=None, help="Keep the imported data here.")
    parser.add_argument("options", nargs="*", help="key=value options of the linear family.")
    given = parser.parse_args()
    options = runs.parse_spec("{task: t, family: f, dataset: d}", given.options).options
    print("| data | rows | kept in folds | micro-F1, alone → company | points | macro-F1 | points | log loss |")
    print("|---|---:|---:|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.dataset:
            workspace = Workspace.here(given.home or Path(folder))
            dataset = datasets.load(workspace, import_corpus(workspace, name)[0])
            known = dataset.examples("train").with_more(dataset.examples("validation"))
            scores, fold = out_of_fold(known, options)
            decided, prob, kept = both_ways(known, scores, fold)
            groups = known.groups or tuple(map(str, range(len(known))))
            _, group = np.unique(groups, return_inverse=True)
            n_groups = int(group.max()) + 1
            drawn = np.random.default_rng(1).multinomial(n_groups, np.full(n_groups, 1 / n_groups), RESAMPLES)
            weights = np.vstack([np.ones(len(known)), drawn[:, group]])
            alone, together = (f1(known.truth, one, weights) for one in decided)
            cells = [name, f"{len(known):,}", f"{kept} of {FOLDS}"]
            for one, other in zip(alone, together, strict=True):
                low, high = 100 * np.quantile((other - one)[1:], [0.025, 0.975])
                cells += [
                    f"{one[0]:.4f} → {other[0]:.4f}",
                    f"{100 * (other[0] - one[0]):+.2f} ({low:+.2f} to {high:+.2f})",
                ]
            cells.append(" → ".join(f"{log_loss(one, known.truth, 'many'):.4f}" for one in prob))
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
