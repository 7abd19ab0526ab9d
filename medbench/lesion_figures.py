"""Probabilities of lesion classes become the figures a clinic asks for, each with its n and its interval.

Conventions: truth and decided are (n, L) bool, prob is (n, L) float with rows that sum to 1; a label is decided by
the largest probability, as the ISIC 2018 challenge scores its third task, unless the model's own decisions are given,
which weigh rare classes by their thresholds (`trust.Trust.decide`). Balanced accuracy is that task's measure, the
mean sensitivity of the classes that occur (Codella et al. 2019). Intervals are 95 %: of plain shares (sensitivity,
specificity, precision) Wilson's with the effective number of items where these come in groups (`proportions`), of all
else the bootstrap over groups (`metrics`), which a class must have `binary_figures.FEWEST` groups for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench import metrics
from medbench.binary_figures import N_BOOT, Binary, binary
from medbench.records import Metric, Truth

Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]
Flags = npt.NDArray[np.bool_]
UNKNOWN = "unknown"
AGE_FROM = (0, 30, 45, 60, 75)
"""Years at which the age bands begin."""


@dataclass(frozen=True, slots=True)
class LesionFigures:
    """All figures of one model on one set of lesions.

    Attributes:
        labels: L class names, the order of `confusion`.
        n: Items.
        confusion: (L, L) counts; row = true class, column = decided class.
        overall: balanced_accuracy, auc (mean over classes), accuracy, macro_f1, ece and the other names of `metrics`.
        classes: One entry per label.
        malignant: Malignant against benign; None when the labels are all of one kind.
    """

    labels: tuple[str, ...]
    n: int
    confusion: npt.NDArray[np.int64]
    overall: Mapping[str, Metric]
    classes: tuple[Binary, ...]
    malignant: Binary | None

    def as_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return {
            "labels": list(self.labels),
            "n": self.n,
            "confusion": self.confusion.tolist(),
            "overall": {name: asdict(metric) for name, metric in self.overall.items()},
            "classes": [asdict(entry) for entry in self.classes],
            "malignant": None if self.malignant is None else asdict(self.malignant),
        }


def decide(prob: Probabilities) -> Truth:
    """Return (n, L) bool: the most probable label of each row, the earlier one of equals."""
    chosen = np.zeros(prob.shape, dtype=bool)
    if prob.size:
        chosen[np.arange(len(prob)), prob.argmax(axis=1)] = True
    return chosen


def figures(
    prob: Probabilities,
    truth: Truth,
    labels: Sequence[str],
    *,
    malignant: Collection[str] = (),
    decided: Truth | None = None,
    groups: Sequence[str] | None = None,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
) -> LesionFigures:
    """Return everything that is said about a model on these items.

    Args:
        prob: (n, L) probabilities.
        truth: (n, L) bool, one True per row.
        labels: L class names.
        malignant: Those of the labels that are malignant (`tasks.lesion.MALIGNANT`); others in it do not matter.
        decided: (n, L) bool; the most probable label of each row when None.
        groups: n keys of what is resampled together (lesion, patient); None resamples items.
        rng: Draws the resamples.
        n_boot: Resamples; 0 for no intervals.
    """
    said = decide(prob) if decided is None else decided
    drawn: dict[str, Any] = {"groups": groups, "rng": rng, "n_boot": n_boot}
    classes = tuple(binary(label, truth[:, at], prob[:, at], said[:, at], **drawn) for at, label in enumerate(labels))
    columns = np.array([label in malignant for label in labels], dtype=bool)
    view = None
    if columns.any() and not columns.all():
        yes, score = _any(truth, columns), malignant_scores(prob, labels, malignant)
        view = binary("malignant", yes, score, _any(said, columns), **drawn)
    overall = metrics.evaluate(truth, prob, said, answer="one", **drawn)
    return LesionFigures(tuple(labels), len(truth), metrics.confusion(truth, said), overall, classes, view)


def _any(table: Truth, columns: Flags) -> Flags:
    return np.asarray(table[:, columns].any(axis=1), dtype=bool)


def malignant_scores(prob: Probabilities, labels: Sequence[str], malignant: Collection[str]) -> Floats:
    """Return (n,) the probability that a lesion is malignant: the sum over its malignant labels, at most 1."""
    columns = [at for at, label in enumerate(labels) if label in malignant]
    total: Floats = prob[:, columns].sum(axis=1, dtype=np.float64)
    return np.minimum(total, 1.0)


# --- subgroups -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subgroup:
    """The figures of one group of patients.

    Attributes:
        fact: What the patients have in common: age, sex, site, skin tone, ...
        value: Its value, e.g. "45 to 59" or "unknown".
        n: Items.
        balanced_accuracy: Mean sensitivity of the classes that occur in the group.
        auc: Mean over the classes for which it is defined in the group; None when for none.
        malignant: Malignant against benign; None when the labels are all of one kind.
    """

    fact: str
    value: str
    n: int
    balanced_accuracy: Metric
    auc: Metric | None
    malignant: Binary | None


def age_band(years: str) -> str:
    """Return the band of an age in years, e.g. "45 to 59"; "unknown" when it is no age."""
    try:
        age = float(years)
    except ValueError:
        return UNKNOWN
    if not 0 <= age <= 130:
        return UNKNOWN
    at = int(np.searchsorted(AGE_FROM, age, side="right")) - 1
    if at == len(AGE_FROM) - 1:
        return f"{AGE_FROM[at]} and over"
    return f"{AGE_FROM[at]} to {AGE_FROM[at + 1] - 1}"


def subgroups(
    prob: Probabilities,
    truth: Truth,
    labels: Sequence[str],
    facts: Sequence[Mapping[str, str]],
    *,
    malignant: Collection[str] = (),
    decided: Truth | None = None,
    groups: Sequence[str] | None = None,
    rng: np.random.Generator,
    n_boot: int = N_BOOT,
) -> list[Subgroup]:
    """Return the figures of every value of every fact, facts by name, largest groups first, unknown last.

    Args:
        prob: (n, L) probabilities.
        truth: (n, L) bool, one True per row.
        labels: L class names.
        facts: n mappings of what is known (`records.part_image`, and "skin tone"); ages are put into bands.
        malignant: The malignant ones of the labels.
        decided: (n, L) bool; the most probable label of each row when None.
        groups: n keys of what is resampled together.
        rng: Draws the resamples.
        n_boot: Resamples; 0 for no intervals.
    """
    said = decide(prob) if decided is None else decided
    found = []
    for fact in sorted({name for entry in facts for name in entry}):
        values = [_value(fact, entry) for entry in facts]
        counts = {value: values.count(value) for value in set(values)}
        for value in sorted(counts, key=lambda one: (one == UNKNOWN, -counts[one], one)):
            rows = np.array([at for at, one in enumerate(values) if one == value])
            inside = [groups[row] for row in rows] if groups else None
            part = _part(prob[rows], truth[rows], said[rows], labels, malignant, inside, rng, n_boot)
            found.append(Subgroup(fact, value, len(rows), *part))
    return found


def _value(fact: str, entry: Mapping[str, str]) -> str:
    value = entry.get(fact, "").strip()
    return age_band(value) if fact == "age" else value or UNKNOWN


def _part(
    prob: Probabilities,
    truth: Truth,
    said: Truth,
    labels: Sequence[str],
    malignant: Collection[str],
    groups: Sequence[str] | None,
    rng: np.random.Generator,
    n_boot: int,
) -> tuple[Metric, Metric | None, Binary | None]:
    drawn: dict[str, Any] = {"groups": groups, "rng": rng, "n_boot": n_boot}
    overall = metrics.evaluate(truth, prob, said, answer="one", **drawn)
    columns = np.array([label in malignant for label in labels], dtype=bool)
    view = None
    if columns.any() and not columns.all():
        score = malignant_scores(prob, labels, malignant)
        view = binary("malignant", _any(truth, columns), score, _any(said, columns), **drawn)
    several = int(truth.any(axis=0).sum()) > 1
    return overall["balanced_accuracy"], overall["auc"] if several else None, view
