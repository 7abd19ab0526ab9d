"""How far the words that a model shows for its answers agree with the words that annotators marked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medbench.code_metrics import evidence_overlap
from medbench.events import Say
from medbench.families import Model
from medbench.records import Examples, Truth

MOST = 100
"""Right answers that are explained at most: one explanation asks a model up to some hundred times."""
SECONDS = 60.0
_N_BOOT = 500


def evidence_figures(
    model: Model,
    judged: Examples,
    decided: Truth,
    say: Say,
    rng: np.random.Generator | None = None,
    seconds: float = SECONDS,
) -> dict[str, Any] | None:
    """Measure a model's evidence on labels that it decided for rightly, and that annotators marked words for.

    Args:
        model: The model that was judged, not one that has learnt from these items since.
        judged: The judged items with their marks.
        decided: (n_items, n_labels) bool.
        say: Told how far it is; a stop ends it.
        rng: Draws the answers that are explained, and the resamples; the same ones every time when None, so that no
            other draw depends on whether anything was marked.
        seconds: After so long no further answer is explained.

    Returns:
        "overlap": mean share of characters in both of those in either (intersection over union), with a 95 %
        percentile bootstrap interval over items; "touching": share of answers whose evidence shares a character with
        the annotators'; "n": answers explained; "of": answers that could be. None when nothing was marked.
    """
    if not judged.marks:
        return None
    rng = np.random.default_rng(0) if rng is None else rng
    marked = [_marked(judged, row) for row in range(len(judged))]
    pairs = [
        (row, label)
        for row, labels in enumerate(marked)
        for at, label in enumerate(judged.labels)
        if label in labels and judged.truth[row, at] and decided[row, at]
    ]
    drawn = [pairs[at] for at in rng.permutation(len(pairs))[:MOST].tolist()]
    until, shares, rows = time.monotonic() + seconds, [], []
    for number, (row, label) in enumerate(drawn):
        if say.stopping or time.monotonic() > until:
            break
        say("progress", step=number, steps=len(drawn), sentence="Comparing its evidence with the annotators'.")
        spans = model.reasons(judged.items[row], label).spans
        shown = [(span.start, span.end) for span in spans if span.weight > 0]
        shares.append(evidence_overlap(marked[row][label], shown))
        rows.append(row)
    if not shares:
        return None
    value = np.array(shares)
    low, high = _interval(value, np.array(rows), rng)
    overlap = {"value": round(float(value.mean()), 5), "low": low, "high": high, "n": len(shares)}
    return {"overlap": overlap, "touching": round(float((value > 0).mean()), 5), "n": len(shares), "of": len(pairs)}


def _marked(judged: Examples, row: int) -> dict[str, list[tuple[int, int]]]:
    held: dict[str, list[tuple[int, int]]] = {}
    for mark in judged.marks[row]:
        held.setdefault(mark.label, []).append((mark.start, mark.end))
    return held


def _interval(
    value: npt.NDArray[np.float64], rows: npt.NDArray[np.int64], rng: np.random.Generator
) -> Sequence[float | None]:
    """Return the interval of the mean; answers of one item are drawn together."""
    _, item = np.unique(rows, return_inverse=True)
    sums, counts = np.bincount(item, value), np.bincount(item)
    if len(counts) < 2:
        return None, None
    draws = rng.integers(0, len(counts), (_N_BOOT, len(counts)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return [round(float(edge), 5) for edge in np.quantile(means, [0.025, 0.975])]
