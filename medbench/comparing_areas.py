"""Areas under the ROC curves of one label, model by model, and which of them differ (DeLong et al. 1988)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medbench.comparing_judged import Answered
from medbench.comparing_tests import AreaDifference, delong, holm

FEWEST = 2
"""With fewer items that carry a label, or lack it, its areas have no covariance."""


@dataclass(frozen=True, slots=True)
class AreaPair:
    """How far the area of `second` lies above that of `first`; p corrected over all pairs of models of the label.

    Attributes:
        first: Id of one model.
        second: Id of the other.
        value: Difference of the areas.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: p of DeLong's test; items count as independent.
        p_holm: The same, corrected (Holm 1979).
    """

    first: str
    second: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True)
class LabelAreas:
    """The areas of one label.

    Attributes:
        label: The label.
        n: Items that carry it.
        areas: Model id -> (area, lower and upper end of its 95 % interval), largest first.
        pairs: Every pair of models.
    """

    label: str
    n: int
    areas: dict[str, tuple[float, float, float]]
    pairs: tuple[AreaPair, ...]

    def behind(self, model: str) -> AreaPair | None:
        """Return how far a model lies behind the one with the largest area; None for that one itself.

        Which is the largest is seen in the same data, so p is corrected over all pairs and not over those with it.
        """
        best = next(iter(self.areas))
        for pair in self.pairs:
            if (pair.first, pair.second) == (model, best):
                return pair
            if (pair.second, pair.first) == (model, best):
                return AreaPair(model, best, -pair.value, -pair.high, -pair.low, pair.p, pair.p_holm)
        return None


def label_areas(models: Sequence[Answered], label: str) -> LabelAreas | None:
    """Return the areas of one label for all models; None when too few items carry it, or lack it.

    Args:
        models: At least one; judged on the same items.
        label: The label that is told from all others.
    """
    column = models[0].labels.index(label)
    truth = models[0].truth[:, column]
    if min(int(truth.sum()), int((~truth).sum())) < FEWEST:
        return None
    found = delong(truth, np.stack([model.probabilities[:, column] for model in models]))
    places = list(combinations(range(len(models)), 2))
    apart: list[AreaDifference] = [found.difference(a, b) for a, b in places]
    corrected = holm([one.p for one in apart])
    pairs = tuple(
        AreaPair(models[a].id, models[b].id, one.value, one.low, one.high, one.p, p)
        for (a, b), one, p in zip(places, apart, corrected, strict=True)
    )
    order = np.argsort(-found.auc, kind="stable").tolist()
    areas = {models[at].id: (float(found.auc[at]), *found.interval(at)) for at in order}
    return LabelAreas(label, int(truth.sum()), areas, pairs)
