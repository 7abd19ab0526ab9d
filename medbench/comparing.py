"""How far apart are models on the same items, and is that more than chance?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import areas, comparing_tests, comparing_verdict, metrics
from medbench.comparing_judged import Answered, names_of, same_items
from medbench.comparing_verdict import HIERARCHICAL, LOWER_IS_BETTER, Pair
from medbench.hierarchy import Hierarchy
from medbench.resampling import resample_weights
from medbench.slices import SLICE_CELLS

N_BOOT = 1000
LEAST_PERM, MOST_PERM = 999, 9_999
_CHUNK = 100
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """Models on the same items, resampled together. All arrays have one row per model.

    Attributes:
        models: The models, in the order given.
        point: Metric -> (m,) values.
        drawn: Metric -> (m, B) values on the same B resamples.
        p: Metric -> (pairs,) p of the paired permutation test, pairs as in `itertools.combinations`.
        n_groups: What was resampled.
        n_perm: Exchanges that p rests on.
    """

    models: tuple[Answered, ...]
    point: Mapping[str, Floats]
    drawn: Mapping[str, Floats]
    p: Mapping[str, Floats]
    n_groups: int
    n_perm: int

    @cached_property
    def names(self) -> dict[str, str]:
        """Id -> a name that tells the models apart."""
        return names_of([model.card for model in self.models])

    def interval(self, at: int, metric: str) -> tuple[float, float] | None:
        """Return the 95 % interval of one model's metric; None without resamples."""
        values = self.drawn[metric][at]
        values = values[~np.isnan(values)]
        return comparing_tests.percentile_interval(values) if values.size else None

    def figures(self, model_id: str) -> dict[str, Any]:
        """Return the metrics on a model's card, the hierarchical ones by the tree that the dataset has now."""
        at = [model.id for model in self.models].index(model_id)
        told = {name: figure for name, figure in self.models[at].card["metrics"].items() if name not in HIERARCHICAL}
        for name in HIERARCHICAL:
            if name in self.point:
                low, high = self.interval(at, name) or (None, None)
                told[name] = {"value": float(self.point[name][at]), "low": low, "high": high}
        return told

    def order(self, metric: str) -> list[str]:
        """Return the ids of the models, best first."""
        values = self.point[metric] * _sign(metric)
        return [self.models[at].id for at in np.argsort(-values, kind="stable")]

    def pairs(self, metric: str) -> list[Pair]:
        """Return every pair of models in one metric, p-values corrected for their number."""
        corrected = comparing_tests.holm(self.p[metric].tolist())
        found = []
        for place, (a, b) in enumerate(combinations(range(len(self.models)), 2)):
            first, second = self.models[a], self.models[b]
            value = float(self.point[metric][b] - self.point[metric][a]) * _sign(metric)
            spread = (self.drawn[metric][b] - self.drawn[metric][a]) * _sign(metric)
            spread = spread[~np.isnan(spread)]
            low, high = comparing_tests.percentile_interval(spread) if spread.size else (value, value)
            test = comparing_tests.mcnemar(
                int((first.right & ~second.right).sum()), int((second.right & ~first.right).sum())
            )
            counts = (test.only_first, test.only_second, test.mid_p)
            p = float(self.p[metric][place])
            found.append(Pair(first.id, second.id, metric, value, low, high, p, corrected[place], *counts))
        return found

    def sentences(self, metric: str) -> list[str]:
        """Return who beats whom in a metric, best first; nothing for a single model."""
        return comparing_verdict.sentences(self.order(metric), self.pairs(metric), self.names)

    def footnote(self, metric: str) -> str:
        """Return how the figures were made."""
        n_boot = next(iter(self.drawn.values())).shape[1]
        draws = (n_boot, self.n_perm)
        return comparing_verdict.footnote(self.pairs(metric), len(self.models[0].truth), self.n_groups, draws)


def compare(
    models: Sequence[Answered],
    groups: Ints,
    *,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
    n_perm: int | None = None,
    tree: Hierarchy | None = None,
) -> Comparison:
    """Resample the items once for all models, and exchange the answers of each pair at random.

    The bootstrap draws groups with replacement, the same for every model. The permutation test exchanges, group by
    group, which model an answer belongs to: under the hypothesis that the two are equally good, every exchange is as
    likely as what was seen. Sums over groups are linear, so one matrix of draws serves all models and pairs. The mean
    AUC over labels is no sum; it takes part by its first-order parts (`areas.mean_auc`).

    Args:
        models: At least one; judged on the same items.
        groups: (n,) group index of each item.
        rng: Draws resamples and exchanges.
        n_boot: Resamples.
        n_perm: Exchanges; as many as `exchanges_for` the number of pairs when None.
        tree: A tree over the labels, for hierarchical precision, recall and F1.

    Raises:
        MedbenchError: When the models were judged on different items.
    """
    same_items(models)
    columns = [metrics.Columns(one.truth, one.probabilities, one.decided, one.answer, tree) for one in models]
    sums = [one.by_group(groups) for one in columns]
    read = columns[0].read
    n_groups, n_pairs = int(groups.max()) + 1, len(models) * (len(models) - 1) // 2
    n_perm = exchanges_for(n_pairs) if n_perm is None else n_perm
    whole = [part(np.ones((1, n_groups))) for part in sums]
    point = {name: np.concatenate([read(one)[name] for one in whole]) for name in read(whole[0])}
    curves = [areas.mean_auc(one.truth, one.probabilities, groups) for one in models if areas_fit(one.truth.size)]
    if curves:
        point["auc"] = np.array([value for value, _ in curves])
    parts = np.array([part for _, part in curves]).reshape(len(curves), n_groups)
    drawn: list[dict[str, Floats]] = []
    for size in _sizes(n_boot):
        weights = resample_weights(n_groups, rng, size)
        figures = [read(part(weights), nothing=np.nan) for part in sums]
        more = {"auc": np.clip(point["auc"][:, None] + parts @ (weights - 1).T, 0, 1)} if curves else {}
        drawn.append({name: np.stack([one[name] for one in figures]) for name in figures[0]} | more)
    nothing = np.zeros((len(models), 0))
    together = {name: np.concatenate([nothing, *(part[name] for part in drawn)], axis=1) for name in point}
    p = _exchanged(sums, whole, read, point, parts, rng, n_perm)
    return Comparison(tuple(models), point, together, p, n_groups, n_perm)


def exchanges_for(n_pairs: int) -> int:
    """Return how many exchanges let the smallest p, corrected for so many pairs, be .01 or less; at most `MOST_PERM`.

    With m of them p cannot be below 1 / (m + 1), and Holm's rule multiplies the smallest by the number of pairs: 999
    for 55 pairs could never tell any two apart at 5 %.
    """
    return min(max(100 * n_pairs - 1, LEAST_PERM), MOST_PERM)


def areas_fit(cells: int) -> bool:
    """Return whether the mean AUC of so many pairs of an item and a label is compared: larger tables sort too long."""
    return cells <= SLICE_CELLS


def _exchanged(
    sums: Sequence[metrics.Sums],
    whole: Sequence[Floats],
    read: Callable[[Floats], dict[str, Floats]],
    point: Mapping[str, Floats],
    parts: Floats,
    rng: np.random.Generator,
    n_perm: int,
) -> dict[str, Floats]:
    """Return metric -> (pairs,) p-values: the share of exchanges as far apart as what was seen, itself counted.

    Counting what was seen as one of them keeps the test at its level (Phipson & Smyth 2010).

    Args:
        sums: Sums over groups of each of m models.
        whole: (1, columns) its sums over all groups.
        read: Metrics from sums.
        point: Metric -> (m,) values.
        parts: (m, n_groups) first-order parts of the mean AUC; of no model when it is not compared.
        rng: Draws the exchanges.
        n_perm: How many.
    """
    pairs, n_groups = list(combinations(range(len(sums)), 2)), parts.shape[1]
    # Equal sums may differ in their last digit.
    seen = {name: [abs(values[b] - values[a]) - 1e-12 for a, b in pairs] for name, values in point.items()}
    far = {name: np.ones(len(pairs)) for name in point}
    for size in _sizes(n_perm if pairs else 0):
        keep = rng.integers(0, 2, (size, n_groups), dtype=np.uint8).astype(np.float64)
        kept = [part(keep) for part in sums]
        turned = (2 * keep - 1) @ parts.T
        for at, (a, b) in enumerate(pairs):
            # Where a group is not kept, each of the two gets the other's answers.
            first, second = read(kept[a] + whole[b] - kept[b]), read(kept[b] + whole[a] - kept[a])
            apart = {name: second[name] - first[name] for name in first}
            if "auc" in point:
                apart["auc"] = turned[:, b] - turned[:, a]
            for name, values in apart.items():
                far[name][at] += int((np.abs(values) >= seen[name][at]).sum())
    return {name: counted / (1 + n_perm) for name, counted in far.items()}


def _sizes(total: int) -> list[int]:
    return [min(_CHUNK, total - begin) for begin in range(0, total, _CHUNK)]


def _sign(metric: str) -> int:
    return -1 if metric in LOWER_IS_BETTER else 1
