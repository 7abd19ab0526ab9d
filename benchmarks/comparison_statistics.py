"""Do the statistics of a comparison agree with the references, and do the tests keep their level?

    python benchmarks/comparison_statistics.py [--pairs 1000] [--items 300]

Needs statsmodels (extra `dev`). Prints the largest difference from the reference for every statistic, each over 200
random tables, then how often two equally good models are told apart over `--pairs` simulated pairs.
"""

from __future__ import annotations

import argparse
import math
from itertools import product

import numpy as np
from scipy.stats import bootstrap, spearmanr
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.inter_rater import fleiss_kappa as reference_fleiss
from statsmodels.stats.multitest import multipletests

from medbench import agreement, comparing, comparing_tests, metrics, resampling
from medbench.comparing_judged import Answered

TABLES = 200
HANLEY = ((33, 6, 6, 11, 2), (3, 2, 2, 11, 33))
"""Ratings of 58 normal and 51 abnormal patients (Hanley & McNeil 1982)."""


def by_definition(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's areas and covariance from all pairs of a true and a false item, as the 1988 paper writes them."""
    true, false = scores[:, truth], scores[:, ~truth]
    won = (true[:, :, None] > false[:, None, :]) + 0.5 * (true[:, :, None] == false[:, None, :])
    by_true, by_false = won.mean(axis=2), won.mean(axis=1)
    auc = won.mean(axis=(1, 2))
    m, n = true.shape[1], false.shape[1]
    covariance = np.zeros((len(scores), len(scores)))
    for a, b in product(range(len(scores)), repeat=2):
        covariance[a, b] = ((by_true[a] - auc[a]) * (by_true[b] - auc[b])).sum() / ((m - 1) * m)
        covariance[a, b] += ((by_false[a] - auc[a]) * (by_false[b] - auc[b])).sum() / ((n - 1) * n)
    return auc, covariance


def references(rng: np.random.Generator) -> dict[str, float]:
    """Return the largest difference from the reference per statistic."""
    worst: dict[str, float] = {}

    def note(name: str, ours: float, theirs: float) -> None:
        worst[name] = max(worst.get(name, 0.0), abs(ours - theirs))

    for _ in range(TABLES):
        b, c = (int(value) for value in rng.integers(0, 60, 2))
        if b + c == 0:
            continue
        found, table = comparing_tests.mcnemar(b, c), [[50, b], [c, 20]]
        note("McNemar exact p, statsmodels", found.exact, float(reference_mcnemar(table, exact=True).pvalue))
        chi2 = reference_mcnemar(table, exact=False, correction=True)
        if b != c:  # statsmodels lets the correction turn a difference of 0 into one of 1
            note("McNemar χ² with correction, statsmodels", found.chi2, float(chi2.statistic))
            note("McNemar χ² p, statsmodels", found.chi2_p, float(chi2.pvalue))
        p = rng.random(rng.integers(1, 12)).tolist()
        for ours, theirs in zip(comparing_tests.holm(p), multipletests(p, method="holm")[1], strict=True):
            note("Holm, statsmodels", ours, float(theirs))
        truth = rng.random(60) < 0.4
        scores = np.round(rng.random((2, 60)) + truth * rng.random((2, 1)), 1)  # rounded: many ties
        fast, (auc, covariance) = comparing_tests.delong(truth, scores), by_definition(truth, scores)
        note("DeLong area, scikit-learn", float(fast.auc[0]), float(roc_auc_score(truth, scores[0])))
        note("DeLong covariance, the paper's formula", float(np.abs(fast.covariance - covariance).max()), 0.0)
        note("DeLong area, the paper's formula", float(np.abs(fast.auc - auc).max()), 0.0)
        first, second = (rng.integers(0, 4, 40) for _ in range(2))
        note("Cohen κ, scikit-learn", agreement.cohen_kappa(first.tolist(), second.tolist()),
             float(cohen_kappa_score(first, second)))  # fmt: skip
        counts = rng.multinomial(5, [0.5, 0.3, 0.2], 30)
        note("Fleiss κ, statsmodels", agreement.fleiss_kappa(counts), float(reference_fleiss(counts)))
        note("Spearman r, scipy", comparing_tests.rank_correlation(first.tolist(), second.tolist())[0],
             float(spearmanr(first, second).statistic))  # fmt: skip
    truth = np.arange(109) >= 58
    ratings = np.concatenate([np.repeat(np.arange(5.0), counts) for counts in HANLEY])
    found_area = comparing_tests.delong(truth, ratings[None])
    note("DeLong, Hanley & McNeil's readings: area .8932", round(float(found_area.auc[0]), 4), 0.8932)
    note("… standard error .0307", round(math.sqrt(float(found_area.covariance[0, 0])), 4), 0.0307)
    return worst


def simulated(rng: np.random.Generator, n_items: int, skill: float = 0.6) -> Answered:
    """A model that knows each item with the same chance as any other simulated one."""
    truth = np.random.default_rng(0).random((n_items, 8)) < 0.25
    knows = rng.random(n_items) < skill
    prob = np.where(knows[:, None], np.where(truth, 0.9, 0.1), rng.random(truth.shape)).astype(np.float32)
    card = {"labels": [str(at) for at in range(8)], "answer": "many"}
    return Answered("x", "x", card, "test", np.arange(n_items), prob, truth, prob >= 0.5, np.zeros((0, 3)))


def levels(rng: np.random.Generator, pairs: int, n_items: int) -> tuple[float, float]:
    """Return the shares of equal pairs that the permutation test and the bootstrap interval tell apart at 5 %."""
    by_test, by_interval = 0, 0
    for _ in range(pairs):
        models = [simulated(rng, n_items) for _ in range(2)]
        (pair,) = comparing.compare(models, np.arange(n_items), rng=rng).pairs("micro_f1")
        by_test += pair.p <= 0.05
        by_interval += not pair.low <= 0 <= pair.high
    return by_test / pairs, by_interval / pairs


def bootstrap_beside_scipy(rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return our percentile interval of a micro-F1 and scipy's, from the same 5,000 resamples.

    Both draw rows as one table of integers, so generators of one seed give them the same rows.
    """
    model, seed = simulated(rng, 200), int(rng.integers(2**31))
    columns = metrics.Columns(model.truth, model.probabilities, model.decided, "many")
    sums = columns.by_group(np.arange(200))
    drawn = columns.read(sums(resampling.resample_weights(200, np.random.default_rng(seed), 5_000)))["micro_f1"]

    def score(rows: np.ndarray) -> float:
        true, said = model.truth[rows], model.decided[rows]
        return float(2 * (true & said).sum() / (true.sum() + said.sum()))

    drawing = {"n_resamples": 5_000, "method": "percentile", "vectorized": False, "rng": np.random.default_rng(seed)}
    found = bootstrap((np.arange(200),), score, **drawing)
    return comparing_tests.percentile_interval(drawn), (
        float(found.confidence_interval.low),
        float(found.confidence_interval.high),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    print(f"| statistic, reference | largest difference, {TABLES} random tables |\n|---|---:|")
    for name, value in references(rng).items():
        print(f"| {name} | {value:.1e} |")
    ours, theirs = bootstrap_beside_scipy(rng)
    print(f"\nbootstrap interval of a micro-F1: ours {ours[0]:.4f} to {ours[1]:.4f},", end=" ")
    print(f"scipy {theirs[0]:.4f} to {theirs[1]:.4f} (5,000 resamples each)")
    by_test, by_interval = levels(rng, given.pairs, given.items)
    print(f"equal pairs told apart at 5 %, {given.pairs:,} pairs of {given.items} items × 8 labels, micro-F1:")
    print(f"permutation test {by_test:.1%}, bootstrap interval without 0 {by_interval:.1%}")


if __name__ == "__main__":
    main()
