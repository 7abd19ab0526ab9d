"""The order of a search's candidates: a line plus a few bent ones over their features, with learnt weights.

"Other" and "unspecified" in a title, or words that a query leaves out, mean more beside one text than beside another;
a line alone cannot say that. A layer of a few tangents can, and costs microseconds. The weights that are shipped lie in
`assets/codes_ranking.json`, written by `benchmarks/icd_terms.py --learn`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
SHIPPED = Path(__file__).parent / "assets" / "codes_ranking.json"


@dataclass(frozen=True)
class Ranking:
    """Weights over d features, h of them bent. Read-only.

    Attributes:
        centre, spread: (d,) what features are shifted and divided by.
        straight: (d,) weights of the line.
        inner, shift: (d, h) and (h,) into the tangents.
        outer: (h,) out of them.
    """

    centre: Doubles
    spread: Doubles
    straight: Doubles
    inner: Doubles
    shift: Doubles
    outer: Doubles

    def score(self, table: npt.NDArray[np.float32]) -> Doubles:
        """Return (n,) float64 logits, comparable within one query, of (n, d) features."""
        scaled = (table - self.centre) / self.spread
        out: Doubles = scaled @ self.straight + np.tanh(scaled @ self.inner + self.shift) @ self.outer
        return out

    def written(self) -> dict[str, Any]:
        """Return the weights as plain lists, rounded to four places."""
        return {name: np.round(getattr(self, name), 4).tolist() for name in self.__dataclass_fields__}

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Ranking:
        """Take what `written` gave."""
        return cls(**{name: np.array(facts[name], dtype=np.float64) for name in cls.__dataclass_fields__})


@cache
def shipped() -> Ranking:
    """Return the ranking that medbench ships."""
    return Ranking.read(json.loads(SHIPPED.read_text(encoding="utf-8")))
