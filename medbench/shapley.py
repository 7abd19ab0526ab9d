"""Shapley values of a text's words for any model that scores texts, with the package shap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.attribution import ScoreTexts, log_odds, occlude, occlusion, sentence_spans, word_spans
from medbench.records import Span

READINGS = 400
"""How often the model reads a variant of the text, unless told otherwise."""
_BATCH = 64


def shap_words(score_texts: ScoreTexts, text: str, *, readings: int = READINGS) -> tuple[Span, ...]:
    """Share the log-odds of a score out among the words, so that their weights add up to what the text adds.

    Owen values (Owen 1977), the Shapley values of words that stand in sentences, as shap's partition explainer
    estimates them (Lundberg and Lee 2017): what a word, or a part of a sentence, adds is averaged over the rest of the
    text being there and not being there. A word that is away is left out of the text. Deterministic.

    Args:
        score_texts: Scores one label, in [0, 1].
        text: The original text.
        readings: At most about this many variants are read; where they do not reach down to single words, the words of
            a stretch share its weight evenly.

    Returns:
        One span per word with a weight, in text order.
    """
    import shap

    words = word_spans(text)
    if len(words) < 2:
        return tuple(span for span in occlusion(score_texts, text, words) if span.weight)

    def odds(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        kept = [[words[at] for at in np.flatnonzero(~row.astype(bool))] for row in masks]
        return log_odds(score_texts([occlude(text, away) for away in kept]))

    explainer = shap.PartitionExplainer(odds, _Masker(_tree(text, words)))
    told = explainer(np.ones((1, len(words))), max_evals=readings, batch_size=_BATCH, silent=True)
    weights = np.asarray(told.values, dtype=np.float64).reshape(-1)
    pairs = zip(words, weights.tolist(), strict=True)
    return tuple(Span(start, end, weight) for (start, end), weight in pairs if weight)


class _Masker:
    """Hands the mask itself to the model, which makes a text of it."""

    def __init__(self, clustering: npt.NDArray[np.float64]) -> None:
        self.clustering = clustering
        self.shape = (1, len(clustering) + 1)

    def __call__(self, mask: npt.NDArray[np.bool_], item: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_]]:
        return (np.asarray(mask, dtype=bool).reshape(1, -1),)


def _tree(text: str, words: Sequence[tuple[int, int]]) -> npt.NDArray[np.float64]:
    """Return a linkage matrix, (n_words - 1, 4): words halve their sentence, sentences halve the text."""
    rows: list[tuple[float, float, float, float]] = []

    def join(nodes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Join (node, words below it) in halves; return the top node."""
        if len(nodes) == 1:
            return nodes[0]
        left, right = join(nodes[: len(nodes) // 2]), join(nodes[len(nodes) // 2 :])
        count = left[1] + right[1]
        rows.append((left[0], right[0], count, count))
        return len(words) + len(rows) - 1, count

    ends = [end for _, end in sentence_spans(text)]
    sentence = np.searchsorted(ends, [start for start, _ in words], side="right")
    groups = [np.flatnonzero(sentence == at).tolist() for at in np.unique(sentence)]
    join([join([(int(word), 1) for word in group]) for group in groups])
    return np.array(rows, dtype=np.float64)
