"""Which sentences speak for the labels of many records: all variants of many texts are read in one batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from medbench.attribution import log_odds, occlude, sentence_units
from medbench.explaining import METHODS
from medbench.predicting import Loaded
from medbench.records import Explanation, Faithfulness, Item, Span

Tell = Callable[[float], None]
_RECORDS = 32


def sentence_evidence(
    loaded: Loaded,
    items: Sequence[Item],
    labels: Sequence[Sequence[str]],
    tell: Tell | None = None,
    stop: threading.Event | None = None,
) -> list[list[Explanation]]:
    """Weigh the sentences of many texts for some labels each, all variants of 32 texts in one batch.

    One reading of a variant answers for all labels. Leaving out the strongest sentence is compared with leaving out
    any other one, so faithfulness costs one more, short, reading a label. The strongest was chosen by those very
    readings: the gain is an upper bound and marked so.

    Args:
        loaded: A model of texts.
        items: n texts.
        labels: For each of them the labels to explain.
        tell: Told the share done.
        stop: Set by another thread to end early.

    Returns:
        For each text its explanations in the order of its labels; fewer texts when it was stopped.
    """
    found: list[list[Explanation]] = []
    for begin in range(0, len(items), _RECORDS):
        if stop is not None and stop.is_set():
            break
        part = [item.joined for item in items[begin : begin + _RECORDS]]
        found += _evidence_of(loaded, part, labels[begin : begin + _RECORDS])
        if tell is not None:
            tell(len(found) / len(items))
    return found


def _evidence_of(loaded: Loaded, texts: Sequence[str], labels: Sequence[Sequence[str]]) -> list[list[Explanation]]:
    units = [sentence_units(text) for text in texts]
    variants = [[text, *(occlude(text, [unit]) for unit in found)] for text, found in zip(texts, units, strict=True)]
    with loaded.lock:
        scores = loaded.model.scores([variant for each in variants for variant in each])
    rows = np.split(scores, np.cumsum([len(each) for each in variants])[:-1])
    told: list[list[tuple[Explanation, npt.NDArray[np.float64]]]] = []
    for found, row, wanted in zip(units, rows, labels, strict=True):
        told.append([_weighed(label, found, row[:, loaded.labels.index(label)]) for label in wanted])
    strongest = [[_strongest(text, one) for one, _ in each] for text, each in zip(texts, told, strict=True)]
    asked = list(dict.fromkeys(sentence for each in strongest for sentence in each if sentence))  # labels share them
    with loaded.lock:
        kept = dict(zip(asked, loaded.model.scores(asked), strict=True)) if asked else {}
    return [
        [
            _with_measure(one, own, float(kept[sentence][loaded.labels.index(one.label)]) if sentence else 0.0)
            for (one, own), sentence in zip(each, sentences, strict=True)
        ]
        for each, sentences in zip(told, strongest, strict=True)
    ]


def _strongest(text: str, told: Explanation) -> str:
    """Return the sentence that speaks most for a label; empty where none is marked."""
    best = max(told.spans, key=lambda span: span.weight, default=None)
    return text[best.start : best.end] if best is not None else ""


def _weighed(
    label: str, units: Sequence[tuple[int, int]], scores: npt.NDArray[np.float32]
) -> tuple[Explanation, npt.NDArray[np.float64]]:
    """Return the marks, and a row: the score, its mean fall without a sentence but the strongest, without each."""
    odds, drops = log_odds(scores), scores[0] - scores[1:].astype(np.float64)
    marked = [
        (Span(start, end, float(weight)), drop)
        for (start, end), weight, drop in zip(units, odds[0] - odds[1:], drops, strict=True)
        if weight
    ]
    strongest = int(np.argmax(odds[0] - odds[1:])) if len(drops) else 0
    others = np.delete(drops, strongest).mean() if len(drops) > 1 else 0.0
    facts = np.array([scores[0], others, *(drop for _, drop in marked)], dtype=np.float64)
    return Explanation(label, METHODS["sentences"].title, tuple(span for span, _ in marked)), facts


def _with_measure(told: Explanation, facts: npt.NDArray[np.float64], kept: float) -> Explanation:
    """Add what leaving out, and keeping, the strongest sentence does; nothing when no sentence speaks for the label."""
    best = max(range(len(told.spans)), key=lambda at: told.spans[at].weight, default=None)
    if best is None or told.spans[best].weight <= 0 or len(told.spans) < 2:
        return told
    measured = Faithfulness(float(facts[2 + best]), float(facts[0] - kept), float(facts[1]), most=True)
    return replace(told, faithfulness=measured.gain, measured=measured)


def shown_sentence(text: str, told: Explanation) -> str:
    """Return an explanation's strongest mark in the words of the text; empty when nothing speaks for the label."""
    best = max(told.spans, key=lambda span: span.weight, default=None)
    return " ".join(text[best.start : best.end].split()) if best is not None and best.weight > 0 else ""
