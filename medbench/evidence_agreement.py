"""How far two explanations of the same answer agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medbench.attribution import Stretch, sentence_spans, word_spans
from medbench.records import Explanation, Span

TOP_WORDS, TOP_SENTENCES = 5, 2
"""How many of the strongest words, or sentences, two explanations are compared in."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two explanations agree.

    Attributes:
        correlation: Spearman's rank correlation of the units' weights, in [-1, 1]; None where one marks all alike.
        overlap: Share of the strongest units that both name, in [0, 1]; None where one names nothing that speaks for
            the label.
        unit: What they are compared in: "words", or "sentences" when either marks sentences.
        top: How many of the strongest units were compared, a count.
    """

    correlation: float | None
    overlap: float | None
    unit: str
    top: int


def agree(text: str, one: Sequence[Span], other: Sequence[Span], top: int | None = None) -> Agreement:
    """Compare the marks of two methods on the same text; symmetric.

    Args:
        text: The original text.
        one: Marks of one method.
        other: Marks of the other.
        top: How many of the strongest units are compared; `TOP_WORDS` or `TOP_SENTENCES` when None.
    """
    coarse = any(_holds_a_sentence(text, spans) for spans in (one, other))
    units = sentence_spans(text) if coarse else word_spans(text)
    first, second = on_units(text, one, units), on_units(text, other, units)
    correlation = _rank_correlation(first, second)
    top = top or (TOP_SENTENCES if coarse else TOP_WORDS)
    top = min(top, *(int((weights > 0).sum()) for weights in (first, second)))
    unit = "sentences" if coarse else "words"
    if not top:
        return Agreement(correlation, None, unit, 0)
    names = [set(np.argsort(-weights, kind="stable")[:top].tolist()) for weights in (first, second)]
    return Agreement(correlation, len(names[0] & names[1]) / top, unit, top)


def _holds_a_sentence(text: str, spans: Sequence[Span]) -> bool:
    """Return whether a mark covers a whole sentence of more than one word, in a text of several."""
    sentences = sentence_spans(text)
    long = [(start, end) for start, end in sentences if len(word_spans(text[start:end])) > 1]
    return len(sentences) > 1 and any(span.start <= start and span.end >= end for span in spans for start, end in long)


def on_units(text: str, spans: Sequence[Span], units: Sequence[Stretch]) -> npt.NDArray[np.float64]:
    """Return (n_units,) weights: a mark's weight goes to the units it lies in, by the words it shares with each."""
    words = word_spans(text)
    starts = np.array([start for start, _ in words], dtype=np.int64)
    ends = np.array([end for _, end in words], dtype=np.int64)
    unit_of = np.searchsorted([end for _, end in units], starts, side="right")
    weights = np.zeros(len(units) + 1)
    for span in spans:
        inside = np.flatnonzero((starts < span.end) & (ends > span.start))
        if len(inside):
            np.add.at(weights, unit_of[inside], span.weight / len(inside))
    return weights[: len(units)]


def _rank_correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float | None:
    from scipy.stats import rankdata

    if len(one) < 2:
        return None
    ranks = [rankdata(weights) - (len(weights) + 1) / 2 for weights in (one, other)]
    length = float(np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1]))
    return float(np.clip(ranks[0] @ ranks[1] / length, -1, 1)) if length > 0 else None


def between(text: str, told: Sequence[Explanation]) -> list[list[Agreement]]:
    """Return the agreement of every explanation with every other, (n, n)."""
    return [[agree(text, one.spans, other.spans) for other in told] for one in told]
