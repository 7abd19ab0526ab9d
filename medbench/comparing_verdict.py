"""What a comparison says, in sentences: who beats whom, by how much, and who cannot be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEVEL = 0.05
TITLES = {
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "micro_precision": "micro precision",
    "micro_recall": "micro recall",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "exact_match": "exact match",
    "hamming_loss": "Hamming loss",
    "map": "mean average precision",
    "p_at_1": "precision at 1",
    "p_at_3": "precision at 3",
    "p_at_5": "precision at 5",
    "p_at_10": "precision at 10",
    "r_at_1": "recall at 1",
    "r_at_3": "recall at 3",
    "r_at_5": "recall at 5",
    "r_at_10": "recall at 10",
    "auc": "AUC, mean over labels",
    "auc_micro": "AUC, all pairs",
    "average_precision": "average precision",
    "ece": "calibration error",
    "brier": "Brier score",
    "log_loss": "log loss",
    "h_f1": "hierarchical F1",
    "h_precision": "hierarchical precision",
    "h_recall": "hierarchical recall",
}
HIERARCHICAL = ("h_f1", "h_precision", "h_recall")
"""Metrics that need a tree of labels."""
LOWER_IS_BETTER = frozenset({"hamming_loss", "ece", "brier", "log_loss"})
_UNBOUNDED = frozenset({"log_loss"})


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on the same items, in one metric.

    Attributes:
        first: Id of one model.
        second: Id of the other.
        metric: Name of the metric.
        value: How much better `second` is, in the metric's own unit; negative when it is worse.
        low: Lower end of the 95 % interval (paired bootstrap over groups).
        high: Its upper end.
        p: p of the paired permutation test over groups.
        p_holm: The same, corrected for the number of pairs.
        only_first: Items that only `first` got wholly right.
        only_second: Items that only `second` got wholly right.
        mcnemar_p: McNemar's mid-p of these two counts; items count as independent.
    """

    first: str
    second: str
    metric: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float
    only_first: int
    only_second: int
    mcnemar_p: float

    @property
    def told(self) -> bool:
        """Whether the two can be told apart at 5 %, all pairs considered."""
        return self.p_holm < LEVEL

    def turned(self) -> Pair:
        """Return the same comparison seen from the other model."""
        return Pair(
            self.second,
            self.first,
            self.metric,
            -self.value,
            -self.high,
            -self.low,
            self.p,
            self.p_holm,
            self.only_second,
            self.only_first,
            self.mcnemar_p,
        )


def title_of(metric: str) -> str:
    """Return what the user reads for a metric."""
    return TITLES.get(metric, metric.replace("_", " "))


def p_words(p: float) -> str:
    """Return "p = .012", "p < .001"."""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def amount(pair: Pair, brief: bool = False) -> str:
    """Return "1.8 points of micro-F1 (0.4–3.1, p = .012)", or without the unit; points are hundredths."""
    scale, digits = (1.0, 3) if pair.metric in _UNBOUNDED else (100.0, 1)
    value, low, high = (f"{scale * part:.{digits}f}".replace("-", "−") for part in (pair.value, pair.low, pair.high))
    interval = f"{low} to {high}" if pair.low < 0 else f"{low}–{high}"
    unit = f" {title_of(pair.metric)}" if pair.metric in _UNBOUNDED else f" points of {title_of(pair.metric)}"
    return f"{value}{'' if brief else unit} ({interval}, {p_words(pair.p_holm)})"


def sentences(order: Sequence[str], pairs: Sequence[Pair], names: Mapping[str, str]) -> list[str]:
    """Return one sentence for each model but the last, best first: what it beats, and what it cannot be told from.

    Args:
        order: Ids of the models, best first.
        pairs: One entry per unordered pair of them.
        names: Id -> what the user reads.
    """
    known = {(pair.first, pair.second): pair for pair in pairs}
    known |= {(pair.second, pair.first): pair.turned() for pair in pairs}
    told = []
    for place, model in enumerate(order[:-1]):
        against = [known[other, model] for other in order[place + 1 :]]
        lost = [pair for pair in against if pair.told]
        beaten = [f"{names[pair.first]} by {amount(pair, brief=at > 0)}" for at, pair in enumerate(lost)]
        even = [names[pair.first] for pair in against if not pair.told]
        parts = [f"{names[model]} beats {_listed(beaten, 'and')}"] if beaten else []
        if even:
            subject = "it" if beaten else names[model]
            parts.append(f"{subject} cannot be told from {_listed(even, 'or')}")
        told.append("; ".join(parts) + ".")
    return told


def footnote(pairs: Sequence[Pair], n_items: int, n_groups: int, draws: tuple[int, int]) -> str:
    """Return how the figures in the sentences were made; `draws` are resamples and exchanges."""
    count = len(pairs)
    corrected = f"Holm-corrected over {count} pairs" if count > 1 else "one pair, so nothing to correct for"
    groups = f" in {n_groups:,} groups" if n_groups < n_items else ""
    return (
        f"Same {n_items:,} items{groups}. Brackets: 95 % interval of the difference (paired bootstrap, {draws[0]:,} "
        f"resamples) and p of a paired permutation test ({draws[1]:,} exchanges), {corrected}."
    )


def _listed(words: Sequence[str], last: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
