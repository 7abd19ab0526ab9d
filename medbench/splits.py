"""Train, validation and test: stratified by label, groups kept together, same seed same split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from medbench.errors import MedbenchError
from medbench.records import SPLITS, Examples, SplitName

_WORDS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training", "tr", "trn", "fit"), "train"),
    **dict.fromkeys(("dev", "develop", "development", "val", "valid", "validation", "tune", "tuning"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "holdout", "hold-out"), "test"),
}


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How rows are to be split.

    Attributes:
        method: "stratified" draws splits; "file" takes the file's own (a missing validation split is carved out of
            train, a missing test split stays empty).
        shares: Shares of train, validation and test, each 0-1, together 1; test may be 0.
        seed: Seed of the draw.
        part_groups: Deal rows out one by one and so tear groups apart: scores come out too good. Only for showing that.
    """

    method: Literal["stratified", "file"] = "stratified"
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0
    part_groups: bool = False

    def __post_init__(self) -> None:
        """Raise MedbenchError unless the shares are a split."""
        right = min(self.shares) >= 0 and abs(sum(self.shares) - 1) <= 1e-6 and self.shares[0] > 0  # NaN is not right
        if len(self.shares) != 3 or not right or self.method not in ("stratified", "file"):
            raise MedbenchError(
                "three shares of 0-1 that add up to 1, with something to train on",
                f"{self.method} {self.shares}",
                "Use for example 0.7, 0.15, 0.15.",
            )
        if self.seed < 0:
            raise MedbenchError("a seed of 0 or more", str(self.seed), "Use for example 0.")


def split_name(word: str) -> SplitName | None:
    """Return which split a word of the file ("dev", "Training") stands for, or None."""
    return _WORDS.get(word.strip().lower())


def assign(
    truth: npt.NDArray[np.bool_], groups: Sequence[str], plan: SplitPlan, own: Sequence[str] | None = None
) -> list[SplitName]:
    """Put every row into exactly one split.

    Args:
        truth: (n, n_labels) bool.
        groups: n group keys; rows of one group get the same split (with "file", only where medbench draws), unless
            the plan parts groups.
        plan: The plan.
        own: With "file": n words of the file's own split column; a blank means train.

    Raises:
        MedbenchError: The file has no split column, or one of its words is not known.
    """
    rng = np.random.default_rng(plan.seed)
    if plan.part_groups:
        groups = [str(row) for row in range(len(groups))]
    if plan.method == "stratified":
        drawn = stratify(truth, groups, plan.shares, rng)
        return [SPLITS[part] for part in drawn]
    names = _own_splits(own)
    if "validation" not in names and plan.shares[1] > 0:
        train = [row for row, name in enumerate(names) if name == "train"]
        share = plan.shares[1] / (plan.shares[0] + plan.shares[1])
        carved = stratify(truth[train], [groups[row] for row in train], (1 - share, share), rng)
        for row, part in zip(train, carved, strict=True):
            names[row] = SPLITS[part]
    return names


def _own_splits(own: Sequence[str] | None) -> list[SplitName]:
    words = sorted({word for word in own or () if word.strip()})
    if own is None or not words:
        raise MedbenchError("a column with the file's own splits", "none", "Draw a stratified split instead.")
    unknown = [word for word in words if split_name(word) is None]
    if unknown:
        raise MedbenchError(
            "split words such as train, validation (dev) and test",
            ", ".join(repr(word) for word in unknown[:5]),
            "Draw a stratified split instead, or correct the column.",
        )
    return [split_name(word) or "train" for word in own]


def folds(examples: Examples, k: int, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Return k arrays of row positions: stratified, groups kept together, every row in exactly one.

    A fold can be empty only when there are fewer groups than folds. Raises MedbenchError for fewer than 2 folds.
    """
    if k < 2:
        raise MedbenchError("at least 2 folds", str(k), "Use 5.")
    groups = examples.groups or tuple(str(row) for row in range(len(examples)))
    part = stratify(examples.truth, groups, (1 / k,) * k, rng)
    return [np.flatnonzero(part == fold).astype(np.int64) for fold in range(k)]


def check_folds(examples: Examples, k: int) -> None:
    """Refuse more folds than there are groups to fill them. Raises MedbenchError."""
    groups = len(set(examples.groups)) if examples.groups else len(examples)
    if groups < k:
        raise MedbenchError(
            f"at least {k} groups of rows for {k} folds", str(groups), "Ask for fewer folds, or add more rows."
        )


def stratify(
    truth: npt.NDArray[np.bool_], groups: Sequence[str], shares: Sequence[float], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Deal whole groups out to parts so that every label keeps its share in every part.

    Greedy iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011) over groups instead of rows: the rarest
    label left is dealt first, larger groups first, each to the part that still misses most of that label.

    Args:
        truth: (n, n_labels) bool.
        groups: n group keys.
        shares: Share of each part, 0-1, together 1.
        rng: Breaks ties and orders groups of one size.

    Returns:
        (n,) part of each row, 0 to len(shares) - 1.
    """
    n, n_labels = truth.shape
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    _, group = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    sizes = np.bincount(group)
    shuffled = rng.permutation(len(sizes))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    rank = np.empty(len(sizes), dtype=np.int64)
    rank[order] = np.arange(len(sizes))
    deal = _Deal(sizes, *_label_counts(truth, group, len(sizes), n_labels), np.asarray(shares, dtype=float), rng)
    for label in _rarest_first(deal):
        for index in sorted(deal.waiting(label), key=rank.__getitem__):
            deal.give(index, label)
    for index in order:
        if deal.part[index] < 0:
            deal.give(int(index), None)
    return deal.part[group]


def _label_counts(
    truth: npt.NDArray[np.bool_], group: npt.NDArray[np.int64], n_groups: int, n_labels: int
) -> tuple[list[dict[int, int]], list[list[int]]]:
    """Return for each group its labels with counts, and for each label the groups that hold it."""
    rows, columns = np.nonzero(truth)
    pairs, counts = np.unique(group[rows].astype(np.int64) * max(n_labels, 1) + columns, return_counts=True)
    held: list[dict[int, int]] = [{} for _ in range(n_groups)]
    holders: list[list[int]] = [[] for _ in range(n_labels)]
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        index, label = divmod(pair, max(n_labels, 1))
        held[index][label] = count
        holders[label].append(index)
    return held, holders


class _Deal:
    """What each part still misses, per label and in rows, while groups are dealt."""

    def __init__(
        self,
        sizes: npt.NDArray[np.int64],
        held: list[dict[int, int]],
        holders: list[list[int]],
        shares: npt.NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        self.sizes, self.held, self.holders, self.rng = sizes, held, holders, rng
        self.left = np.zeros(len(holders))
        for label, indexes in enumerate(holders):
            self.left[label] = sum(held[index][label] for index in indexes)
        self.missing_rows = shares * sizes.sum()
        self.missing = np.outer(shares, self.left)
        self.open = shares > 0
        self.part = np.full(len(sizes), -1, dtype=np.int64)

    def waiting(self, label: int) -> list[int]:
        """Return the groups with `label` that are still to be dealt."""
        return [index for index in self.holders[label] if self.part[index] < 0]

    def give(self, index: int, label: int | None) -> None:
        """Deal one group to the part that misses most of `label`, then most rows, then by lot."""
        first = self.missing_rows if label is None else self.missing[:, label]
        best = np.flatnonzero(self.open & (first >= first[self.open].max() - 1e-9))
        if len(best) > 1:
            best = best[self.missing_rows[best] >= self.missing_rows[best].max() - 1e-9]
        part = int(best[0] if len(best) == 1 else self.rng.choice(best))
        self.part[index] = part
        self.missing_rows[part] -= self.sizes[index]
        for other, count in self.held[index].items():
            self.missing[part, other] -= count
            self.left[other] -= count


def _rarest_first(deal: _Deal) -> Iterator[int]:
    """Yield the label with the fewest rows left, until none is left."""
    while len(deal.left) and deal.left.max() > 0:
        yield int(np.argmin(np.where(deal.left > 0, deal.left, np.inf)))
