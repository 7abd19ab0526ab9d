"""Figures that the coding field reports: at full code and at three characters, by chapter, by frequency, by evidence.

Conventions as in `metrics`: truth and decided are (n, L) bool, prob is (n, L); a ratio with nothing below it is 0.
Codes that an item carries and the model does not know are counted against it (`missed`): they are never decided and
rank nowhere. Intervals are 95 % percentile bootstrap intervals over groups.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.codes import tables
from medbench.records import Metric, Truth
from medbench.slices import label_ranking_precision, slices_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Stretch = tuple[int, int]
AT = (8, 15)
FREQUENCIES = ((0, 0, "never"), (1, 1, "once"), (2, 4, "2 to 4 times"), (5, 19, "5 to 19 times"))
_OFTEN = "20 times or more"
_N_BOOT = 500


@dataclass(frozen=True)
class GroupRow:
    """How the codes of one chapter, or of one frequency, fare together.

    Attributes:
        name: The group.
        codes: Codes of it that are true or decided somewhere.
        n: True (item, code) pairs.
        precision: Micro precision, 0-1.
        recall: Micro recall, 0-1.
        f1: Micro-F1, 0-1.
    """

    name: str
    codes: int
    n: int
    precision: float
    recall: float
    f1: float


def figures(
    truth: Truth,
    prob: npt.NDArray[np.floating[Any]],
    decided: Truth,
    *,
    rng: np.random.Generator,
    missed: Ints | None = None,
    groups: Sequence[str] | None = None,
    n_boot: int = _N_BOOT,
) -> dict[str, Metric]:
    """Return the figures of a ranking and a decision, each with its interval.

    Args:
        truth: (n, L) bool.
        prob: (n, L) probabilities; only their order counts.
        decided: (n, L) bool.
        rng: Draws the resamples.
        missed: (n,) true codes of each item that have no column; None for none.
        groups: n keys of what is resampled together; None resamples items.
        n_boot: Resamples; 0 for no intervals.

    Returns:
        micro_f1, micro_precision, micro_recall, p_at_8, p_at_15, r_at_8, r_at_15, map (mean average precision over
        items with a code), exact_match. Empty when there is no item.
    """
    if not len(truth):
        return {}
    absent = np.zeros(len(truth), dtype=np.int64) if missed is None else missed
    table = _per_item(truth, prob, decided, absent)
    group = np.unique(np.asarray(groups), return_inverse=True)[1] if groups else np.arange(len(truth))
    sums = np.stack([np.bincount(group, weights=column) for column in table.T], axis=1)
    point = _read(sums.sum(axis=0, keepdims=True))
    draws = rng.integers(0, len(sums), (n_boot, len(sums)))
    spread = _read(np.stack([sums[draw].sum(axis=0) for draw in draws])) if n_boot else {}
    found = {}
    for name, value in point.items():
        low, high = np.quantile(spread[name], [0.025, 0.975]).tolist() if spread else (None, None)
        found[name] = Metric(name, float(value[0]), low, high, len(truth))
    return found


def _per_item(truth: Truth, prob: npt.NDArray[np.floating[Any]], decided: Truth, missed: Ints) -> Floats:
    """Return (n, 7 + 2 k) columns whose sums give every figure; items are ranked a slice at a time."""
    parts = [_columns(truth[rows], prob[rows], decided[rows], missed[rows]) for rows in slices_of(*truth.shape)]
    return np.concatenate(parts)


def _columns(truth: Truth, prob: npt.NDArray[np.floating[Any]], decided: Truth, missed: Ints) -> Floats:
    known = truth.sum(axis=1)
    carried = known + missed
    some = np.maximum(carried, 1)
    deepest = min(max(AT), truth.shape[1])
    order = np.argsort(-prob, axis=1, kind="stable")[:, :deepest]
    hits = np.cumsum(np.take_along_axis(truth, order, axis=1), axis=1)
    at = [hits[:, min(k, deepest) - 1] if deepest else np.zeros(len(truth)) for k in AT]
    exact = (truth == decided).all(axis=1) & (missed == 0)
    # The precision at each known code is summed; codes without a column add nothing but stand below the line.
    average = label_ranking_precision(truth, prob) * known / some
    right = (truth & decided).sum(axis=1)
    columns = [np.ones(len(truth)), carried > 0, right, decided.sum(axis=1), carried, exact, average]
    columns += [hit / k for hit, k in zip(at, AT, strict=True)] + [hit / some for hit in at]
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def _read(sums: Floats) -> dict[str, Floats]:
    n_items, labelled, right, said, carried, exact, average = sums[:, :7].T
    read = {
        "micro_f1": _ratio(2 * right, said + carried),
        "micro_precision": _ratio(right, said),
        "micro_recall": _ratio(right, carried),
        "map": _ratio(average, labelled),
        "exact_match": _ratio(exact, n_items),
    }
    for at, k in enumerate(AT):
        read[f"p_at_{k}"] = _ratio(sums[:, 7 + at], n_items)
        read[f"r_at_{k}"] = _ratio(sums[:, 7 + len(AT) + at], labelled)
    return read


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def category_of(label: str) -> str:
    """Return the three-character category of a code as a label; a label without a dot stays as it is."""
    found = tables().get(label)
    return (found.category if found else None) or label.partition(".")[0]


def chapter_of(label: str) -> str:
    """Return the official text of a code's chapter, or "in no code table"."""
    found = tables().get(label)
    chapter = tables().get(found.chapter) if found else None
    return chapter.text if chapter else "in no code table"


def folded(
    labels: Sequence[str],
    truth: Truth,
    prob: npt.NDArray[np.floating[Any]],
    decided: Truth,
    key: Callable[[str], str] = category_of,
) -> tuple[tuple[str, ...], Truth, npt.NDArray[np.floating[Any]], Truth]:
    """Fold the columns of one category into one: true or decided when any of its codes is, as probable as the best.

    Returns:
        The categories in the order of first sight, and truth, prob and decided, (n, categories) each.
    """
    heads = [key(label) for label in labels]
    names = tuple(dict.fromkeys(heads))
    columns: defaultdict[str, list[int]] = defaultdict(list)
    for at, head in enumerate(heads):
        columns[head].append(at)
    where = [columns[name] for name in names]
    size = (len(truth), len(names))
    new_truth, new_decided = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    new_prob = np.zeros(size, dtype=prob.dtype)
    for at, mine in enumerate(where):
        new_truth[:, at], new_decided[:, at] = truth[:, mine].any(axis=1), decided[:, mine].any(axis=1)
        new_prob[:, at] = prob[:, mine].max(axis=1)
    return names, new_truth, new_prob, new_decided


def by_group(truth: Truth, decided: Truth, names: Sequence[str]) -> list[GroupRow]:
    """Return one row per group of labels (`names`: L group names), in the order of first sight."""
    rights, said, carried = ((part).sum(axis=0) for part in (truth & decided, decided, truth))
    rows = []
    for name in dict.fromkeys(names):
        mine = np.array([other == name for other in names])
        right, n_said, n = (int(part[mine].sum()) for part in (rights, said, carried))
        live = int(((said + carried)[mine] > 0).sum())
        shares = [a / b if b else 0.0 for a, b in ((right, n_said), (right, n), (2 * right, n_said + n))]
        rows.append(GroupRow(name, live, n, *shares))
    return rows


def frequency_of(count: int) -> str:
    """Return in words how often a code was seen in training."""
    return next((words for low, high, words in FREQUENCIES if low <= count <= high), _OFTEN)


def card_figures(
    labels: Sequence[str],
    truth: Truth,
    prob: npt.NDArray[np.floating[Any]],
    decided: Truth,
    *,
    learnt: Sequence[int] | None,
    rng: np.random.Generator,
    unknown: Sequence[Sequence[str]] = (),
    groups: Sequence[str] | None = None,
    n_boot: int = _N_BOOT,
) -> dict[str, Any]:
    """Return everything the card and the evaluation say about codes, JSON-ready.

    Args:
        labels: L labels.
        truth: (n, L) bool.
        prob: (n, L) probabilities.
        decided: (n, L) bool.
        learnt: How often training saw each label, or None when that is not known.
        rng: Draws the resamples.
        unknown: For each item its true labels that are no columns; empty for none.
        groups: n keys of what is resampled together.
        n_boot: Resamples.

    Returns:
        "full" and "category": figures by name with value, low, high; "chapters" and "frequency": rows as in `GroupRow`;
        "unknown": true pairs whose label is no column.
    """
    missed = np.array([len(set(one)) for one in unknown], dtype=np.int64) if unknown else None
    full = figures(truth, prob, decided, rng=rng, missed=missed, groups=groups, n_boot=n_boot)
    names, truth3, prob3, decided3 = folded(labels, truth, prob, decided)
    missed_heads = _missed_categories(names, truth3, unknown)
    three = figures(truth3, prob3, decided3, rng=rng, missed=missed_heads, groups=groups, n_boot=n_boot)
    chapters = by_group(truth, decided, [chapter_of(label) for label in labels])
    often = by_group(truth, decided, [frequency_of(count) for count in learnt]) if learnt is not None else []
    order = [*(words for _, _, words in FREQUENCIES), _OFTEN]
    return {
        "full": {name: _numbers(metric) for name, metric in full.items()},
        "category": {name: _numbers(metric) for name, metric in three.items()},
        "chapters": [_row(row) for row in sorted(chapters, key=lambda row: -row.n) if row.codes],
        "frequency": [_row(row) for row in sorted(often, key=lambda row: order.index(row.name))],
        "unknown": int(missed.sum()) if missed is not None else 0,
    }


def _missed_categories(names: Sequence[str], truth: Truth, unknown: Sequence[Sequence[str]]) -> Ints | None:
    """Mark, in place, the categories that unknown codes belong to; return (n,) those that are no columns either."""
    if not unknown:
        return None
    column = {name: at for at, name in enumerate(names)}
    missed = np.zeros(len(truth), dtype=np.int64)
    for row, labels in enumerate(unknown):
        for head in {category_of(label) for label in labels}:
            if head in column:
                truth[row, column[head]] = True
            else:
                missed[row] += 1
    return missed


def _numbers(metric: Metric) -> dict[str, Any]:
    numbers = {"value": metric.value, "low": metric.low, "high": metric.high, "n": metric.n}
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in numbers.items()}


def _row(row: GroupRow) -> dict[str, Any]:
    shares = {"precision": round(row.precision, 4), "recall": round(row.recall, 4), "f1": round(row.f1, 4)}
    return {"name": row.name, "codes": row.codes, "n": row.n, **shares}


def evidence_overlap(marked: Iterable[Stretch], shown: Iterable[Stretch]) -> float:
    """Return the characters in both sets of stretches divided by those in either (intersection over union), 0-1.

    Nothing marked and nothing shown agree: 1.
    """
    ours, theirs = (
        Counter(at for start, end in set(spans) for at in range(start, end)).keys() for spans in (marked, shown)
    )
    either = len(ours | theirs)
    return len(ours & theirs) / either if either else 1.0
