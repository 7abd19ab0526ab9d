"""How well the readers of a review agree, label by label, with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medbench.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from medbench.records import Metric
from medbench.review_decisions import Standing

Unit = tuple[bool | None, ...]
"""What each reader said of one record; None where one did not read it."""
_QUANTILE = 1.959964  # of the normal distribution, for 95 %
FEWEST = 10
"""With fewer records the jackknife says little: no interval."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well readers agree on one label.

    Attributes:
        label: The label.
        alpha: Krippendorff's alpha over all records that two or more read, or None when it is no number.
        pairs: Cohen's kappa of every two readers who share records.
        fleiss: Fleiss' kappa over the records that all readers read; None with fewer than three readers.
    """

    label: str
    alpha: Metric | None
    pairs: tuple[tuple[tuple[str, str], Metric], ...]
    fleiss: Metric | None


def agreement_of(standing: Standing, labels: Sequence[str]) -> list[Agreement]:
    """Return the agreement on each label, before anything was settled. Unsure and skipped count as not read.

    Intervals are 95 %, from the jackknife over records (Efron & Tibshirani 1993, chapter 11), cut at 1 and -1. There is
    none for fewer than `FEWEST` records, nor where leaving out any of them changes nothing, as under perfect agreement:
    it would have no width and read as certainty.
    """
    readers = standing.readers
    told = []
    for label in labels:
        units: list[Unit] = []
        for decisions in standing.by_record.values():
            said = {one.who: label in one.labels for one in decisions if one.verdict == "read"}
            units.append(tuple(said.get(who) for who in readers))
        units = [unit for unit in units if sum(said is not None for said in unit) > 1]
        pairs = []
        for first, second in combinations(range(len(readers)), 2):
            shared = [(u[first], u[second]) for u in units if u[first] is not None and u[second] is not None]
            kappa = _measured("kappa", shared, lambda given: cohen_kappa(*zip(*given, strict=True)))
            pairs += [((readers[first], readers[second]), kappa)] if kappa else []
        whole = [unit for unit in units if None not in unit] if len(readers) > 2 else []
        told.append(
            Agreement(
                label,
                _measured("alpha", units, lambda given: krippendorff_alpha(list(zip(*given, strict=True)))),
                tuple(pairs),
                _measured("fleiss_kappa", whole, lambda given: fleiss_kappa(_counts(given))),
            )
        )
    return told


def _counts(units: Sequence[Unit]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    yes = np.array([sum(bool(said) for said in unit) for unit in units], dtype=np.int64)
    return np.stack([yes, len(units[0]) - yes], axis=1)


def _measured(name: str, units: Sequence[Unit], statistic: Callable[[Sequence[Unit]], float]) -> Metric | None:
    """Return a statistic with its jackknife interval; records that look the same are left out once, not one by one."""
    if not units:
        return None
    value = statistic(units)
    if math.isnan(value):
        return None
    n, kinds = len(units), Counter(units)
    if n < FEWEST:
        return Metric(name, value, None, None, n)
    without = np.array([statistic(_less_one(units, kind)) for kind in kinds])
    times = np.array(list(kinds.values()))
    if np.isnan(without).any():
        return Metric(name, value, None, None, n)
    mean = (times * without).sum() / n
    error = math.sqrt((n - 1) / n * float((times * (without - mean) ** 2).sum()))
    if error < 1e-12:
        return Metric(name, value, None, None, n)
    return Metric(name, value, max(value - _QUANTILE * error, -1.0), min(value + _QUANTILE * error, 1.0), n)


def _less_one(units: Sequence[Unit], kind: Unit) -> Sequence[Unit]:
    at = units.index(kind)
    return [*units[:at], *units[at + 1 :]]
